// What a run tells: training.log and the display.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "apps/training/display.h"

namespace generous {

/// "0:07", "12:30", "3:02:10"
std::string duration(double seconds);

/// A part of a line, with the spaces in front of it.
struct Field {
  std::string text;
  int rank = 0;  ///< a larger one is dropped first
};

/// The fields as one line of at most so many columns: where they are more, those of the largest rank are left
/// out, the last one first, but never the first of all.
std::string fitted(std::vector<Field> fields, std::size_t columns);

/// Of the lines that say what an epoch came to, and of progress where there is no terminal.
inline constexpr std::size_t line_columns = 100;

/// Lines go to the display at once and to the file, with the time in front, on `write`. The file lacks none,
/// whatever the display does with them.
class RunLog {
 public:
  /// `display` must outlive the log. Where several processes train together, one `writes` the run's files.
  RunLog(std::filesystem::path path, Display& display, bool writes = true)
      : path_(std::move(path)), display_(display), writes_(writes) {}

  /// Keeps the lines that the file holds already: a run is resumed.
  void keep_earlier_lines();
  /// Made printable (core/printable.h).
  void line(std::string_view text);
  /// A line for the file alone.
  void detail(std::string_view text);
  /// "what: text" for the file alone, unless the last such line says the same.
  void record(const std::string& what, const std::string& text);
  /// Replaces the file atomically.
  void write() const;
  Display& display() const { return display_; }
  bool writes() const { return writes_; }

 private:
  std::filesystem::path path_;
  Display& display_;
  bool writes_;
  std::string content_;
};

/// A line that is redrawn in place on a terminal; elsewhere a plain line now and then.
class ProgressBar {
 public:
  /// `display` must outlive the bar.
  explicit ProgressBar(Display& display);

  /// Shows the fields, and behind them a bar of which `done`, in [0, 1], is filled, as far as the terminal is
  /// wide. Calls in quick succession are dropped.
  void update(double done, std::vector<Field> fields);
  /// Whether `update` would draw now: texts need not be made otherwise.
  bool due() const;
  /// Removes the bar, so that a line can be printed.
  void clear();

 private:
  Display& display_;
  bool terminal_;
  double drawn_at_;
  bool visible_ = false;
};

/// Seconds on a clock that only runs forward.
double now_seconds();

}  // namespace generous
