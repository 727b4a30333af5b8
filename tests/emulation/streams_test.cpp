// Streams of the emulated CUDA runtime: what is asked for runs later, in any order that nothing forbids.

#include <algorithm>
#include <cstring>

#include "tests/emulation/checks.h"

namespace generous {
namespace {

using namespace testing;
using emulation::set_seed;

constexpr std::uint64_t seeds = 20;

__global__ void add(int* x, int count, int value) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) x[i] += value;
}

__global__ void copy(const int* x, int* y) { y[threadIdx.x] = x[threadIdx.x]; }

std::string order;  ///< what host functions write down
void note(void* letter) { order += *static_cast<char*>(letter); }
char letters[] = "abcdef";

TEST_CASE("nothing runs before somebody waits for it") {
  const FreshRuntime fresh;
  const OwnStream stream;
  const DeviceInts x(std::vector<int>{1, 2, 3});
  const PinnedInts result(3, -7);
  REQUIRE(launch(1, 3, stream, add, x.data(), 3, 10) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(result.data(), x.data(), 12, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  CHECK(emulation::pending() == 2);
  CHECK(result[0] == -7);  // who forgets to wait sees what was there before
  CHECK(result[2] == -7);
  REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(result[0] == 11);
  CHECK(result[2] == 13);
}

TEST_CASE("pinned memory is read when the copy runs, pageable memory when it is asked for") {
  const FreshRuntime fresh;
  const OwnStream stream;
  const DeviceInts x(1), y(1);
  const PinnedInts pinned(1, 1);
  int pageable = 1;
  REQUIRE(cudaMemcpyAsync(x.data(), pinned.data(), 4, cudaMemcpyHostToDevice, stream) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(y.data(), &pageable, 4, cudaMemcpyHostToDevice, stream) == cudaSuccess);
  pinned[0] = 2;  // too early
  pageable = 2;
  CHECK(x.read() == std::vector<int>{2});
  CHECK(y.read() == std::vector<int>{1});
}

TEST_CASE("a copy into pageable memory is complete when the call returns") {
  const FreshRuntime fresh;
  const OwnStream stream;
  const DeviceInts x(std::vector<int>{5});
  int pageable = 0;
  REQUIRE(launch(1, 1, stream, add, x.data(), 1, 1) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(&pageable, x.data(), 4, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  CHECK(pageable == 6);
}

TEST_CASE("memsets and copies within the device wait on their stream") {
  const FreshRuntime fresh;
  const OwnStream stream;
  const DeviceInts x(std::vector<int>{1, 2, 3}), y(3);
  const PinnedInts pinned(3, 4);
  REQUIRE(cudaMemcpyAsync(y.data(), x.data(), 12, cudaMemcpyDeviceToDevice, stream) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(x.data(), 1, 8, stream) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(pinned.data(), 0, 4, stream) == cudaSuccess);
  CHECK(emulation::runs("memset") == 0);
  CHECK(pinned[0] == 4);
  CHECK(x.read() == std::vector<int>{0x01010101, 0x01010101, 3});
  CHECK(y.read() == std::vector<int>{1, 2, 3});
  CHECK(pinned[0] == 0);
  CHECK(emulation::runs("memset") == 2);
}

TEST_CASE("copies whose pointers do not fit their direction or size are refused") {
  const FreshRuntime fresh;
  const OwnStream stream;
  const DeviceInts x(4), y(4);
  const PinnedInts pinned(4);
  int pageable[4] = {};
  const auto refused = [&](void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, stream);
    CHECK(cudaMemcpy(to, from, bytes, kind) == error);
    return error == cudaErrorInvalidValue;
  };
  CHECK(refused(x.data(), y.data(), 4, cudaMemcpyHostToDevice));
  CHECK(refused(pageable, pinned.data(), 4, cudaMemcpyHostToDevice));
  CHECK(refused(x.data(), pinned.data(), 4, cudaMemcpyDeviceToHost));
  CHECK(refused(pinned.data(), x.data(), 4, cudaMemcpyDeviceToDevice));
  CHECK(refused(pinned.data(), x.data(), 4, cudaMemcpyHostToHost));
  CHECK(refused(x.data(), pageable, 17, cudaMemcpyHostToDevice));
  CHECK(refused(x.data(), y.data() + 1, 16, cudaMemcpyDeviceToDevice));
  CHECK(refused(nullptr, pageable, 4, cudaMemcpyHostToDevice));
  CHECK_FALSE(refused(x.data(), pageable, 16, cudaMemcpyDefault));
  CHECK_FALSE(refused(pageable, x.data(), 16, cudaMemcpyDefault));
  CHECK_FALSE(refused(pageable, pinned.data(), 16, cudaMemcpyHostToHost));
  CHECK(cudaMemsetAsync(pageable, 0, 4, stream) == cudaErrorInvalidValue);
  CHECK(cudaMemsetAsync(x.data(), 0, 17, stream) == cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(x.data(), pageable, 4, static_cast<cudaMemcpyKind>(5), stream) ==
        cudaErrorInvalidMemcpyDirection);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
}

TEST_CASE("a stream keeps its order, and streams do not wait for each other") {
  const FreshRuntime fresh;
  const OwnStream first, second;
  bool first_won = false;
  bool second_won = false;
  bool interleaved = false;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    set_seed(seed);
    order.clear();
    for (int i = 0; i < 3; ++i) {
      REQUIRE(cudaLaunchHostFunc(first, note, letters + i) == cudaSuccess);
      REQUIRE(cudaLaunchHostFunc(second, note, letters + 3 + i) == cudaSuccess);
    }
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    CHECK(order.size() == 6);
    CHECK((order.find('a') < order.find('b') && order.find('b') < order.find('c')));
    CHECK((order.find('d') < order.find('e') && order.find('e') < order.find('f')));
    first_won = first_won || order[0] == 'a';
    second_won = second_won || order[0] == 'd';
    interleaved = interleaved || (order != "abcdef" && order != "defabc");
  }
  CHECK(first_won);
  CHECK(second_won);
  CHECK(interleaved);
}

TEST_CASE("waiting for one stream leaves it open how far others are") {
  const FreshRuntime fresh;
  const OwnStream first, second;
  bool other_done = false;
  bool other_not_done = false;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    set_seed(seed);
    order.clear();
    cudaLaunchHostFunc(first, note, letters);
    cudaLaunchHostFunc(second, note, letters + 1);
    REQUIRE(cudaStreamSynchronize(first) == cudaSuccess);
    CHECK(contains(order, "a"));
    other_done = other_done || contains(order, "b");
    other_not_done = other_not_done || !contains(order, "b");
    cudaDeviceSynchronize();
  }
  CHECK(other_done);
  CHECK(other_not_done);
}

TEST_CASE("events order streams; without one the order is open") {
  const FreshRuntime fresh;
  const OwnStream first, second;
  const OwnEvent event;
  int stale = 0;
  for (const bool with_event : {false, true})
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
      set_seed(seed);
      const DeviceInts x(std::vector<int>{1}), y(1);
      REQUIRE(launch(1, 1, first, add, x.data(), 1, 1) == cudaSuccess);
      if (with_event) {
        REQUIRE(cudaEventRecord(event, first) == cudaSuccess);
        REQUIRE(cudaStreamWaitEvent(second, event) == cudaSuccess);
      }
      REQUIRE(launch(1, 1, second, copy, x.data(), y.data()) == cudaSuccess);
      const bool is_stale = y.read() != std::vector<int>{2};
      if (with_event) CHECK_FALSE(is_stale);
      stale += is_stale ? 1 : 0;
    }
  CHECK(stale > 0);
  CHECK(stale < static_cast<int>(seeds));
}

