// The emulated CUDA runtime: its device memory, its errors and what tests can ask of it.

#include <cstring>

#include "tests/emulation/checks.h"

namespace generous {
namespace {

using namespace testing;
using emulation::last_fault;
using emulation::machine;

/// Also to null: the device is to find out, not a sanitizer.
__attribute__((no_sanitize("undefined"))) __global__ void write_at(int* x, std::int64_t index, int value) {
  x[index] = value;
}

__global__ void read_at(const int* x, std::int64_t index, int* y) { *y = x[index]; }

__global__ void nothing() {}

/// What the device says about work that it is about to do.
cudaError_t outcome() { return cudaDeviceSynchronize(); }

TEST_CASE("the host cannot read or write device memory, and is told so") {
  const FreshRuntime fresh;
  const DeviceInts x(std::vector<int>{1, 2, 3});
  volatile int* const data = x.data();
  const Ending reading = ending_of([&] { static_cast<void>(data[1]); });
  CHECK(reading.killed);
  CHECK(contains(reading.text, "host code touched device memory at"));
  const Ending writing = ending_of([&] { data[0] = 7; });
  CHECK(writing.killed);
  CHECK(contains(writing.text, "host code touched device memory at"));
  // Nor after the device has worked with it.
  REQUIRE(launch(1, 1, nullptr, write_at, x.data(), 0, 7) == cudaSuccess);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  CHECK(ending_of([&] { static_cast<void>(data[1]); }).killed);
  const PinnedInts pinned(3, 4);
  CHECK_FALSE(ending_of([&] { pinned[1] = 5; }).killed);
  CHECK(x.read() == std::vector<int>{7, 2, 3});
}

TEST_CASE("other faults of the host are not taken for those of device memory") {
  const FreshRuntime fresh;
  const DeviceInts x(3);
  volatile int* volatile nowhere = nullptr;
  const Ending ending = ending_of([&] { static_cast<void>(*nowhere); });
  CHECK(ending.killed);
  CHECK_FALSE(contains(ending.text, "emulated CUDA:"));
}

TEST_CASE("new memory holds NaN and starts at multiples of 256 bytes") {
  const FreshRuntime fresh;
  for (const std::size_t count : {1U, 63U, 64U, 65U, 1000U, 100000U}) {
    const DeviceInts x(count);
    CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % 256 == 0);
    CHECK(x.read() == std::vector<int>(count, -1));
  }
}

TEST_CASE("addresses beyond an allocation are not the device's") {
  const FreshRuntime fresh;
  const DeviceInts y(1);
  SUBCASE("reading far behind") {
    const DeviceInts x(64), next(64);
    launch(1, 1, nullptr, read_at, x.data(), 64, y.data());
    CHECK(outcome() == cudaErrorIllegalAddress);
    CHECK(contains(last_fault(), "touched 0 bytes behind device memory of 256 bytes"));
    CHECK(contains(last_fault(), "thread (0, 0, 0) of block (0, 0, 0)"));
  }
  SUBCASE("writing a little behind, where the page still goes on") {
    const DeviceInts x(3);
    launch(1, 1, nullptr, write_at, x.data(), 3, 5);
    CHECK(outcome() == cudaErrorIllegalAddress);
    CHECK(contains(last_fault(), "wrote behind device memory of 12 bytes"));
  }
  SUBCASE("writing a little before") {
    const DeviceInts x(3);
    launch(1, 1, nullptr, write_at, x.data(), -1, 5);
    CHECK(outcome() == cudaErrorIllegalAddress);
    CHECK(contains(last_fault(), "wrote before device memory of 12 bytes"));
  }
  SUBCASE("reading a little behind gives NaN") {
    const DeviceInts x(std::vector<int>{1, 2, 3});
    launch(1, 1, nullptr, read_at, x.data(), 3, y.data());
    CHECK(y.read() == std::vector<int>{-1});
  }
  SUBCASE("a null pointer") {
    launch(1, 1, nullptr, write_at, static_cast<int*>(nullptr), 0, 5);
    CHECK(outcome() == cudaErrorIllegalAddress);
    CHECK(contains(last_fault(), "a null pointer"));
  }
  SUBCASE("the host's variables") {
    int on_host = 3;
    launch(1, 1, nullptr, write_at, &on_host, 0, 5);
    CHECK(outcome() == cudaErrorIllegalAddress);
    CHECK(contains(last_fault(), "pointer 0 of its arguments is the host's"));
    CHECK(on_host == 3);
  }
}

TEST_CASE("freed memory stays closed, also when other memory is allocated") {
  const FreshRuntime fresh;
  int* freed = nullptr;
  REQUIRE(cudaMalloc(&freed, 4096) == cudaSuccess);
  CHECK(cudaFree(freed) == cudaSuccess);
  CHECK(cudaFree(freed) == cudaErrorInvalidValue);
  for (int i = 0; i < 100; ++i) {
    const DeviceInts other(1024);
    CHECK(other.data() != freed);
  }
  launch(1, 1, nullptr, write_at, freed, 0, 5);
  CHECK(outcome() == cudaErrorIllegalAddress);
  CHECK(contains(last_fault(), "freed"));
}

TEST_CASE("what cudaFree takes") {
  const FreshRuntime fresh;
  const DeviceInts x(10);
  const PinnedInts pinned(10);
  int on_host = 0;
  CHECK(cudaFree(nullptr) == cudaSuccess);
  CHECK(cudaFree(x.data() + 1) == cudaErrorInvalidValue);
  CHECK(cudaFree(&on_host) == cudaErrorInvalidValue);
  CHECK(cudaFree(pinned.data()) == cudaErrorInvalidValue);
  CHECK(cudaFreeHost(x.data()) == cudaErrorInvalidValue);
  CHECK(cudaFreeHost(nullptr) == cudaSuccess);
  CHECK(x.read() == std::vector<int>(10, -1));
}

TEST_CASE("memory runs out where a test says so") {
  const FreshRuntime fresh;
  const emulation::Usage before = emulation::device_memory();
  std::size_t free_at_first = 0, free = 0, total = 0;
  machine().memory = (std::size_t{8} << 30) + (1U << 20);
  REQUIRE(cudaMemGetInfo(&free_at_first, &total) == cudaSuccess);
  CHECK(total == machine().memory);
  machine().memory = total - free_at_first + (1U << 20);  // 1 MiB that is not taken

  int* big = nullptr;
  int* more = nullptr;
  REQUIRE(cudaMalloc(&big, 700000) == cudaSuccess);
  CHECK(emulation::device_memory().allocations == before.allocations + 1);
  CHECK(emulation::device_memory().bytes == before.bytes + 700000);
  REQUIRE(cudaMemGetInfo(&free, &total) == cudaSuccess);
  CHECK(free <= (1U << 20) - 700000);
  CHECK(cudaMalloc(&more, 400000) == cudaErrorMemoryAllocation);
  CHECK(more == nullptr);
  CHECK(cudaPeekAtLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);  // nothing is broken
  CHECK(cudaMalloc(&more, free) == cudaSuccess);
  CHECK(cudaMalloc(&more, 1) == cudaErrorMemoryAllocation);
  CHECK(cudaFree(big) == cudaSuccess);
  CHECK(cudaMalloc(&big, 700000) == cudaSuccess);
  cudaFree(big);
  cudaFree(more);
}

TEST_CASE("the pool of stream-ordered memory") {
  const FreshRuntime fresh;
  const OwnStream stream;
  cudaMemPool_t pool = nullptr;
  REQUIRE(cudaDeviceGetDefaultMemPool(&pool, 0) == cudaSuccess);
  const auto attribute = [&](cudaMemPoolAttr which) {
    std::uint64_t value = 0;
    REQUIRE(cudaMemPoolGetAttribute(pool, which, &value) == cudaSuccess);
    return value;
  };
  std::uint64_t threshold = 1U << 20;
  REQUIRE(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold) == cudaSuccess);
  int* x = nullptr;
  REQUIRE(cudaMallocAsync(&x, 3U << 20, stream) == cudaSuccess);
  CHECK(attribute(cudaMemPoolAttrUsedMemCurrent) == 3U << 20);
  REQUIRE(launch(1, 1, stream, write_at, x, 5, 6) == cudaSuccess);
  REQUIRE(cudaFreeAsync(x, stream) == cudaSuccess);
  CHECK(cudaFreeAsync(x, stream) == cudaErrorInvalidValue);
  CHECK(cudaFree(x) == cudaErrorInvalidValue);
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(attribute(cudaMemPoolAttrUsedMemCurrent) == 0);
  CHECK(attribute(cudaMemPoolAttrReservedMemCurrent) == 1U << 20);  // no more than the threshold is kept
  CHECK(attribute(cudaMemPoolAttrReservedMemHigh) == 3U << 20);
  CHECK(cudaMemPoolTrimTo(pool, 0) == cudaSuccess);
  CHECK(attribute(cudaMemPoolAttrReservedMemCurrent) == 0);
  threshold = 0;
  cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold);

  std::size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  CHECK(cudaMallocAsync(&x, free + 512, stream) == cudaErrorMemoryAllocation);
  // What is being freed on the stream counts once the stream gets there.
  machine().memory = total - free + 1000000;
  REQUIRE(cudaMallocAsync(&x, 900000, stream) == cudaSuccess);
  REQUIRE(cudaFreeAsync(x, stream) == cudaSuccess);
  REQUIRE(cudaMallocAsync(&x, 900000, stream) == cudaSuccess);
  REQUIRE(cudaFreeAsync(x, stream) == cudaSuccess);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
}

