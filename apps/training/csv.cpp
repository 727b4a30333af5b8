#include "apps/training/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>

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

std::string heading_of(std::span<const std::string> columns) {
  return fmt::format("{}", fmt::join(columns, ","));
}

std::string heading_of(const std::vector<std::string>& columns, std::size_t missing) {
  return heading_of(std::span(columns).first(columns.size() - std::min(missing, columns.size())));
}

/// Whether a text has the number of cells that a heading has.
bool is_row(std::string_view text, std::string_view heading) {
  return std::ranges::count(text, ',') == std::ranges::count(heading, ',') && count_of(text) > 0 &&
         std::ranges::none_of(text, [](char c) { return c == '\n' || c == '\r'; });
}

std::vector<std::string_view> cells_of(std::string_view row) {
  std::vector<std::string_view> cells;
  while (true) {
    const std::size_t end = row.find(',');
    cells.push_back(row.substr(0, end));
    if (end == std::string_view::npos) return cells;
    row.remove_prefix(end + 1);
  }
}

}  // namespace

std::string exact(float number) { return fmt::format("{}", number); }
std::string exact(double number) { return fmt::format("{}", number); }
std::string six_digits(double number) { return fmt::format("{:.6g}", number); }

CsvFile::CsvFile(std::filesystem::path path, std::vector<std::string> columns, EarlierColumns earlier)
    : path_(std::move(path)),
      columns_(std::move(columns)),
      header_(heading_of(columns_)),
      earlier_(std::move(earlier)) {}

std::string CsvFile::converted(std::string_view row, std::size_t missing_columns) const {
  const std::vector<std::string_view> cells = cells_of(row);
  std::vector<std::string_view> now;
  for (const std::string& column : std::span(columns_).first(columns_.size() - missing_columns)) {
    const auto other = earlier_.names.find(column);
    const auto place =
        std::ranges::find(earlier_.columns, other == earlier_.names.end() ? column : other->second);
    now.push_back(place == earlier_.columns.end()
                      ? std::string_view()
                      : cells[static_cast<std::size_t>(place - earlier_.columns.begin())]);
  }
  return fmt::format("{}", fmt::join(now, ","));
}

bool CsvFile::keep_rows_up_to(std::int64_t last) {
  rows_.clear();
  if (!file_exists(path_)) return false;
  const std::string text = read_file(path_);
  const std::string earlier = heading_of(earlier_.columns);
  std::vector<Line> lines = lines_of(text);
  const bool cut = !lines.empty() && !lines.back().ended;
  if (cut && (lines.size() > 1 || header_.starts_with(lines[0].text) || earlier.starts_with(lines[0].text)))
    lines.pop_back();
  if (lines.empty()) return cut;
  const bool old = lines[0].text != header_ && lines[0].text == earlier;
  if (lines[0].text != header_ && !old)
    fail("{}: the first line is '{}', but this run writes '{}'", path_.string(), lines[0].text, header_);
  const std::string& heading = old ? earlier : header_;
  lines.erase(lines.begin());
  std::int64_t previous = 0;
  for (const Line& line : lines) {
    if (!is_row(line.text, heading)) fail("{}: '{}' is not a row of {}", path_.string(), line.text, heading);
    const std::int64_t count = count_of(line.text);
    if (count <= previous) fail("{}: a row for {} follows the one for {}", path_.string(), count, previous);
    if (count <= last) rows_.push_back(old ? converted(line.text, 0) : std::string(line.text));
    previous = count;
  }
  return cut;
}

std::size_t CsvFile::complete(const std::vector<std::string>& rows, std::size_t columns,
                              const std::string& source) {
  const std::string heading = heading_without(columns);
  const bool headed = !rows.empty() && rows.front() == heading;
  const bool old = !headed && !earlier_.columns.empty();
  const std::string expected = old ? heading_of(earlier_.columns, columns) : heading;
  std::size_t made = 0;
  std::vector<std::string> completed;
  for (const std::string& given : std::span(rows).subspan(headed ? 1 : 0)) {
    if (!is_row(given, expected))
      fail("{}: '{}' is not the beginning of a row of {}", source, given, header_);
    const std::string row = old ? converted(given, columns) : given;
    const auto found =
        std::ranges::find_if(rows_, [&](const std::string& own) { return own.starts_with(row + ','); });
    completed.push_back(found != rows_.end() ? *found : row + std::string(columns, ','));
    if (found == rows_.end()) ++made;
  }
  rows_ = std::move(completed);
  return made;
}

std::string CsvFile::heading_without(std::size_t columns) const { return heading_of(columns_, columns); }

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
