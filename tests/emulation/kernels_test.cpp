// How the emulated device runs kernels: indices, the shuffled order of threads, barriers, warps, and what
// happens to threads that do not meet.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "tests/emulation/checks.h"

namespace generous {
namespace {

using namespace testing;
using emulation::last_fault;

std::vector<unsigned> order;  ///< in which threads began; kernels here are host code and can reach it

__global__ void note_order() { order.push_back(blockIdx.x * blockDim.x + threadIdx.x); }

std::vector<unsigned> order_of(unsigned blocks, unsigned threads, std::uint64_t seed) {
  emulation::set_seed(seed);
  order.clear();
  REQUIRE(launch(blocks, threads, nullptr, note_order) == cudaSuccess);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  return order;
}

TEST_CASE("every thread of every block runs once, in an order that the seed decides") {
  const FreshRuntime fresh;
  std::vector<unsigned> all(7 * 96);
  std::iota(all.begin(), all.end(), 0U);
  const std::vector<unsigned> found = order_of(7, 96, 1);
  CHECK(std::is_permutation(found.begin(), found.end(), all.begin(), all.end()));
  CHECK(found != all);
  CHECK(order_of(7, 96, 1) == found);
  CHECK(order_of(7, 96, 2) != found);
  // Blocks too: which one is first varies.
  CHECK_FALSE((order_of(7, 1, 1)[0] == 0 && order_of(7, 1, 2)[0] == 0 && order_of(7, 1, 3)[0] == 0));
}

__global__ void note_indices(int* x) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  x[block * blockDim.x * blockDim.y * blockDim.z + thread] =
      static_cast<int>(1000 * blockIdx.z + 100 * blockIdx.x + 10 * threadIdx.z + threadIdx.x);
}

TEST_CASE("indices in three dimensions") {
  const FreshRuntime fresh;
  const DeviceInts x(2 * 3 * 4 * 5 * 3 * 2);
  const cudaLaunchConfig_t config{.gridDim = dim3(2, 3, 4),
                                  .blockDim = dim3(5, 3, 2),
                                  .dynamicSmemBytes = 0,
                                  .stream = nullptr,
                                  .attrs = nullptr,
                                  .numAttrs = 0};
  REQUIRE(cudaLaunchKernelEx(&config, note_indices, x.data()) == cudaSuccess);
  const std::vector<int> found = x.read();
  std::size_t at = 0;
  for (int block = 0; block < 24; ++block)
    for (int thread = 0; thread < 30; ++thread)
      CHECK(found[at++] == 1000 * (block / 6) + 100 * (block % 2) + 10 * (thread / 15) + thread % 5);
}

/// Block 0 counts blocks; whether each fences before and after it.
__global__ void meet(unsigned* counter, bool before, bool after) {
  __syncthreads();
  if (threadIdx.x == 0) {
    if (before) __threadfence();
    atomicInc(counter, 2);
    if (after) __threadfence();
  }
  __syncthreads();
}

TEST_CASE("a counter goes round, and blocks that exchange something have to fence before and after it") {
  for (const bool before : {false, true})
    for (const bool after : {false, true}) {
      const FreshRuntime fresh;
      const DeviceInts counter(std::vector<int>{0});
      auto* counted = reinterpret_cast<unsigned*>(counter.data());
      REQUIRE(launch(4, 64, nullptr, meet, counted, before, after) == cudaSuccess);
      if (before && after) {
        CHECK(counter.read()[0] == 1);  // 1, 2, 0, 1
        continue;
      }
      CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
      CHECK(last_fault().find(before ? "has not fenced" : "without a __threadfence") != std::string::npos);
    }
}

/// Each thread writes its number, if `barrier` before thread 0 counts its block, otherwise maybe behind.
__global__ void leave_and_meet(unsigned* counter, int* numbers, bool barrier) {
  if (barrier || threadIdx.x == 0) numbers[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (barrier) __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    atomicInc(counter, 1000);
    __threadfence();
  }
  if (!barrier && threadIdx.x != 0) numbers[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
}

TEST_CASE("what a block shows others is written before it exchanges something with them") {
  for (const bool barrier : {true, false}) {
    const FreshRuntime fresh;
    const DeviceInts counter(std::vector<int>{0});
    const DeviceInts numbers(64);
    auto* counted = reinterpret_cast<unsigned*>(counter.data());
    REQUIRE(launch(200, 64, nullptr, leave_and_meet, counted, numbers.data(), barrier) == cudaSuccess);
    CHECK(cudaDeviceSynchronize() == (barrier ? cudaSuccess : cudaErrorIllegalAddress));
    if (!barrier) CHECK(last_fault().find("between an exchange with other blocks") != std::string::npos);
  }
}

__global__ void nothing() {}

TEST_CASE("launches outside the limits are refused") {
  const FreshRuntime fresh;
  const auto refused = [](dim3 grid, dim3 block) {
    const cudaLaunchConfig_t config{.gridDim = grid,
                                    .blockDim = block,
                                    .dynamicSmemBytes = 0,
                                    .stream = nullptr,
                                    .attrs = nullptr,
                                    .numAttrs = 0};
    return cudaLaunchKernelEx(&config, nothing) == cudaErrorInvalidConfiguration;
  };
  CHECK_FALSE(refused(1, 1024));
  CHECK(refused(1, 1025));
  CHECK(refused(1, dim3(1024, 2)));
  CHECK(refused(1, dim3(1, 1, 65)));
  CHECK(refused(0, 32));
  CHECK(refused(32, 0));
  CHECK(refused(2147483648U, 1));
  CHECK(refused(dim3(1, 65536), 1));
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);  // a refused launch is not an error of the device
  CHECK(emulation::runs("kernel") == 1);
  void (*none)() = nullptr;
  CHECK(launch(1, 1, nullptr, none) == cudaErrorInvalidDeviceFunction);
}

struct Numbers {
  int values[1000];
};

__global__ void take(Numbers numbers, int* x) { x[threadIdx.x] = numbers.values[threadIdx.x * 9]; }

TEST_CASE("arguments are those of the call, and every thread has its own") {
  const FreshRuntime fresh;
  const DeviceInts x(100);
  Numbers numbers{};
  std::iota(numbers.values, numbers.values + 1000, 0);
  REQUIRE(launch(1, 100, nullptr, take, numbers, x.data()) == cudaSuccess);
  numbers = {};
  const std::vector<int> found = x.read();
  for (int i = 0; i < 100; ++i) CHECK(found[static_cast<std::size_t>(i)] == 9 * i);
}

// Barriers

constexpr unsigned width = 128;

/// Reverses what the threads bring, `turns` times.
template <bool before, bool after>
__global__ void reverse(int* x, int turns) {
  __shared__ int shared[width];
  int value = static_cast<int>(threadIdx.x);
  for (int turn = 0; turn < turns; ++turn) {
    shared[threadIdx.x] = value;
    if (before) __syncthreads();
    value = shared[width - 1 - threadIdx.x];
    if (after) __syncthreads();
  }
  x[blockIdx.x * width + threadIdx.x] = value;
}

/// How many of 16 blocks come out right.
int right_blocks(void (*kernel)(int*, int)) {
  const DeviceInts x(16 * width);
  REQUIRE(launch(16, width, nullptr, kernel, x.data(), 3) == cudaSuccess);
  const std::vector<int> found = x.read();
  int right = 0;
  for (unsigned block = 0; block < 16; ++block) {
    bool is_right = true;
    for (unsigned i = 0; i < width; ++i)
      is_right = is_right && found[block * width + i] == static_cast<int>(width - 1 - i);
    right += is_right ? 1 : 0;
  }
  return right;
}

TEST_CASE("threads wait for each other at a barrier, and a missing one shows") {
  const FreshRuntime fresh;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    emulation::set_seed(seed);
    CHECK(right_blocks(reverse<true, true>) == 16);
    CHECK(right_blocks(reverse<false, true>) == 0);
    CHECK(right_blocks(reverse<true, false>) < 4);  // who runs ahead overwrites what others have yet to read
  }
}

