// Captures and graphs of the emulated CUDA runtime.

#include <thread>

#include "tests/emulation/checks.h"
#include "tests/emulation/enqueue.h"

namespace generous {
namespace {

using namespace testing;
using emulation::set_seed;

__global__ void add(int* x, int value) { x[threadIdx.x] += value; }
__global__ void twice(int* x) { x[threadIdx.x] *= 2; }

std::string order;
void note(void* letter) { order += *static_cast<char*>(letter); }
char letters[] = "abcdef";

/// What is captured while it lives; ended by graph() or with the scope.
class Recording {
 public:
  explicit Recording(cudaStream_t stream, cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal)
      : stream_(stream) {
    REQUIRE(cudaStreamBeginCapture(stream, mode) == cudaSuccess);
  }
  ~Recording() {
    end();
    if (graph_ != nullptr) cudaGraphDestroy(graph_);
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  cudaError_t end() {
    if (ended_) return cudaErrorUnknown;
    ended_ = true;
    return cudaStreamEndCapture(stream_, &graph_);
  }
  cudaStreamCaptureStatus status() const {
    cudaStreamCaptureStatus status{};
    REQUIRE(cudaStreamIsCapturing(stream_, &status) == cudaSuccess);
    return status;
  }
  cudaGraph_t graph() const { return graph_; }

 private:
  cudaStream_t stream_;
  cudaGraph_t graph_ = nullptr;
  bool ended_ = false;
};

class Executable {
 public:
  explicit Executable(cudaGraph_t graph) {
    REQUIRE(cudaGraphInstantiate(&executable_, graph, 0) == cudaSuccess);
  }
  ~Executable() { cudaGraphExecDestroy(executable_); }
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;
  operator cudaGraphExec_t() const { return executable_; }  // NOLINT: stands for the handle in calls

