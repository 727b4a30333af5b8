#include "core/threads.h"

#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

namespace generous {

namespace fs = std::filesystem;

namespace {

/// In libgomp's turns, some tens of microseconds: longer than most waits on a quiet machine, short beside the
/// milliseconds for which a busy one takes a core away.
constexpr const char* short_spin = "2000";

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
  return given;
}

std::optional<double> cpu_quota(const fs::path& root) {
  std::optional<double> least;
  std::istringstream lines(content(root / "proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {  // "0::/a/b" (version 2) or "4:cpu,cpuacct:/a/b"
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && ("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
    const fs::path mount = root / "sys/fs/cgroup" / controllers;
    // A group is bound by its ancestors' limits too. Inside a container its path may not be there, but the
    // mount's root is its own group.
    for (fs::path group = fs::path(line.substr(second + 1)).relative_path();; group = group.parent_path()) {
      const std::optional<double> limit = limit_of(mount / group);
      if (limit && (!least || *limit < *least)) least = limit;
      if (group.empty()) break;
    }
  }
  return least;
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

void give_way_while_waiting(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", short_spin, 0);
  // By its own path, which the system's lists of processes then show; that may be gone by now, the link never
  // is.
  constexpr const char* link = "/proc/self/exe";
  std::error_code error;
  ::execv(fs::read_symlink(link, error).c_str(), argv);
  ::execv(link, argv);
  ::unsetenv("GOMP_SPINCOUNT");  // not to be started anew: it goes on as it is
}

}  // namespace generous
