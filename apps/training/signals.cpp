#include "apps/training/signals.h"

#include <unistd.h>

#include <atomic>

namespace generous {

namespace {

// A signal handler can reach nothing but statics.
std::atomic<int> first_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);

void on_signal(int signal) {
  int none = 0;
  const bool first = first_signal.compare_exchange_strong(none, signal);
  // A terminal that is closed hangs up more than once: by the shell, and by the kernel after it.
  if (!first && signal != SIGHUP) _exit(128 + signal);
}

}  // namespace

StopSignals::StopSignals() {
  first_signal = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;  // so that no read or write is cut short
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < signals.size(); ++i) {
    sigaction(signals[i], nullptr, &previous_[i]);
    const bool ignored = previous_[i].sa_handler == SIG_IGN;
    if (signals[i] != SIGHUP || !ignored) sigaction(signals[i], &action, nullptr);
  }
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &previous_[i], nullptr);
}

int StopSignals::received() { return first_signal; }

}  // namespace generous
