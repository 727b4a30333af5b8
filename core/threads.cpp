#include "core/threads.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "core/control_groups.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

std::atomic<int> largest_found = 0;

/// The two numbers in `text`, quota and period in microseconds, as cores; nothing for "max" or -1.
std::optional<double> cores(const std::string& text) {
  std::istringstream in(text);
  double quota = 0;
  double period = 0;
  if (!(in >> quota >> period) || quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

std::string content(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The limit of one group: version 2 has both numbers in one file, version 1 in two.
std::optional<double> limit_of(const fs::path& group) {
  if (const auto limit = cores(content(group / "cpu.max"))) return limit;
  return cores(content(group / "cpu.cfs_quota_us") + " " + content(group / "cpu.cfs_period_us"));
}

}  // namespace

int settle_threads() {
  thread_local int settled = 0;
  if (omp_in_parallel() != 0) return 1;
  if (omp_get_max_threads() == settled) return settled;
  omp_set_dynamic(0);
  int given = 1;
#pragma omp parallel
#pragma omp single
  given = omp_get_num_threads();
  omp_set_num_threads(given);
  settled = given;
  for (int largest = largest_found;
       largest < given && !largest_found.compare_exchange_weak(largest, given);) {
  }
  return given;
}

int largest_team() { return largest_found > 0 ? largest_found.load() : omp_get_max_threads(); }

std::optional<double> cpu_quota(const fs::path& root) {
  std::optional<double> least;
  for (const fs::path& group : control_groups("cpu", root)) {
    const std::optional<double> limit = limit_of(group);
    if (limit && (!least || *limit < *least)) least = limit;
  }
  return least;
}

int usable_cores() {
  cpu_set_t own{};
  const int cores = sched_getaffinity(0, sizeof own, &own) == 0 ? CPU_COUNT(&own) : omp_get_num_procs();
  const std::optional<double> quota = cpu_quota();
  return quota ? std::min(cores, std::max(1, static_cast<int>(std::ceil(*quota)))) : cores;
}

void set_threads(int threads) {
  // Before any setting this is the number of cores that the process may use, or OMP_NUM_THREADS.
  static const int available = omp_get_max_threads();
  if (threads <= 0) {
    threads = available;
    if (const std::optional<double> quota = cpu_quota(); quota && std::getenv("OMP_NUM_THREADS") == nullptr)
      threads = std::min(threads, std::max(1, static_cast<int>(std::ceil(*quota))));
  }
  omp_set_num_threads(threads);
  settle_threads();
}

}  // namespace generous