TEST_CASE("an event stands for what was before it when it was recorded last") {
  const FreshRuntime fresh;
  const OwnStream first, second;
  const OwnEvent event;
  CHECK(cudaEventQuery(event) == cudaSuccess);  // never recorded: nothing to wait for
  CHECK(cudaStreamWaitEvent(second, event) == cudaSuccess);
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    set_seed(seed);
    order.clear();
    cudaLaunchHostFunc(first, note, letters);
    REQUIRE(cudaEventRecord(event, first) == cudaSuccess);
    REQUIRE(cudaStreamWaitEvent(second, event) == cudaSuccess);
    cudaLaunchHostFunc(first, note, letters + 1);
    REQUIRE(cudaEventRecord(event, first) == cudaSuccess);  // `second` waits for the earlier recording
    cudaLaunchHostFunc(second, note, letters + 2);
    REQUIRE(cudaEventSynchronize(event) == cudaSuccess);
    CHECK(contains(order, "b"));
    cudaDeviceSynchronize();
    CHECK(order.find('a') < order.find('c'));
  }
}

TEST_CASE("asking lets time pass") {
  const FreshRuntime fresh;
  const OwnStream stream;
  const OwnEvent event;
  const DeviceInts x(std::vector<int>{0});
  for (int i = 0; i < 5; ++i) REQUIRE(launch(1, 1, stream, add, x.data(), 1, 1) == cudaSuccess);
  REQUIRE(cudaEventRecord(event, stream) == cudaSuccess);
  CHECK(cudaEventQuery(event) == cudaErrorNotReady);
  CHECK(cudaGetLastError() == cudaErrorNotReady);
  CHECK(cudaStreamQuery(stream) == cudaErrorNotReady);
  CHECK(emulation::pending() == 4);
  int asked = 0;
  while (cudaEventQuery(event) == cudaErrorNotReady) ++asked;
  CHECK(asked > 0);
  CHECK(asked < 10);
  CHECK(cudaStreamQuery(stream) == cudaSuccess);
  CHECK(emulation::calls("cudaStreamSynchronize") == 0);
}

