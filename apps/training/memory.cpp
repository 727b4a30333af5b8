#include "apps/training/memory.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>

#include "core/control_groups.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t unlimited = std::int64_t{1} << 60;  // version 1 of control groups has no word for it

/// In KiB. getrusage alone would not do: its maximum is also that of the process that started this one, as
/// large as a Python that runs many programs may be.
std::int64_t peak_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (std::int64_t kib = 0; word == "VmHWM:" && status >> kib) return kib;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

/// The number that a file begins with; nothing for "max", what is as good as that, or where there is no file.
std::optional<std::int64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  std::int64_t number = 0;
  const bool good = static_cast<bool>(file >> number) && number < unlimited;
  return good ? std::optional(number) : std::nullopt;
}

/// The number behind a word of a table; 0 where there is none.
std::int64_t number_after(const fs::path& path, const std::string& wanted) {
  std::ifstream file(path);
  for (std::string word; file >> word;)
    if (std::int64_t number = 0; word == wanted && file >> number) return number;
  return 0;
}

/// What a control group leaves of its limit, of version 2 or 1; files that are cached in memory give way.
std::optional<std::int64_t> left_in(const fs::path& group) {
  if (const auto limit = number_in(group / "memory.max")) {
    const std::int64_t used = number_in(group / "memory.current").value_or(0);
    return *limit - std::max<std::int64_t>(used - number_after(group / "memory.stat", "file"), 0);
  }
  const auto limit = number_in(group / "memory.limit_in_bytes");
  if (!limit) return std::nullopt;
  const std::int64_t used = number_in(group / "memory.usage_in_bytes").value_or(0);
  return *limit - std::max<std::int64_t>(used - number_after(group / "memory.stat", "total_cache"), 0);
}

}  // namespace

std::int64_t peak_memory_mib() { return (peak_kib() + 1023) / 1024; }

MemoryLeft memory_left(const fs::path& root) {
  const fs::path table = root / "proc/meminfo";
  const std::int64_t swap = 1024 * number_after(table, "SwapFree:");
  const std::int64_t machine = 1024 * number_after(table, "MemAvailable:");
  MemoryLeft left{.bytes = std::numeric_limits<std::int64_t>::max(), .where = "on this machine"};
  if (machine > 0) left.bytes = machine + swap;
  const auto limit = [&left](std::int64_t bytes, const char* where) {
    if (bytes < left.bytes) left = {.bytes = std::max<std::int64_t>(bytes, 0), .where = where};
  };
  for (const fs::path& group : control_groups("memory", root))
    if (const auto bytes = left_in(group))
      limit(*bytes + swap, "in this control group (a container's limit)");
  rlimit space{};
  const auto pages = number_in(root / "proc/self/statm");
  if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY && pages)
    limit(static_cast<std::int64_t>(space.rlim_cur) - *pages * sysconf(_SC_PAGE_SIZE),
          "under the limit on the address space (ulimit -v)");
  return left;
}

}  // namespace generous