TEST_CASE("stream-ordered memory is there only behind its allocation and before its release") {
  const FreshRuntime fresh;
  const OwnStream first, second;
  int early = 0;
  int late = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    emulation::set_seed(seed);
    int* x = nullptr;
    REQUIRE(cudaMallocAsync(&x, 400, first) == cudaSuccess);
    REQUIRE(launch(1, 1, second, write_at, x, 5, 6) == cudaSuccess);  // no event between the streams
    early += outcome() == cudaErrorIllegalAddress ? 1 : 0;
    emulation::reset();
    cudaFree(x);

    emulation::set_seed(seed);
    REQUIRE(cudaMallocAsync(&x, 400, first) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(first) == cudaSuccess);
    REQUIRE(cudaFreeAsync(x, first) == cudaSuccess);
    REQUIRE(launch(1, 1, second, write_at, x, 5, 6) == cudaSuccess);
    late += outcome() == cudaErrorIllegalAddress ? 1 : 0;
    emulation::reset();
  }
  CHECK(early > 0);
  CHECK(early < 20);
  CHECK(late > 0);
  CHECK(late < 20);
}

TEST_CASE("an error of a kernel shows when something waits, and stays") {
  const FreshRuntime fresh;
  DeviceInts x(std::vector<int>{1});
  const OwnStream stream;
  REQUIRE(launch(1, 1, stream, write_at, x.data(), 0, 2) == cudaSuccess);
  REQUIRE(launch(1, 1, stream, write_at, static_cast<int*>(nullptr), 0, 5) == cudaSuccess);
  REQUIRE(launch(1, 1, stream, write_at, x.data(), 0, 3) == cudaSuccess);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(cudaStreamSynchronize(stream) == cudaErrorIllegalAddress);
  CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
  CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
  CHECK(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
  CHECK(launch(1, 1, stream, nothing) == cudaErrorIllegalAddress);
  int* more = nullptr;
  CHECK(cudaMalloc(&more, 4) == cudaErrorIllegalAddress);
  int read = 0;
  CHECK(cudaMemcpy(&read, x.data(), 4, cudaMemcpyDeviceToHost) == cudaErrorIllegalAddress);
  CHECK(emulation::pending() == 0);
  emulation::reset();
  CHECK(last_fault().empty());
  CHECK(x.read() == std::vector<int>{2});  // what came after the error never ran
}

TEST_CASE("errors where a test wants them") {
  const FreshRuntime fresh;
  const DeviceInts x(4);
  int* more = nullptr;
  emulation::fail_call("cudaMalloc", 2, cudaErrorMemoryAllocation);
  CHECK(cudaMalloc(&more, 4) == cudaSuccess);
  cudaFree(more);
  CHECK(cudaMalloc(&more, 4) == cudaErrorMemoryAllocation);
  CHECK(cudaMalloc(&more, 4) == cudaSuccess);
  cudaFree(more);
  CHECK(emulation::calls("cudaMalloc") == 4);  // with the one of `x`
  CHECK(emulation::calls("cudaFree") == 2);
  CHECK(emulation::calls("cudaStreamSynchronize") == 0);

  emulation::fail_work(2, cudaErrorECCUncorrectable);
  REQUIRE(launch(1, 1, nullptr, write_at, x.data(), 0, 1) == cudaSuccess);
  REQUIRE(launch(1, 1, nullptr, write_at, x.data(), 1, 1) == cudaSuccess);
  REQUIRE(launch(1, 1, nullptr, write_at, x.data(), 2, 1) == cudaSuccess);
  CHECK(cudaDeviceSynchronize() == cudaErrorECCUncorrectable);
  emulation::reset();
  CHECK(x.read() == std::vector<int>{1, -1, -1, -1});
  CHECK(emulation::runs("kernel") == 0);
  launch(1, 1, nullptr, nothing);
  launch(1, 1, nullptr, nothing);
  CHECK(emulation::pending() == 2);
  CHECK(emulation::runs("kernel") == 0);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
  CHECK(emulation::runs("kernel") == 2);
  CHECK(emulation::pending() == 0);
}

TEST_CASE("a machine without a GPU, and one with an old driver") {
  const FreshRuntime fresh;
  int count = 7;
  int version = 0;
  int* x = nullptr;
  machine().devices = 0;
  CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
  CHECK(count == 0);
  CHECK(cudaMalloc(&x, 4) == cudaErrorNoDevice);
  CHECK(launch(1, 1, nullptr, nothing) == cudaErrorNoDevice);
  machine().devices = 1;
  machine().driver_version = 12040;
  CHECK(cudaGetDeviceCount(&count) == cudaErrorInsufficientDriver);
  CHECK(cudaMalloc(&x, 4) == cudaErrorInsufficientDriver);
  CHECK(cudaDriverGetVersion(&version) == cudaSuccess);
  CHECK(version == 12040);
  CHECK(cudaRuntimeGetVersion(&version) == cudaSuccess);
  CHECK(version == CUDART_VERSION);
  emulation::reset();
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess);
  CHECK(count == 1);
  machine().major = 7;
  machine().minor = 5;
  cudaDeviceProp properties{};
  CHECK(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
  CHECK(properties.major == 7);
  CHECK(properties.totalGlobalMem == machine().memory);
  CHECK(std::strlen(properties.name) > 0);
  int minor = 0;
  CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0) == cudaSuccess);
  CHECK(minor == 5);
  CHECK(cudaSetDevice(1) == cudaErrorInvalidDevice);
  CHECK(cudaGetDeviceProperties(&properties, 1) == cudaErrorInvalidDevice);
  machine().devices = 2;
  CHECK(cudaSetDevice(1) == cudaSuccess);
  int current = 0;
  CHECK(cudaGetDevice(&current) == cudaSuccess);
  CHECK(current == 1);
  CHECK(cudaGetDeviceProperties(&properties, 1) == cudaSuccess);
  CHECK(cudaSetDevice(0) == cudaSuccess);
}