 private:
  cudaGraphExec_t executable_ = nullptr;
};

TEST_CASE("captured work runs when its graph is launched, as often as that is") {
  const FreshRuntime fresh;
  const OwnStream stream;
  const DeviceInts x(std::vector<int>{1, 2});
  const PinnedInts in(2, 5), out(2);
  int value = 10;
  Recording recording(stream);
  REQUIRE(cudaMemcpyAsync(x.data(), in.data(), 8, cudaMemcpyHostToDevice, stream) == cudaSuccess);
  REQUIRE(launch(1, 2, stream, add, x.data(), value) == cudaSuccess);
  emulation::enqueue(stream, "a library's work", [data = x.data()] { data[1] += 1000; });
  REQUIRE(launch(1, 2, stream, twice, x.data()) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(out.data(), x.data(), 8, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(x.data(), 0, 8, stream) == cudaSuccess);
  CHECK(recording.status() == cudaStreamCaptureStatusActive);
  REQUIRE(recording.end() == cudaSuccess);
  CHECK(recording.status() == cudaStreamCaptureStatusNone);
  value = 99;  // the arguments are those of the capture
  std::size_t nodes = 0;
  CHECK(cudaGraphGetNodes(recording.graph(), nullptr, &nodes) == cudaSuccess);
  CHECK(nodes == 6);
  CHECK(x.read() == std::vector<int>{1, 2});  // nothing has run

  const Executable executable(recording.graph());
  CHECK(cudaGraphUpload(executable, stream) == cudaSuccess);
  for (int turn = 0; turn < 3; ++turn) {
    in[0] = turn;
    REQUIRE(cudaGraphLaunch(executable, stream) == cudaSuccess);
    if (turn > 0) CHECK(out[0] == 2 * (turn - 1 + 10));  // it waits like all work
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
    CHECK(out[0] == 2 * (turn + 10));
    CHECK(out[1] == 2 * (5 + 10 + 1000));
  }
  CHECK(emulation::runs("a library's work") == 3);
  CHECK(emulation::runs("graph") == 3);
  CHECK(x.read() == std::vector<int>{0, 0});
}

TEST_CASE("a launch keeps what it needs") {
  const FreshRuntime fresh;
  const OwnStream stream;
  const DeviceInts x(std::vector<int>{1});
  {
    Recording recording(stream);
    launch(1, 1, stream, add, x.data(), 1);
    REQUIRE(recording.end() == cudaSuccess);
    const Executable executable(recording.graph());
    CHECK(cudaGraphLaunch(executable, stream) == cudaSuccess);
    CHECK(cudaGraphLaunch(executable, stream) == cudaSuccess);
  }
  CHECK(x.read() == std::vector<int>{3});
  CHECK(cudaGraphLaunch(nullptr, stream) == cudaErrorInvalidValue);
  CHECK(cudaGraphDestroy(nullptr) == cudaErrorInvalidValue);
}

TEST_CASE("what a replay could not repeat breaks the capture") {
  const FreshRuntime fresh;
  const OwnStream stream, other;
  const OwnEvent event, captured;
  const DeviceInts x(std::vector<int>{1});
  const PinnedInts pinned(1);
  int pageable = 0;
  int* memory = nullptr;
  cudaEventRecord(event, other);
  cudaDeviceSynchronize();
  struct Case {
    const char* name;
    std::function<cudaError_t()> call;
    cudaError_t error;
  };
  const Case cases[] = {
      {"cudaMalloc", [&] { return cudaMalloc(&memory, 4); }, cudaErrorStreamCaptureUnsupported},
      {"cudaFree", [&] { return cudaFree(x.data()); }, cudaErrorStreamCaptureUnsupported},
      {"cudaMallocHost", [&] { return cudaMallocHost(&memory, 4); }, cudaErrorStreamCaptureUnsupported},
      {"cudaFreeHost", [&] { return cudaFreeHost(pinned.data()); }, cudaErrorStreamCaptureUnsupported},
      {"cudaMallocAsync", [&] { return cudaMallocAsync(&memory, 4, stream); },
       cudaErrorStreamCaptureUnsupported},
      {"cudaStreamSynchronize", [&] { return cudaStreamSynchronize(stream); },
       cudaErrorStreamCaptureUnsupported},
      {"cudaStreamQuery", [&] { return cudaStreamQuery(stream); }, cudaErrorStreamCaptureUnsupported},
      {"cudaDeviceSynchronize", [&] { return cudaDeviceSynchronize(); }, cudaErrorStreamCaptureUnsupported},
      {"cudaEventQuery", [&] { return cudaEventQuery(event); }, cudaErrorStreamCaptureUnsupported},
      {"cudaMemcpy", [&] { return cudaMemcpy(x.data(), &pageable, 4, cudaMemcpyHostToDevice); },
       cudaErrorStreamCaptureUnsupported},
      {"copy from pageable memory",
       [&] { return cudaMemcpyAsync(x.data(), &pageable, 4, cudaMemcpyHostToDevice, stream); },
       cudaErrorStreamCaptureUnsupported},
      {"copy to pageable memory",
       [&] { return cudaMemcpyAsync(&pageable, x.data(), 4, cudaMemcpyDeviceToHost, stream); },
       cudaErrorStreamCaptureUnsupported},
      {"waiting for work that is not captured", [&] { return cudaStreamWaitEvent(stream, event); },
       cudaErrorStreamCaptureIsolation},
  };
  for (const Case& test : cases) {
    CAPTURE(test.name);
    Recording recording(stream);
    launch(1, 1, stream, add, x.data(), 1);
    CHECK(test.call() == test.error);
    CHECK(cudaGetLastError() == test.error);
    CHECK(recording.status() == cudaStreamCaptureStatusInvalidated);
    CHECK(launch(1, 1, stream, add, x.data(), 1) == cudaErrorStreamCaptureInvalidated);
    CHECK(recording.end() == cudaErrorStreamCaptureInvalidated);
    CHECK(recording.graph() == nullptr);
    CHECK(recording.status() == cudaStreamCaptureStatusNone);
    CHECK(launch(1, 1, stream, add, x.data(), 0) == cudaSuccess);  // the stream is a stream again
    cudaGetLastError();
  }
  CHECK(memory == nullptr);
  CHECK(x.read() == std::vector<int>{1});
  // An event of the capture itself
  Recording recording(stream, cudaStreamCaptureModeRelaxed);
  launch(1, 1, stream, add, x.data(), 1);
  REQUIRE(cudaEventRecord(captured, stream) == cudaSuccess);
  CHECK(cudaEventSynchronize(captured) == cudaErrorCapturedEvent);
  CHECK(recording.end() == cudaErrorStreamCaptureInvalidated);
}

TEST_CASE("whom a capture forbids what") {
  const FreshRuntime fresh;
  const OwnStream stream;
  const auto allocation = [] {
    int* memory = nullptr;
    const cudaError_t result = cudaMalloc(&memory, 4);
    cudaFree(memory);
    return result;
  };
  const auto on_another_thread = [&](auto&& f) {
    cudaError_t result = cudaSuccess;
    std::thread([&] { result = f(); }).join();
    return result;
  };
  SUBCASE("global: every thread") {
    Recording recording(stream, cudaStreamCaptureModeGlobal);
    CHECK(on_another_thread(allocation) == cudaErrorStreamCaptureUnsupported);
    CHECK(recording.end() == cudaErrorStreamCaptureInvalidated);
  }
  SUBCASE("global: a thread that says that it knows what it does") {
    Recording recording(stream, cudaStreamCaptureModeGlobal);
    CHECK(on_another_thread([&] {
            cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal;
            cudaThreadExchangeStreamCaptureMode(&mode);
            CHECK(mode == cudaStreamCaptureModeGlobal);
            return allocation();
          }) == cudaSuccess);
    CHECK(recording.end() == cudaSuccess);
  }
  SUBCASE("of its own thread: the one that began it") {
    Recording recording(stream, cudaStreamCaptureModeThreadLocal);
    CHECK(on_another_thread(allocation) == cudaSuccess);
    CHECK(recording.status() == cudaStreamCaptureStatusActive);
    CHECK(on_another_thread([&] {
            cudaGraph_t graph = nullptr;
            return cudaStreamEndCapture(stream, &graph);
          }) == cudaErrorStreamCaptureWrongThread);
    CHECK(allocation() == cudaErrorStreamCaptureUnsupported);
    CHECK(recording.end() == cudaErrorStreamCaptureInvalidated);
  }
  SUBCASE("of its own thread, which takes it back for a while") {
    Recording recording(stream, cudaStreamCaptureModeThreadLocal);
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    REQUIRE(cudaThreadExchangeStreamCaptureMode(&mode) == cudaSuccess);
    CHECK(allocation() == cudaSuccess);
    REQUIRE(cudaThreadExchangeStreamCaptureMode(&mode) == cudaSuccess);
    CHECK(mode == cudaStreamCaptureModeRelaxed);
    CHECK(recording.status() == cudaStreamCaptureStatusActive);
    CHECK(allocation() == cudaErrorStreamCaptureUnsupported);
  }
  SUBCASE("relaxed: nobody") {
    Recording recording(stream, cudaStreamCaptureModeRelaxed);
    CHECK(allocation() == cudaSuccess);
    CHECK(recording.end() == cudaSuccess);
  }
}

TEST_CASE("the legacy stream cannot be captured, nor used while a blocking stream is") {
  const FreshRuntime fresh;
  const OwnStream blocking(cudaStreamDefault), independent(cudaStreamNonBlocking);
  const DeviceInts x(std::vector<int>{1});
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal) == cudaErrorStreamCaptureUnsupported);
  {
    Recording recording(blocking);
    CHECK(launch(1, 1, nullptr, add, x.data(), 1) == cudaErrorStreamCaptureImplicit);
    CHECK(recording.end() == cudaErrorStreamCaptureInvalidated);
  }
  {
    Recording recording(independent);
    CHECK(launch(1, 1, nullptr, add, x.data(), 1) == cudaSuccess);
    CHECK(recording.end() == cudaSuccess);
  }
  CHECK(x.read() == std::vector<int>{2});
}

TEST_CASE("captures begin and end in pairs") {
  const FreshRuntime fresh;
  const OwnStream stream, other;
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorIllegalState);
  cudaStreamCaptureStatus status{};
  unsigned long long first = 0, second = 0;
  {
    Recording recording(stream);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaErrorIllegalState);
    CHECK(cudaStreamGetCaptureInfo(stream, &status, &first) == cudaSuccess);
    CHECK(status == cudaStreamCaptureStatusActive);
  }
  Recording recording(stream);
  CHECK(cudaStreamGetCaptureInfo(stream, &status, &second) == cudaSuccess);
  CHECK(first != second);
  CHECK(cudaStreamGetCaptureInfo(other, &status) == cudaSuccess);
  CHECK(status == cudaStreamCaptureStatusNone);
}

