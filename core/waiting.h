// How OpenMP's threads, which compute, wait for each other: oneDNN's are the same ones.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <thread>

namespace generous {

/// How long each thread of a process was ready to run and had no core to run on.
class RunDelay {
 public:
  /// `root` is where /proc is.
  explicit RunDelay(std::filesystem::path root = "/") : tasks_(root / "proc/self/task") {}

  /// The longest time without a core that any one thread has had by now, less what that was at the call
  /// before, in nanoseconds. 0 where the system keeps no count (no /proc/self/task/ID/schedstat).
  std::chrono::nanoseconds since_last();

 private:
  std::filesystem::path tasks_;
  std::map<std::string, std::int64_t> before_;  // thread -> nanoseconds
};

/// While it lives, the threads of this process wait for each other as suits the machine. They spin by
/// default, for milliseconds, which is the fastest where the cores are free; where others want them it takes
/// the time that the thread waited for would need, and they sleep. One in each process that computes, for as
/// long as it does; nothing happens where the environment says how to wait (OMP_WAIT_POLICY, GOMP_SPINCOUNT),
/// nor under a limit on the address space (ulimit -v), which its threads would take from the computation.
class PoliteWaiting {
 public:
  /// `root` is where /proc is.
  explicit PoliteWaiting(const std::filesystem::path& root = "/");

 private:
  std::jthread watcher_;
};

}  // namespace generous
