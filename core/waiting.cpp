#include "core/waiting.h"

#include <omp.h>
#include <sys/resource.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <system_error>

#include "core/threads.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

constexpr auto interval = std::chrono::milliseconds(100);
/// Of the interval. Threads of a quiet machine wait a few hundredths for a core; beside one busy program a
/// third.
constexpr double crowded_share = 0.2;
/// So long after the last sign of others the threads stay polite.
constexpr int quiet_intervals = 10;

/// Sleeps for an interval; false as soon as `stop` is requested.
bool sleep(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, interval, [] { return false; });
  return !stop.stop_requested();
}

bool crowded(RunDelay& delay) { return delay.since_last() > crowded_share * interval; }

/// Until the machine is quiet again. libgomp's threads give up spinning after some hundred turns (gomp's
/// "throttled" count) while the process has more of them than cores, and look at that whenever they begin to
/// wait. So that they do, this thread has a team of its own, which sleeps in a barrier: one thread, where the
/// program computes on all cores.
void be_polite(const std::stop_token& stop, RunDelay& delay) {
  const int team = std::max(2, omp_get_num_procs() + 2 - largest_team());
#pragma omp parallel num_threads(team)
#pragma omp master
  for (int quiet = 0; quiet < quiet_intervals && sleep(stop);) quiet = crowded(delay) ? 0 : quiet + 1;
}

void watch(const std::stop_token& stop, const fs::path& root) try {
  RunDelay delay(root);
  delay.since_last();
  while (sleep(stop))
    if (crowded(delay)) std::thread([&] { be_polite(stop, delay); }).join();  // with the thread ends its team
} catch (const std::exception&) {
  // Out of threads or memory: the program goes on as it waits now.
}

/// Whether the address space has a limit. What the watcher's threads take of it the computation may need, and
/// libgomp ends the program where a thread of a team cannot start.
bool address_space_is_limited() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

}  // namespace

std::chrono::nanoseconds RunDelay::since_last() {
  std::map<std::string, std::int64_t> now;
  std::int64_t longest = 0;
  std::error_code error;  // threads end while they are listed
  for (fs::directory_iterator task(tasks_, error), end; !error && task != end; task.increment(error)) {
    std::ifstream file(task->path() / "schedstat");  // time on a core, time ready without one, turns
    std::int64_t running = 0;
    std::int64_t ready = 0;
    if (!(file >> running >> ready)) continue;
    const std::string name = task->path().filename();
    const auto before = before_.find(name);
    longest = std::max(longest, ready - (before == before_.end() ? 0 : before->second));
    now.emplace(name, ready);
  }
  before_ = std::move(now);
  return std::chrono::nanoseconds(longest);
}

PoliteWaiting::PoliteWaiting(const fs::path& root) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  if (address_space_is_limited()) return;
  watcher_ = std::jthread(watch, root);
}

}  // namespace generous