TEST_CASE("a capture spreads over the streams that wait for its events") {
  const FreshRuntime fresh;
  const OwnStream stream, other;
  const OwnEvent fork, join;
  Recording recording(stream);
  cudaLaunchHostFunc(stream, note, letters);
  REQUIRE(cudaEventRecord(fork, stream) == cudaSuccess);
  REQUIRE(cudaStreamWaitEvent(other, fork) == cudaSuccess);
  cudaLaunchHostFunc(stream, note, letters + 1);
  cudaLaunchHostFunc(other, note, letters + 2);
  REQUIRE(cudaEventRecord(join, other) == cudaSuccess);
  REQUIRE(cudaStreamWaitEvent(stream, join) == cudaSuccess);
  cudaLaunchHostFunc(stream, note, letters + 3);
  REQUIRE(recording.end() == cudaSuccess);
  cudaStreamCaptureStatus status{};
  CHECK(cudaStreamIsCapturing(other, &status) == cudaSuccess);
  CHECK(status == cudaStreamCaptureStatusNone);

  const Executable executable(recording.graph());
  bool b_first = false;
  bool c_first = false;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    set_seed(seed);
    order.clear();
    REQUIRE(cudaGraphLaunch(executable, stream) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
    CHECK((order == "abcd" || order == "acbd"));
    b_first = b_first || order == "abcd";
    c_first = c_first || order == "acbd";
  }
  CHECK(b_first);
  CHECK(c_first);
}

