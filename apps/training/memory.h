// What memory the process has taken, and what it may still take.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace generous {

/// The most resident memory that this program has had, in MiB, rounded up.
std::int64_t peak_memory_mib();

/// What is left, by the tightest limit.
struct MemoryLeft {
  std::int64_t bytes = 0;
  std::string where;  ///< "on this machine", "in this control group", "under the limit on the address space"
};
/// Counts the machine's memory and swap, the process's control groups and its RLIMIT_AS. `root` is where
/// /proc and /sys are.
MemoryLeft memory_left(const std::filesystem::path& root = "/");

}  // namespace generous