TEST_CASE("errors have the names and explanations of the real ones") {
  CHECK(std::string(cudaGetErrorName(cudaErrorMemoryAllocation)) == "cudaErrorMemoryAllocation");
  CHECK(std::string(cudaGetErrorString(cudaErrorMemoryAllocation)) == "out of memory");
  CHECK(std::string(cudaGetErrorString(static_cast<cudaError_t>(700))) ==
        "an illegal memory access was encountered");
  CHECK(std::string(cudaGetErrorName(static_cast<cudaError_t>(555))) == "unrecognized error code");
}

TEST_CASE("what pointers point to") {
  const FreshRuntime fresh;
  const DeviceInts x(4);
  const PinnedInts pinned(4);
  int on_host = 0;
  const auto type_of = [](const void* pointer) {
    cudaPointerAttributes attributes{};
    REQUIRE(cudaPointerGetAttributes(&attributes, pointer) == cudaSuccess);
    return attributes.type;
  };
  CHECK(type_of(x.data() + 3) == cudaMemoryTypeDevice);
  CHECK(type_of(pinned.data()) == cudaMemoryTypeHost);
  CHECK(type_of(&on_host) == cudaMemoryTypeUnregistered);
  int* on_device = nullptr;
  CHECK(cudaHostGetDevicePointer(&on_device, pinned.data(), 0) == cudaSuccess);
  launch(1, 1, nullptr, write_at, on_device, 2, 9);
  CHECK(pinned[2] == 0);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
  CHECK(pinned[2] == 9);
  CHECK(cudaHostGetDevicePointer(&on_device, &on_host, 0) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace generous
