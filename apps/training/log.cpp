#include "apps/training/log.h"

#include <fmt/chrono.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>

#include "core/files.h"
#include "core/printable.h"

namespace generous {

namespace {

constexpr double seconds_between_redraws = 0.1;
constexpr double seconds_between_lines = 15.0;
constexpr int bar_width = 20;
constexpr std::size_t time_columns = 19;  // 2026-01-31 12:34:56

std::size_t terminal_columns() {
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

}  // namespace

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string duration(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::fmax(seconds, 0.0)));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string fitted(std::vector<Field> fields, std::size_t columns) {
  const auto line = [&fields] {
    std::string text;
    for (const Field& field : fields) text += field.text;
    return text;
  };
  while (fields.size() > 1 && line().size() > columns) {
    auto dropped = fields.end() - 1;
    for (auto field = dropped; field > fields.begin(); --field)
      if (field->rank > dropped->rank) dropped = field;
    fields.erase(dropped);
  }
  return line().substr(0, columns);
}

void RunLog::keep_earlier_lines() {
  if (file_exists(path_)) content_ = read_file(path_);
}

void RunLog::line(std::string_view text) {
  display_.line(text);
  detail(text);
}

void RunLog::detail(std::string_view text) {
  content_ += fmt::format("{:%Y-%m-%d %H:%M:%S}  {}\n", fmt::localtime(std::time(nullptr)), printable(text));
}

void RunLog::record(const std::string& what, const std::string& text) {
  const std::string line = printable(what + ": " + text);
  const std::string begin = fmt::format("  {}: ", what);
  // The last line that begins so behind its time.
  std::size_t place = content_.rfind(begin);
  while (place != std::string::npos && place != 0 &&
         (place < time_columns || (place > time_columns && content_[place - time_columns - 1] != '\n')))
    place = content_.rfind(begin, place - 1);
  if (place != std::string::npos && content_.compare(place + 2, line.size() + 1, line + "\n") == 0) return;
  detail(line);
}

void RunLog::write() const {
  if (writes_) write_file_atomically(path_, content_);
}

ProgressBar::ProgressBar(Display& display)
    : display_(display), terminal_(isatty(STDOUT_FILENO) == 1), drawn_at_(now_seconds()) {}

bool ProgressBar::due() const {
  return now_seconds() - drawn_at_ >= (terminal_ ? seconds_between_redraws : seconds_between_lines);
}

void ProgressBar::update(double done, std::vector<Field> fields) {
  if (!due()) return;
  drawn_at_ = now_seconds();
  if (!terminal_) return display_.draw(fitted(std::move(fields), line_columns) + "\n");
  const int filled = static_cast<int>(done * bar_width);
  const int rank = fields.empty() ? 0 : fields.back().rank + 1;
  fields.push_back({fmt::format("  [{:#<{}}{:.<{}}]", "", filled, "", bar_width - filled), rank});
  // A line that wraps could not be redrawn.
  display_.draw(fmt::format("\r{}\x1b[K", fitted(std::move(fields), terminal_columns() - 1)));
  visible_ = true;
}

void ProgressBar::clear() {
  if (visible_) display_.draw("\r\x1b[K");
  visible_ = false;
}

}  // namespace generous