__global__ void two_warps(int* x, int value) {
  __shared__ int shared[2];
  const unsigned warp = threadIdx.x / warpSize;
  if (threadIdx.x % warpSize == 0) shared[warp] = value;
  __syncwarp();
  x[blockIdx.x * 64 + threadIdx.x] = shared[1 - warp];  // of the other warp, which nobody waited for
}

TEST_CASE("a warp can run ahead of the others") {
  const FreshRuntime fresh;
  int stale = 0;
  for (int seed = 0; seed < 20; ++seed) {
    emulation::set_seed(static_cast<std::uint64_t>(seed));
    const DeviceInts x(64);
    REQUIRE(launch(1, 64, nullptr, two_warps, x.data(), seed + 1) == cudaSuccess);
    const std::vector<int> found = x.read();
    stale += found[0] != seed + 1 || found[32] != seed + 1 ? 1 : 0;
  }
  CHECK(stale > 0);
}

__global__ void half_of_them() {
  if (threadIdx.x < 32) __syncthreads();
}
__global__ void in_different_places() {
  if (threadIdx.x % 2 == 0)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void barrier_and_shuffle() {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __syncwarp();
}

TEST_CASE("a barrier that not all threads come to is an error that names it") {
  const FreshRuntime fresh;
  launch(3, 64, nullptr, half_of_them);
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  CHECK(contains(last_fault(), "of 64 threads wait 32 in __syncthreads at kernels_test.cpp:"));
  CHECK(contains(last_fault(), "32 have ended"));
  emulation::reset();
  launch(3, 64, nullptr, in_different_places);
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  emulation::reset();
  launch(3, 64, nullptr, barrier_and_shuffle);
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  CHECK(contains(last_fault(), "__syncwarp"));
  emulation::reset();
  CHECK(right_blocks(reverse<true, true>) == 16);  // the next kernel starts anew
}

__global__ void fault_after_barrier(int* x) {
  __syncthreads();
  if (threadIdx.x == 77) x[100000] = 1;
  __syncthreads();
}

TEST_CASE("a fault in the middle of a block ends the kernel, not the program") {
  const FreshRuntime fresh;
  const DeviceInts x(4);
  for (int turn = 0; turn < 3; ++turn) {
    launch(3, 128, nullptr, fault_after_barrier, x.data());
    CHECK(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
    CHECK(contains(last_fault(), "thread (77, 0, 0)"));
    emulation::reset();
  }
  CHECK(right_blocks(reverse<true, true>) == 16);
}

__global__ void counts(int* x) {
  const int third = threadIdx.x % 3 == 0 ? 1 : 0;
  x[threadIdx.x] = __syncthreads_count(third) + (__syncthreads_or(threadIdx.x == 40) != 0 ? 1000 : 0) +
                   (__syncthreads_and(threadIdx.x < 100) != 0 ? 2000 : 0) +
                   (__syncthreads_or(0) != 0 ? 4000 : 0) + (__syncthreads_and(third) != 0 ? 8000 : 0);
}

TEST_CASE("barriers that count") {
  const FreshRuntime fresh;
  const DeviceInts x(96);
  launch(1, 96, nullptr, counts, x.data());
  CHECK(x.read() == std::vector<int>(96, 3032));
}

// Warps

__global__ void shuffles(int* x, double* y) {
  const int id = static_cast<int>(threadIdx.x);
  int* mine = x + 8 * threadIdx.x;
  mine[0] = __shfl_xor_sync(0xffffffffU, 100 + id, 5);
  mine[1] = __shfl_down_sync(0xffffffffU, id, 7U);
  mine[2] = __shfl_up_sync(0xffffffffU, id, 7U);
  mine[3] = __shfl_sync(0xffffffffU, id, 3);
  mine[4] = __shfl_down_sync(0xffffffffU, id, 3U, 8);
  mine[5] = __shfl_sync(0xffffffffU, id, 3, 8);
  mine[6] = static_cast<int>(__ballot_sync(0xffffffffU, id % 4 == 1));
  mine[7] = (__any_sync(0xffffffffU, id == 9) != 0 ? 1 : 0) + (__all_sync(0xffffffffU, id < 32) != 0 ? 2 : 0);
  y[id] = __shfl_xor_sync(0xffffffffU, 0.5 * id, 1);
}

TEST_CASE("shuffles and votes within each warp") {
  const FreshRuntime fresh;
  const DeviceInts x(8 * 64), y(2 * 64);
  launch(1, 64, nullptr, shuffles, x.data(), reinterpret_cast<double*>(y.data()));
  const std::vector<int> found = x.read();
  for (int id = 0; id < 64; ++id) {
    CAPTURE(id);
    const int* mine = found.data() + 8 * id;
    const int lane = id % 32;
    CHECK(mine[0] == 100 + (id ^ 5));
    CHECK(mine[1] == (lane + 7 < 32 ? id + 7 : id));
    CHECK(mine[2] == (lane >= 7 ? id - 7 : id));
    CHECK(mine[3] == id - lane + 3);
    CHECK(mine[4] == (lane % 8 + 3 < 8 ? id + 3 : id));
    CHECK(mine[5] == id / 8 * 8 + 3);
    CHECK(mine[6] == 0x22222222);
    CHECK(mine[7] == (id < 32 ? 3 : 0));
  }
  const std::vector<int> bits = y.read();
  for (int id = 0; id < 64; ++id) {
    double value = 0;
    std::memcpy(&value, bits.data() + 2 * id, sizeof value);
    CHECK(value == 0.5 * (id ^ 1));
  }
}

__global__ void half_a_warp(int* x) {
  const unsigned low = 0x0000ffffU;
  if (threadIdx.x < 16) x[threadIdx.x] = __shfl_down_sync(low, static_cast<int>(threadIdx.x), 4U);
}

TEST_CASE("a part of a warp shuffles among itself, and what no lane brought is garbage") {
  const FreshRuntime fresh;
  const DeviceInts x(16);
  launch(1, 32, nullptr, half_a_warp, x.data());
  CHECK(x.read() == std::vector<int>{4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, -1, -1, -1, -1});
}

__global__ void some_lanes_stay_away() {
  if (threadIdx.x % 32 < 20) __shfl_xor_sync(0xffffffffU, 1, 1);
}
__global__ void not_in_its_mask() { __ballot_sync(0xffU, 1); }

__global__ void different_calls() {
  if (threadIdx.x < 3)
    __any_sync(0xffffffffU, 1);
  else
    __syncwarp();
}

TEST_CASE("lanes that do not meet are an error") {
  const FreshRuntime fresh;
  launch(1, 32, nullptr, some_lanes_stay_away);
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  CHECK(contains(last_fault(), "wait 20 in __shfl_xor_sync"));
  emulation::reset();
  launch(1, 32, nullptr, not_in_its_mask);
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  CHECK(contains(last_fault(), "own mask"));
  emulation::reset();
  launch(1, 24, nullptr, some_lanes_stay_away);
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  CHECK(contains(last_fault(), "lanes that the block does not have"));
  emulation::reset();
  launch(1, 32, nullptr, different_calls);
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  CHECK(contains(last_fault(), "__any_sync"));
  CHECK(contains(last_fault(), "__syncwarp"));
}

__global__ void pass_on(int* x) {
  __shared__ int shared[32];
  shared[threadIdx.x] = static_cast<int>(threadIdx.x);
  x[threadIdx.x] = shared[(threadIdx.x + 1) % 32];  // within a warp, but without __syncwarp
}

TEST_CASE("the threads of a warp do not run in step") {
  const FreshRuntime fresh;
  const DeviceInts x(32);
  launch(1, 32, nullptr, pass_on, x.data());
  const std::vector<int> found = x.read();
  bool all_right = true;
  for (int i = 0; i < 32; ++i) all_right = all_right && found[static_cast<std::size_t>(i)] == (i + 1) % 32;
  CHECK_FALSE(all_right);
}

__global__ void deep(int* x) {
  volatile char room[200000];
  room[0] = 1;
  __syncthreads();
  x[threadIdx.x] = room[0];
}

TEST_CASE("arithmetic that only device code has") {
  CHECK(rsqrtf(4.0F) == 0.5F);
  CHECK(max(3, -2) == 3);
  CHECK(min(3U, 2U) == 2U);
  CHECK(max(std::nanf(""), 1.0F) == 1.0F);
  const float value = 2.5F;
  CHECK(__ldg(&value) == 2.5F);
  static_assert(sizeof(float4) == 16 && alignof(float4) == 16 && alignof(float2) == 8);
  CHECK(make_float4(1, 2, 3, 4).w == 4.0F);
}

TEST_CASE("a thread has room on its stack") {
  const FreshRuntime fresh;
  const DeviceInts x(64);
  launch(1, 64, nullptr, deep, x.data());
  CHECK(x.read() == std::vector<int>(64, 1));
}

}  // namespace
}  // namespace generous
