#include "apps/training/memory.h"

#include <sys/resource.h>

#include <fstream>
#include <string>

namespace generous {

namespace {

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

}  // namespace

std::int64_t peak_memory_mib() { return (peak_kib() + 1023) / 1024; }

}  // namespace generous
