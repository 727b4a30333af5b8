// Waiting threads spin where cores are free and sleep where they are not.
#include "core/waiting.h"

#include <doctest/doctest.h>
#include <omp.h>
#include <sys/resource.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "core/files.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// A /proc of one process, whose threads have waited for a core as long as a test says.
class FakeProcess {
 public:
  void write(const std::string& thread, const std::string& schedstat) const {
    const fs::path task = folder_ / ("proc/self/task/" + thread);
    fs::create_directories(task);
    write_file_atomically(task / "schedstat", schedstat);
  }
  void end(const std::string& thread) const { fs::remove_all(folder_ / ("proc/self/task/" + thread)); }
  const fs::path& root() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

std::chrono::nanoseconds processor_time() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

/// The time on a core that a thread takes to wait 20 ms for another one of its team.
std::chrono::nanoseconds cost_of_waiting() {
  std::chrono::nanoseconds cost{};
#pragma omp parallel num_threads(2)
  {
    if (omp_get_thread_num() == 1) std::this_thread::sleep_for(20ms);
    const std::chrono::nanoseconds begin = processor_time();
#pragma omp barrier
    if (omp_get_thread_num() == 0) cost = processor_time() - begin;
  }
  return cost;
}

/// Whether waiting costs so little, or so much, some time within a minute.
template <class Condition>
bool soon(Condition&& condition) {
  for (const auto end = std::chrono::steady_clock::now() + 60s; std::chrono::steady_clock::now() < end;)
    if (condition(cost_of_waiting())) return true;
  return false;
}

}  // namespace

TEST_CASE("the longest delay of any thread since the last look") {
  const FakeProcess process;
  process.write("11", "500 1000 3\n");
  process.write("12", "900 7000 8\n");
  RunDelay delay(process.root());
  delay.since_last();
  CHECK(delay.since_last() == 0ns);
  process.write("11", "600 1400 4\n");
  process.write("12", "900 7300 9\n");
  CHECK(delay.since_last() == 400ns);
  process.write("12", "950 8000 9\n");
  process.write("13", "1 650 1\n");  // new: all that it ever had is since then
  CHECK(delay.since_last() == 700ns);
  process.end("12");
  process.write("13", "nonsense");
  CHECK(delay.since_last() == 0ns);
  CHECK(RunDelay(process.root() / "nowhere").since_last() == 0ns);
}

TEST_CASE("threads of this process are seen") {
  RunDelay delay;
  delay.since_last();
  std::atomic<bool> stop = false;
  std::vector<std::jthread> spinning;  // more than cores: some are ready to run and cannot
  for (int thread = 0; thread < 2 * omp_get_num_procs(); ++thread)
    spinning.emplace_back([&] {
      while (!stop) {
      }
    });
  std::this_thread::sleep_for(200ms);
  const std::chrono::nanoseconds longest = delay.since_last();
  stop = true;
  CHECK(longest > 20ms);
}

TEST_CASE("under a limit on the address space nothing watches, whose threads would take of it") {
  const auto threads = [] {
    return std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator());
  };
  const FakeProcess process;
  process.write("1", "0 0 0\n");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_AS, &before) == 0);
  rlimit limited = before;
  limited.rlim_cur = rlim_t{1} << 60U;
  REQUIRE(::setrlimit(RLIMIT_AS, &limited) == 0);
  const auto alone = threads();
  {
    const PoliteWaiting waiting(process.root());
    CHECK(threads() == alone);
  }
  REQUIRE(::setrlimit(RLIMIT_AS, &before) == 0);
  const PoliteWaiting waiting(process.root());
  const bool told = std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr;
  CHECK(threads() == alone + (told || before.rlim_cur != RLIM_INFINITY ? 0 : 1));
}

TEST_CASE("waiting threads sleep while cores are taken away, and spin when they are free again") {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  omp_set_dynamic(0);
  bool pair = false;
#pragma omp parallel num_threads(2)
#pragma omp single
  pair = omp_get_num_threads() == 2;
  if (!pair || omp_get_num_procs() < 2) return;

  const auto spins = [](std::chrono::nanoseconds cost) { return cost > 1ms; };
  const auto sleeps = [](std::chrono::nanoseconds cost) { return cost < 500us; };
  REQUIRE(soon(spins));
  const FakeProcess process;
  process.write("1", "0 0 0\n");
  const PoliteWaiting waiting(process.root());
  {
    const std::jthread others([&](const std::stop_token& stop) {
      for (long delay = 0; !stop.stop_requested(); delay += 5'000'000, std::this_thread::sleep_for(5ms))
        process.write("1", "0 " + std::to_string(delay) + " 0\n");
    });
    CHECK(soon(sleeps));
    std::this_thread::sleep_for(200ms);
    CHECK(sleeps(cost_of_waiting()));
    CHECK(sleeps(cost_of_waiting()));
  }
  CHECK(soon(spins));
}

}  // namespace generous
