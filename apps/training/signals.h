// SIGINT and SIGTERM: the first asks to stop in good order, the second ends the process at once.
#pragma once

#include <csignal>

namespace generous {

/// Handles both signals while it lives; one at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// The first signal that came, or 0. A process stopped by it exits with 128 + its number (130, 143).
  static int received();

 private:
  struct sigaction previous_interrupt_ {};
  struct sigaction previous_terminate_ {};
};

}  // namespace generous
