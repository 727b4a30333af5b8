// SIGINT, SIGTERM and SIGHUP: the first asks to stop in good order, a second SIGINT or SIGTERM ends the
// process at once.
#pragma once

#include <array>
#include <csignal>

namespace generous {

/// Handles them while it lives; one at a time. A SIGHUP that was ignored before (nohup) stays ignored.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// The first signal that came, or 0. A process stopped by it exits with 128 + its number (129, 130, 143).
  static int received();

 private:
  static constexpr std::array signals = {SIGINT, SIGTERM, SIGHUP};
  std::array<struct sigaction, signals.size()> previous_{};
};

}  // namespace generous