TEST_CASE("a captured stream that is not joined, or ends the capture itself, breaks it") {
  const FreshRuntime fresh;
  const OwnStream stream, other, third;
  const OwnEvent fork;
  const auto begin = [&] {
    cudaLaunchHostFunc(stream, note, letters);
    REQUIRE(cudaEventRecord(fork, stream) == cudaSuccess);
    REQUIRE(cudaStreamWaitEvent(other, fork) == cudaSuccess);
    cudaLaunchHostFunc(other, note, letters + 1);
  };
  {
    Recording recording(stream);
    begin();
    CHECK(recording.end() == cudaErrorStreamCaptureUnjoined);
    CHECK(recording.graph() == nullptr);
  }
  {
    Recording recording(stream);
    begin();
    cudaGraph_t graph = nullptr;
    CHECK(cudaStreamEndCapture(other, &graph) == cudaErrorStreamCaptureUnmatched);
    CHECK(recording.end() == cudaErrorStreamCaptureInvalidated);
  }
  {
    Recording recording(stream);
    begin();
    Recording second(third);
    CHECK(cudaStreamWaitEvent(third, fork) == cudaErrorStreamCaptureMerge);
  }
}

TEST_CASE("a graph does not keep the memory that it uses") {
  const FreshRuntime fresh;
  const OwnStream stream;
  int* x = nullptr;
  REQUIRE(cudaMalloc(&x, 4) == cudaSuccess);
  Recording recording(stream);
  launch(1, 1, stream, add, x, 1);
  REQUIRE(recording.end() == cudaSuccess);
  const Executable executable(recording.graph());
  REQUIRE(cudaGraphLaunch(executable, stream) == cudaSuccess);
  CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  REQUIRE(cudaFree(x) == cudaSuccess);
  REQUIRE(cudaGraphLaunch(executable, stream) == cudaSuccess);
  CHECK(cudaStreamSynchronize(stream) == cudaErrorIllegalAddress);
}

}  // namespace
}  // namespace generous
