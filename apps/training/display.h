// Standard output as a display that nobody waits for.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <thread>

namespace generous {

/// A thread of its own writes, so that a stopped terminal (Ctrl-S) or a full pipe whose reader sleeps holds
/// up nothing. Up to a mebibyte of lines waits for it; further ones are lost.
class Display {
 public:
  /// Throws std::system_error if the system has no thread left. Not `shown`, it takes everything and writes
  /// nothing.
  explicit Display(bool shown = true);
  /// Waits like `finish`.
  ~Display();
  Display(const Display&) = delete;
  Display& operator=(const Display&) = delete;

  /// A line to be kept. A closed standard output loses none: nobody wanted it.
  void line(std::string_view text);
  /// What the next one replaces, such as a progress bar: written as it is, or left out if the next comes
  /// first.
  void draw(std::string text);

  /// Waits until everything is written, however long it takes.
  void flush();
  /// Waits until everything is written or `patience` (core/console.h) is over. Returns why lines were lost,
  /// or "" if none was.
  std::string finish();

 private:
  struct State;
  static void write_from(State& state);

  bool shown_;
  std::shared_ptr<State> state_;  ///< the thread's too: it may be stuck in a write when this object goes
  std::thread writer_;
};

}  // namespace generous
