#include "apps/training/csv.h"

#include <fmt/format.h>

#include <charconv>
#include <iterator>

#include "core/error.h"
#include "core/files.h"

namespace generous {

std::string exact(float number) { return fmt::format("{}", number); }
std::string exact(double number) { return fmt::format("{}", number); }

CsvFile::CsvFile(std::filesystem::path path, const std::vector<std::string>& columns)
    : path_(std::move(path)), header_(fmt::format("{}\n", fmt::join(columns, ","))) {}

void CsvFile::keep_rows_up_to(std::int64_t last) {
  rows_.clear();
  if (!file_exists(path_)) return;
  const std::string text = read_file(path_);
  if (!text.starts_with(header_))
    fail("{}: the first line is '{}', but this run writes '{}'", path_.string(),
         text.substr(0, text.find('\n')), header_.substr(0, header_.size() - 1));
  for (std::size_t begin = header_.size(); begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const std::string row = text.substr(begin, end + 1 - begin);
    std::int64_t count = 0;
    const auto [rest, error] = std::from_chars(row.data(), row.data() + row.size(), count);
    require(error == std::errc() && *rest == ',', "{}: the row '{}' does not begin with a count",
            path_.string(), row.substr(0, row.size() - 1));
    if (count <= last) rows_ += row;
    begin = end + 1;
  }
}

void CsvFile::add_row(std::int64_t count, const std::vector<std::string>& values) {
  fmt::format_to(std::back_inserter(rows_), "{},{}\n", count, fmt::join(values, ","));
}

void CsvFile::write() const { write_file_atomically(path_, header_ + rows_); }

}  // namespace generous
