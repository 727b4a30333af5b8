// The number of threads is what the machine and the runtime really give. How the suites fare where that is
// less than promised, OMP_THREAD_LIMIT=1 and the like, tests/threads.sh tries.
#include "core/threads.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "core/cpu/parallel.h"
#include "core/files.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

/// As many threads as a parallel region really gets.
int team() {
  std::atomic<int> threads = 0;
#pragma omp parallel
  ++threads;
  return threads;
}

/// A folder with a /proc and a /sys that say what the lines and files do.
class FakeRoot {
 public:
  explicit FakeRoot(const std::string& groups) { write("proc/self/cgroup", groups); }
  FakeRoot& write(const std::string& path, const std::string& content) {
    std::filesystem::create_directories((folder_ / path).parent_path());
    write_file_atomically(folder_ / path, content);
    return *this;
  }
  std::optional<double> quota() const { return cpu_quota(folder_.path()); }

 private:
  TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("settled threads are those of the next region") {
  for (const int asked : {1, 2, 3, 5}) {
    set_threads(asked);
    const int settled = settle_threads();
    CHECK(team() == settled);
    CHECK(omp_get_max_threads() == settled);
  }
  omp_set_dynamic(1);
  omp_set_num_threads(4);
  const int settled = settle_threads();
  CHECK(team() == settled);
  CHECK(omp_get_dynamic() == 0);
  set_threads(0);
}

TEST_CASE("ranges cover everything once, whatever the number of threads") {
  for (const int threads : {1, 2, 3, 7}) {
    set_threads(threads);
    for (const std::int64_t count : {0, 1, 5, 6, 1000}) {
      std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
      const int used = parallel_ranges(count, 1, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
      });
      CHECK(used <= settle_threads());
      for (const auto& visit : visits) CHECK(visit == 1);
    }
  }
  set_threads(0);
}

TEST_CASE("a thread of its own settles for itself") {
  int settled = 0;
  int given = 0;
  std::thread([&] {
    settled = settle_threads();
    given = team();
  }).join();
  CHECK(settled == given);
}

TEST_CASE("the quota of control groups, version 2") {
  CHECK_FALSE(FakeRoot("0::/a/b\n").quota());
  CHECK_FALSE(FakeRoot("0::/a/b\n").write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n").quota());
  CHECK(FakeRoot("0::/a/b\n").write("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n").quota() == 1.5);
  // An ancestor's limit binds as well, and the least of all counts.
  CHECK(FakeRoot("0::/a/b\n")
            .write("sys/fs/cgroup/a/b/cpu.max", "400000 100000\n")
            .write("sys/fs/cgroup/a/cpu.max", "50000 20000\n")
            .quota() == 2.5);
  // In a container the path may be the host's, and the mount's root the container's own group.
  CHECK(FakeRoot("0::/host/container\n").write("sys/fs/cgroup/cpu.max", "100000 100000\n").quota() == 1.0);
}

TEST_CASE("the quota of control groups, version 1") {
  const std::string groups = "11:memory:/m\n4:cpu,cpuacct:/a\n1:name=systemd:/x\n";
  CHECK_FALSE(FakeRoot(groups)
                  .write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n")
                  .write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n")
                  .quota());
  CHECK(FakeRoot(groups)
            .write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "300000\n")
            .write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n")
            .quota() == 3.0);
}

TEST_CASE("damaged descriptions of control groups set no limit") {
  CHECK_FALSE(FakeRoot("").quota());
  CHECK_FALSE(FakeRoot("nonsense\n0:\n").quota());
  CHECK_FALSE(FakeRoot("0::/a\n").write("sys/fs/cgroup/a/cpu.max", "100000\n").quota());
  CHECK_FALSE(FakeRoot("0::/a\n").write("sys/fs/cgroup/a/cpu.max", "0 0\n").quota());
}

}  // namespace generous