TEST_CASE("time between events") {
  const FreshRuntime fresh;
  const OwnStream stream;
  const OwnEvent start, end;
  const OwnEvent untimed(cudaEventDisableTiming);
  const DeviceInts x(20000);
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, start, end) == cudaErrorInvalidResourceHandle);
  cudaEventRecord(start, stream);
  launch(100, 256, stream, add, x.data(), 20000, 1);
  cudaEventRecord(end, stream);
  cudaEventRecord(untimed, stream);
  CHECK(cudaEventElapsedTime(&milliseconds, start, end) == cudaErrorNotReady);
  CHECK(cudaEventSynchronize(end) == cudaSuccess);
  CHECK(cudaEventElapsedTime(&milliseconds, start, end) == cudaSuccess);
  CHECK(milliseconds > 0.0F);
  CHECK(cudaEventElapsedTime(&milliseconds, start, untimed) == cudaErrorInvalidResourceHandle);
}

TEST_CASE("the legacy stream and blocking streams wait for each other, others do not") {
  const FreshRuntime fresh;
  int reordered = 0;
  for (const unsigned flags : {cudaStreamDefault, cudaStreamNonBlocking})
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
      set_seed(seed);
      const OwnStream stream(flags);
      order.clear();
      cudaLaunchHostFunc(stream, note, letters);
      cudaLaunchHostFunc(nullptr, note, letters + 1);
      cudaLaunchHostFunc(stream, note, letters + 2);
      REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
      if (flags == cudaStreamDefault) CHECK(order == "abc");
      reordered += order == "abc" ? 0 : 1;
      // Waiting for the legacy stream is waiting for the blocking ones.
      if (flags == cudaStreamDefault) {
        order.clear();
        cudaLaunchHostFunc(stream, note, letters);
        REQUIRE(cudaStreamSynchronize(nullptr) == cudaSuccess);
        CHECK(order == "a");
      }
    }
  CHECK(reordered > 0);
}

