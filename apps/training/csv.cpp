#include "apps/training/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/files.h"

namespace generous {

namespace {

struct Line {
  std::string_view text;  ///< without its end
  bool ended;
};

std::vector<Line> lines_of(std::string_view text) {
  std::vector<Line> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    Line line{text.substr(0, end), end < text.size()};
    if (line.ended && line.text.ends_with('\r')) line.text.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

/// The count that a row begins with, or 0.
std::int64_t count_of(std::string_view row) {
  std::int64_t count = 0;
  const char* last = row.data() + row.size();
  const auto [end, error] = std::from_chars(row.data(), last, count);
  return error == std::errc() && end != last && *end == ',' ? count : 0;
}

}  // namespace

std::string exact(float number) { return fmt::format("{}", number); }
std::string exact(double number) { return fmt::format("{}", number); }

CsvFile::CsvFile(std::filesystem::path path, const std::vector<std::string>& columns)
    : path_(std::move(path)), header_(fmt::format("{}", fmt::join(columns, ","))) {}

bool CsvFile::is_row(std::string_view text, std::size_t missing_columns) const {
  const auto commas = static_cast<std::size_t>(std::ranges::count(text, ','));
  const auto expected = static_cast<std::size_t>(std::ranges::count(header_, ','));
  return commas + missing_columns == expected && count_of(text) > 0 &&
         std::ranges::none_of(text, [](char c) { return c == '\n' || c == '\r'; });
}

bool CsvFile::keep_rows_up_to(std::int64_t last) {
  rows_.clear();
  if (!file_exists(path_)) return false;
  const std::string text = read_file(path_);
  std::vector<Line> lines = lines_of(text);
  const bool cut = !lines.empty() && !lines.back().ended;
  if (cut && (lines.size() > 1 || header_.starts_with(lines[0].text))) lines.pop_back();
  if (lines.empty()) return cut;
  if (lines[0].text != header_)
    fail("{}: the first line is '{}', but this run writes '{}'", path_.string(), lines[0].text, header_);
  lines.erase(lines.begin());
  std::int64_t previous = 0;
  for (const Line& line : lines) {
    if (!is_row(line.text)) fail("{}: '{}' is not a row of {}", path_.string(), line.text, header_);
    const std::int64_t count = count_of(line.text);
    if (count <= previous) fail("{}: a row for {} follows the one for {}", path_.string(), count, previous);
    if (count <= last) rows_.emplace_back(line.text);
    previous = count;
  }
  return cut;
}

std::size_t CsvFile::complete(const std::vector<std::string>& rows, std::size_t columns,
                              const std::string& source) {
  std::size_t made = 0;
  std::vector<std::string> completed;
  for (const std::string& row : rows) {
    if (!is_row(row, columns)) fail("{}: '{}' is not the beginning of a row of {}", source, row, header_);
    const auto found =
        std::ranges::find_if(rows_, [&](const std::string& own) { return own.starts_with(row + ','); });
    completed.push_back(found != rows_.end() ? *found : row + std::string(columns, ','));
    if (found == rows_.end()) ++made;
  }
  rows_ = std::move(completed);
  return made;
}

std::vector<std::string> CsvFile::rows_without(std::size_t columns) const {
  std::vector<std::string> rows = rows_;
  for (std::string& row : rows)
    for (std::size_t i = 0; i < columns; ++i) row.resize(row.rfind(','));
  return rows;
}

void CsvFile::add_row(std::int64_t count, const std::vector<std::string>& values) {
  rows_.push_back(fmt::format("{},{}", count, fmt::join(values, ",")));
}

void CsvFile::write() const {
  write_file_atomically(path_,
                        fmt::format("{}\n{}{}", header_, fmt::join(rows_, "\n"), rows_.empty() ? "" : "\n"));
}

}  // namespace generous
