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

  /// Takes over the rows 1..last that the file holds, dropping later ones (a run resumes from before them). A
  /// missing file has none. Throws Error if the file's header is another one.
  void keep_rows_up_to(std::int64_t last);
  void add_row(std::int64_t count, const std::vector<std::string>& values);
  void write() const;

 private:
  std::filesystem::path path_;
  std::string header_;
  std::string rows_;
};

}  // namespace generous