TEST_CASE("a blocking copy from pageable memory does not wait for the device to have it") {
  const FreshRuntime fresh;
  int stale = 0;
  for (const unsigned flags : {cudaStreamDefault, cudaStreamNonBlocking})
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
      set_seed(seed);
      const OwnStream stream(flags);
      const DeviceInts x(1), y(1);
      const int value = 3;
      REQUIRE(cudaMemcpy(x.data(), &value, 4, cudaMemcpyHostToDevice) == cudaSuccess);
      REQUIRE(launch(1, 1, stream, copy, x.data(), y.data()) == cudaSuccess);
      const bool is_stale = y.read() != std::vector<int>{3};
      if (flags == cudaStreamDefault) CHECK_FALSE(is_stale);
      stale += is_stale ? 1 : 0;
    }
  CHECK(stale > 0);
}

TEST_CASE("freeing memory waits for what uses it") {
  const FreshRuntime fresh;
  const OwnStream stream;
  const DeviceInts y(1);
  int* x = nullptr;
  int* pinned = nullptr;
  REQUIRE(cudaMalloc(&x, 4) == cudaSuccess);
  REQUIRE(cudaMallocHost(&pinned, 4) == cudaSuccess);
  *pinned = 8;
  REQUIRE(cudaMemcpyAsync(x, pinned, 4, cudaMemcpyHostToDevice, stream) == cudaSuccess);
  REQUIRE(cudaFreeHost(pinned) == cudaSuccess);
  REQUIRE(launch(1, 1, stream, copy, static_cast<const int*>(x), y.data()) == cudaSuccess);
  REQUIRE(cudaFree(x) == cudaSuccess);
  CHECK(emulation::pending() == 0);
  CHECK(y.read() == std::vector<int>{8});
  volatile int* const gone = pinned;
  CHECK(ending_of([&] { static_cast<void>(*gone); }).killed);
}

TEST_CASE("the work of a destroyed stream runs all the same") {
  const FreshRuntime fresh;
  const DeviceInts x(std::vector<int>{1});
  cudaStream_t stream = nullptr;
  REQUIRE(cudaStreamCreate(&stream) == cudaSuccess);
  REQUIRE(launch(1, 1, stream, add, x.data(), 1, 5) == cudaSuccess);
  REQUIRE(cudaStreamDestroy(stream) == cudaSuccess);
  CHECK(cudaStreamDestroy(stream) == cudaErrorInvalidResourceHandle);
  CHECK(launch(1, 1, stream, add, x.data(), 1, 5) == cudaErrorInvalidResourceHandle);
  CHECK(cudaStreamSynchronize(stream) == cudaErrorInvalidResourceHandle);
  CHECK(x.read() == std::vector<int>{6});
}

cudaError_t from_host_function = cudaSuccess;
void call_the_runtime(void*) { from_host_function = cudaDeviceSynchronize(); }
void touch(void* data) { *static_cast<volatile int*>(data) = 1; }

TEST_CASE("functions of the host on a stream may neither call CUDA nor touch device memory") {
  const FreshRuntime fresh;
  const OwnStream stream;
  const DeviceInts x(std::vector<int>{1});
  REQUIRE(cudaLaunchHostFunc(stream, call_the_runtime, nullptr) == cudaSuccess);
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(from_host_function == cudaErrorNotPermitted);
  const Ending ending = ending_of([&] {
    launch(1, 1, stream, add, x.data(), 1, 5);
    cudaLaunchHostFunc(stream, touch, x.data());
    cudaStreamSynchronize(stream);
  });
  CHECK(ending.killed);
  CHECK(contains(ending.text, "host code touched device memory"));
}

}  // namespace
}  // namespace generous
