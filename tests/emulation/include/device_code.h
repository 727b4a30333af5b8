// What kernels are written with: the keywords of CUDA C++ and the functions that only device code may call.
// The functions whose threads meet take the place in the source they are called from as a last argument that
// callers never give, for the messages about threads that do not meet.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>

#include "vector_types.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
// One block runs at a time, so what belongs to a block can be a static variable. (It keeps what the block
// before left there, as the memory of a multiprocessor does.)
#define __shared__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__

// Set by the executor for the thread that runs.
extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
inline constexpr int warpSize = 32;

namespace generous::emulation {

using Source = std::source_location;

/// Waits for all threads of the block; returns for how many of them `predicate` held.
unsigned meet_block(const char* function, bool predicate, const Source& source);
/// Waits for the lanes in `mask`, of the warp of the thread, which is one of them; returns what lane `from`
/// brought as `value`, and poison if it is not in `mask`. `from` may lie outside [0, 32): the own value.
std::uint64_t meet_warp(const char* function, unsigned mask, std::uint64_t value, int from,
                        const Source& source);
/// As meet_warp; returns a bit for each lane in `mask` for which `predicate` held.
unsigned vote(const char* function, unsigned mask, bool predicate, const Source& source);
/// Of the thread that runs, in its warp.
int lane();
/// Ends the kernel with a fault: what the thread that runs asks of `function` can't be done.
void refuse(const char* function, const Source& source, const char* why);

/// Blocks run one after the other here, so that no order of memory accesses is ever seen to be wrong. So the
/// pattern is asked for: a thread that exchanges a value with other blocks (an atomic) has fenced before it,
/// since the block's last barrier, and fences again before it goes on to the next.
void fence();
void exchange_with_blocks(const char* function, const Source& source);
/// It has been exchanged: what the block is to show the others lies in memory, or is too late. So no thread
/// of it touches memory before its next barrier.
void exchanged();

/// What kernels before this one wrote is there from here on.
void wait_for_kernels_before();

template <class T>
T exchange(const char* function, unsigned mask, T value, int from, const Source& source) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = meet_warp(function, mask, bits, from, source);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

/// `from` if it lies in the same part of `width` lanes as `lane`, otherwise `lane`.
inline int within_part(int lane, int from, int width) { return from / width == lane / width ? from : lane; }

}  // namespace generous::emulation

// Programmatic dependent launch

inline void cudaGridDependencySynchronize() { generous::emulation::wait_for_kernels_before(); }
inline void cudaTriggerProgrammaticLaunchCompletion() {}

// Barriers

inline void __syncthreads(generous::emulation::Source source = generous::emulation::Source::current()) {
  generous::emulation::meet_block("__syncthreads", false, source);
}
inline int __syncthreads_count(int predicate,
                               generous::emulation::Source source = generous::emulation::Source::current()) {
  return static_cast<int>(generous::emulation::meet_block("__syncthreads_count", predicate != 0, source));
}
inline int __syncthreads_or(int predicate,
                            generous::emulation::Source source = generous::emulation::Source::current()) {
  return generous::emulation::meet_block("__syncthreads_or", predicate != 0, source) > 0;
}
inline int __syncthreads_and(int predicate,
                             generous::emulation::Source source = generous::emulation::Source::current()) {
  return generous::emulation::meet_block("__syncthreads_and", predicate == 0, source) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffU,
                       generous::emulation::Source source = generous::emulation::Source::current()) {
  generous::emulation::vote("__syncwarp", mask, false, source);
}

// Between blocks

inline void __threadfence() { generous::emulation::fence(); }
inline unsigned atomicInc(unsigned* counter, unsigned most,
                          generous::emulation::Source source = generous::emulation::Source::current()) {
  generous::emulation::exchange_with_blocks("atomicInc", source);
  const unsigned before = *counter;
  *counter = before >= most ? 0 : before + 1;
  generous::emulation::exchanged();
  return before;
}

// Votes and shuffles

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              generous::emulation::Source source = generous::emulation::Source::current()) {
  return generous::emulation::vote("__ballot_sync", mask, predicate != 0, source);
}
inline int __any_sync(unsigned mask, int predicate,
                      generous::emulation::Source source = generous::emulation::Source::current()) {
  return generous::emulation::vote("__any_sync", mask, predicate != 0, source) != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      generous::emulation::Source source = generous::emulation::Source::current()) {
  return generous::emulation::vote("__all_sync", mask, predicate == 0, source) == 0;
}

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = warpSize,
              generous::emulation::Source source = generous::emulation::Source::current()) {
  const int lane = generous::emulation::lane();
  return generous::emulation::exchange("__shfl_sync", mask, value,
                                       lane / width * width + (from & (width - 1)), source);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = warpSize,
                 generous::emulation::Source source = generous::emulation::Source::current()) {
  const int lane = generous::emulation::lane();
  const int from = lane % width < static_cast<int>(distance) ? lane : lane - static_cast<int>(distance);
  return generous::emulation::exchange("__shfl_up_sync", mask, value, from, source);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = warpSize,
                   generous::emulation::Source source = generous::emulation::Source::current()) {
  const int lane = generous::emulation::lane();
  const int from = generous::emulation::within_part(lane, lane + static_cast<int>(distance), width);
  return generous::emulation::exchange("__shfl_down_sync", mask, value, from, source);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize,
                  generous::emulation::Source source = generous::emulation::Source::current()) {
  const int lane = generous::emulation::lane();
  const int from = (lane ^ bits) / width <= lane / width ? lane ^ bits : lane;  // or of an earlier part
  return generous::emulation::exchange("__shfl_xor_sync", mask, value, from, source);
}

// Loads and arithmetic

template <class T>
T __ldg(const T* from) {
  return *from;
}
inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float x, float y) { return x / y; }

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
inline long min(long a, long b) { return a < b ? a : b; }
inline long max(long a, long b) { return a < b ? b : a; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a < b ? b : a; }
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }
