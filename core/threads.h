// How many threads compute. They are OpenMP's, which oneDNN uses as well.
#pragma once

#include <filesystem>
#include <optional>

namespace generous {

/// The number of threads that the next parallel region of the calling thread gets, which from now on is what
/// OpenMP says it would give. Without this it may promise more than it gives (OMP_THREAD_LIMIT,
/// OMP_MAX_ACTIVE_LEVELS) or change its mind between two regions (OMP_DYNAMIC), and oneDNN waits for ever for
/// threads that it was promised. Cheap when called again. 1 inside a parallel region.
int settle_threads();

/// The most threads that settle_threads has found in any thread of this process; before its first call what
/// OpenMP says.
int largest_team();

/// How many cores' worth of time the control groups of this process (version 1 or 2) grant it; nothing where
/// they set no limit. `root` is where /proc and /sys are.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

/// The cores that this process may use at once: those that it is bound to, or fewer by `cpu_quota`.
int usable_cores();

/// Computes with so many threads from now on in the calling thread; 0: with as many as this process may use
/// cores (or OMP_NUM_THREADS where it is set), but no more than it may use at once by `cpu_quota`.
void set_threads(int threads);

}  // namespace generous
