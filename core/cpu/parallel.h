// Loops over all threads. Each thread gets one contiguous range that depends on the size and the thread count
// alone, so sums combined in thread order are the same in every run.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "core/threads.h"

namespace generous {

/// The part of [0, count) that belongs to `thread` of `threads`.
struct Range {
  std::int64_t begin;
  std::int64_t end;
};
inline Range range_of_thread(std::int64_t count, int thread, int threads) {
  return {count * thread / threads, count * (thread + 1) / threads};
}

/// Calls f(begin, end, thread) once per thread with ranges that cover [0, count); on the calling thread alone
/// when there are fewer than `grain` elements a thread. Returns the number of threads used, at most
/// omp_get_max_threads(). f must not throw.
template <class F>
int parallel_ranges(std::int64_t count, std::int64_t grain, F&& f) {
  const auto useful = std::max<std::int64_t>(1, count / std::max<std::int64_t>(1, grain));
  const auto threads = static_cast<int>(std::min<std::int64_t>(settle_threads(), useful));
  if (threads == 1) {
    f(std::int64_t{0}, count, 0);
    return 1;
  }
  int given = 1;
#pragma omp parallel num_threads(threads)
  {
    // The threads that are really there: the runtime may give fewer than it was asked for.
    const int team = omp_get_num_threads();
    const int thread = omp_get_thread_num();
    if (thread == 0) given = team;
    const Range range = range_of_thread(count, thread, team);
    f(range.begin, range.end, thread);
  }
  return given;
}

/// Elements a thread should have before a second one pays, for cheap elementwise work.
constexpr std::int64_t elementwise_grain = 1 << 14;

/// f(i) for every i in [0, count), in parallel.
template <class F>
void parallel_for(std::int64_t count, std::int64_t grain, F&& f) {
  parallel_ranges(count, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) f(i);
  });
}

}  // namespace generous
