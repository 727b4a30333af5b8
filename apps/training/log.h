// What a run tells: training.log and standard output.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace generous {

/// "0:07", "12:30", "3:02:10"
std::string duration(double seconds);

/// Lines go to standard output at once and to the file, with the time in front, on `write`.
class RunLog {
 public:
  explicit RunLog(std::filesystem::path path) : path_(std::move(path)) {}

  /// Keeps the lines that the file holds already: a run is resumed.
  void keep_earlier_lines();
  void line(std::string_view text);
  /// Replaces the file atomically.
  void write() const;

 private:
  std::filesystem::path path_;
  std::string content_;
};

/// A line that is redrawn in place on a terminal; elsewhere a plain line now and then.
class ProgressBar {
 public:
  ProgressBar();

  /// `done` in [0, 1], `text` a few words after the bar. Calls in quick succession are dropped.
  void update(double done, std::string_view text);
  /// Whether `update` would draw now: texts need not be made otherwise.
  bool due() const;
  /// Removes the bar, so that a line can be printed.
  void clear();

 private:
  bool terminal_;
  double drawn_at_;
  bool visible_ = false;
};

/// Seconds on a clock that only runs forward.
double now_seconds();

}  // namespace generous
