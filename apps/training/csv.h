// metrics.csv and steps.csv: a header row, then rows of numbers that begin with a count (epoch or step)
// from 1.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace generous {

/// The shortest text that reads back to the same number.
std::string exact(float number);
std::string exact(double number);
/// Six significant digits, without zeros at the end.
std::string six_digits(double number);

/// How a table was written before its columns got other names, or others beside them.
struct EarlierColumns {
  std::vector<std::string> columns;
  std::map<std::string, std::string> names = {};  ///< by today's name, of those that had another one
};

/// Kept in memory and replaced atomically on `write`.
class CsvFile {
 public:
  /// A file with the `earlier` columns is read as well: what it lacks is empty, what is no more goes.
  CsvFile(std::filesystem::path path, std::vector<std::string> columns, EarlierColumns earlier = {});

  /// Takes over the rows 1..last that the file holds, dropping later ones (a run resumes from before them)
  /// and a last one that is cut off. Returns whether one was. A missing file has no rows, nor has one that is
  /// cut within its header; either kind of line end is read. Throws Error if the file's header is another
  /// one, or a row other than the last is none.
  bool keep_rows_up_to(std::int64_t last);
  /// Makes the rows these, which lack the last `columns`, as their heading in front of them does; without one
  /// they have the earlier columns, if there are such. A row that is there already keeps its own, in any
  /// other they stay empty. Returns how many those are. `source`, which the rows are from, begins the message
  /// of the Error for what is no row.
  std::size_t complete(const std::vector<std::string>& rows, std::size_t columns, const std::string& source);
  /// Without the last `columns`: the heading, and every row.
  std::string heading_without(std::size_t columns) const;
  std::vector<std::string> rows_without(std::size_t columns) const;
  std::size_t size() const { return rows_.size(); }
  const std::vector<std::string>& columns() const { return columns_; }

  void add_row(std::int64_t count, const std::vector<std::string>& values);
  void write() const;

 private:
  /// A row with the earlier columns as one with today's; both lack the last `missing_columns`.
  std::string converted(std::string_view row, std::size_t missing_columns) const;

  std::filesystem::path path_;
  std::vector<std::string> columns_;
  std::string header_;
  EarlierColumns earlier_;
  std::vector<std::string> rows_;
};

}  // namespace generous
