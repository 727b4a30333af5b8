// metrics.csv and steps.csv: a header row, then rows of numbers that begin with a count (epoch or step)
// from 1.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace generous {

/// The shortest text that reads back to the same number.
std::string exact(float number);
std::string exact(double number);

/// Kept in memory and replaced atomically on `write`.
class CsvFile {
 public:
  CsvFile(std::filesystem::path path, const std::vector<std::string>& columns);

  /// Takes over the rows 1..last that the file holds, dropping later ones (a run resumes from before them)
  /// and a last one that is cut off. Returns whether one was. A missing file has no rows, nor has one that is
  /// cut within its header; either kind of line end is read. Throws Error if the file's header is another
  /// one, or a row other than the last is none.
  bool keep_rows_up_to(std::int64_t last);
  /// Makes the rows these, which lack the last `columns`: a row that is there already keeps its own, in any
  /// other they stay empty. Returns how many those are. `source`, which the rows are from, begins the message
  /// of the Error for what is no row.
  std::size_t complete(const std::vector<std::string>& rows, std::size_t columns, const std::string& source);
  /// Every row, without the last `columns`.
  std::vector<std::string> rows_without(std::size_t columns) const;
  std::size_t size() const { return rows_.size(); }

  void add_row(std::int64_t count, const std::vector<std::string>& values);
  void write() const;

 private:
  bool is_row(std::string_view text, std::size_t missing_columns = 0) const;

  std::filesystem::path path_;
  std::string header_;
  std::vector<std::string> rows_;
};

}  // namespace generous
