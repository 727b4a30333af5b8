// What the CUDA backend says when something goes wrong, and that it can be used afterwards where that is
// possible.

#include <cublas_v2.h>
#include <cudnn.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "core/backend.h"
#include "core/ops.h"
#include "tests/emulation/emulation.h"
#include "tests/emulation/libraries.h"

namespace generous {
namespace {

/// No backend yet, and a machine without faults; the same again at the end.
class FreshMachine {
 public:
  FreshMachine() { forget(); }
  ~FreshMachine() { forget(); }
  FreshMachine(const FreshMachine&) = delete;
  FreshMachine& operator=(const FreshMachine&) = delete;

 private:
  static void forget() {
    register_backend(Device::cuda, nullptr);
    emulation::reset();
    emulation::reset_libraries();
  }
};

Backend& gpu() { return backend(Device::cuda); }

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Tensor on_gpu(const Shape& shape, float value) { return Tensor::full(shape, value, Device::cuda); }

/// Whether the backend still computes.
bool works() { return sum(on_gpu({100}, 2.0F) + on_gpu({100}, 1.0F)).item() == 300.0F; }

}  // namespace

TEST_CASE("without a GPU that fits, the error says what is missing, and the next try may succeed") {
  struct Case {
    std::function<void()> lack;
    std::string missing;
  };
  using emulation::libraries;
  using emulation::machine;
  const std::vector<Case> cases{
      {[] { machine().driver_version = 0; },
       "there is no NVIDIA driver on this machine (this build needs one for CUDA 13.0)"},
      {[] { machine().driver_version = 12040; },
       "the NVIDIA driver is for CUDA 12.4 and too old for this build, which needs one for CUDA 13.0"},
      {[] { machine().devices = 0; }, "the driver finds no GPU"},
      {[] { machine().major = 7, machine().minor = 5; },
       "has compute capability 7.5, and this build needs 8.0 or more"},
      {[] { libraries().cudnn_version = 8907; }, "it needs cuDNN 9, and cuDNN 8.9 is installed"}};
  for (const Case& test : cases) {
    const FreshMachine machine;
    test.lack();
    const std::string message = message_of([] { gpu(); });
    CAPTURE(message);
    CHECK(contains(message, "no CUDA backend: "));
    CHECK(contains(message, test.missing));
    CHECK(contains(message, "the device cpu is available"));
    CHECK(!has_backend(Device::cuda));
    emulation::reset();
    emulation::reset_libraries();
    CHECK(has_backend(Device::cuda));
    CHECK(works());
  }
}

TEST_CASE("the device cuda is the first GPU, or the one that is asked for by its number") {
  const FreshMachine machine;
  emulation::machine().devices = 3;
  CHECK(contains(gpu().description(), "CPU in the place of a GPU"));
  register_backend(Device::cuda, nullptr);
  use_gpu(2);
  CHECK(contains(gpu().description(), "GPU number 2"));
  int current = -1;
  CHECK(cudaGetDevice(&current) == cudaSuccess);
  CHECK(current == 2);
  CHECK(works());
  register_backend(Device::cuda, nullptr);
  CHECK(
      message_of([] { use_gpu(3); }) ==
      "no CUDA backend: there is no cuda:3; there are cuda:0 (CPU in the place of a GPU), cuda:1 (GPU number "
      "1), cuda:2 (GPU number 2) (is one hidden by CUDA_VISIBLE_DEVICES?), and the device cpu is available");
  emulation::machine().devices = 1;
  CHECK(contains(message_of([] { use_gpu(1); }), "there is no cuda:1; there is cuda:0 (CPU in"));
  use_gpu(0);
  CHECK(works());
}

TEST_CASE("an older driver of the same major version will do") {
  const FreshMachine machine;
  emulation::machine().driver_version = 13000;
  CHECK(contains(gpu().description(), "(sm_90, CUDA 13.0, cuDNN 9."));
  CHECK(gpu().why_no_bf16() == "");
}

TEST_CASE("a call that fails while the backend is made leaves nothing behind") {
  const FreshMachine machine;
  const emulation::Usage device = emulation::device_memory();
  const emulation::Usage pinned = emulation::pinned_memory();
  for (const std::string call : {"cudaSetDevice", "cudaStreamCreateWithFlags", "cudaHostAlloc",
                                 "cudaEventCreateWithFlags", "cudaMalloc"}) {
    CAPTURE(call);
    emulation::fail_call(call, 1, cudaErrorUnknown);
    const std::string message = message_of([] { gpu(); });
    CHECK(contains(message, call + " failed: cudaErrorUnknown"));
    CHECK(emulation::device_memory().allocations == device.allocations);
    CHECK(emulation::pinned_memory().allocations == pinned.allocations);
  }
  emulation::fail_library_call("cublasCreate", CUBLAS_STATUS_NOT_INITIALIZED);
  CHECK(contains(message_of([] { gpu(); }), "cublasCreate failed: CUBLAS_STATUS_NOT_INITIALIZED"));
  emulation::fail_library_call("cudnnCreate", CUDNN_STATUS_NOT_INITIALIZED);
  CHECK(contains(message_of([] { gpu(); }), "CUDNN_STATUS_NOT_INITIALIZED"));
  CHECK(emulation::device_memory().allocations == device.allocations);
  CHECK(emulation::pinned_memory().allocations == pinned.allocations);
  CHECK(works());
}

TEST_CASE("at the end of a process nothing is asked of the runtime and the libraries any more") {
  const FreshMachine machine;
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    backend(Device::cuda);
    std::exit(works() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) != emulation::exit_status_of_late_calls);
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a backend that goes gives back all that it took") {
  const FreshMachine machine;
  CHECK(works());
  CHECK(emulation::device_memory().allocations > 0);
  register_backend(Device::cuda, nullptr);
  CHECK(emulation::device_memory().allocations == 0);
  CHECK(emulation::pinned_memory().allocations == 0);
}

TEST_CASE("out of memory: what was cached is given back first; then requested, free, used and cached bytes") {
  const FreshMachine machine;
  // Of which cuBLAS's workspace takes 32 MiB, and the backend 8 KiB for counters and zeros.
  emulation::machine().memory = std::size_t{100} << 20U;
  constexpr std::int64_t mebi = 1 << 18;  // floats
  CHECK(works());
  const Tensor kept = on_gpu({16 * mebi}, 1.0F);
  on_gpu({24 * mebi}, 1.0F);
  CHECK(gpu().allocator()->statistics().cached_bytes >= 24U << 20U);
  const Tensor fits = on_gpu({32 * mebi}, 1.0F);
  CHECK(gpu().allocator()->statistics().cached_bytes < 1U << 20U);
  const std::string message = message_of([] { on_gpu({40 * mebi}, 1.0F); });
  CAPTURE(message);
  CHECK(contains(message, "out of memory of the GPU: 40.00 MiB requested, 19.99 MiB free, 80.01 MiB in use"));
  CHECK(contains(message, "were cached"));
  CHECK(works());
}

TEST_CASE("memory that the driver refuses for another reason") {
  const FreshMachine machine;
  CHECK(works());
  emulation::fail_call("cudaMalloc", 1, cudaErrorUnknown);
  CHECK(
      contains(message_of([] { on_gpu({12345}, 1.0F); }), "allocation: cudaMalloc failed: cudaErrorUnknown"));
  CHECK(works());
  emulation::fail_call("cudaMemGetInfo", 1, cudaErrorUnknown);
  CHECK(!gpu().allocator()->free_bytes().has_value());
}

TEST_CASE("recorded work may take memory from the driver, and run out of it") {
  const FreshMachine machine;
  Tensor y = on_gpu({70000}, 0.0F);
  const std::int64_t before = emulation::calls("cudaMalloc");
  const auto recorded = gpu().record([&] { gpu().copy(on_gpu({70000}, 3.0F), y); });
  CHECK(emulation::calls("cudaMalloc") > before);
  CHECK(y.to(Device::cpu).data<float>()[69999] == 3.0F);

  const auto too_much = [] { gpu().record([] { on_gpu({std::int64_t{1} << 32}, 1.0F); }); };
  CHECK(contains(message_of(too_much), "out of memory of the GPU: 16.00 GiB requested"));
  CHECK(works());
  recorded->replay();
  gpu().synchronize();
}

TEST_CASE("a launch that is refused names its op, and is forgotten") {
  const FreshMachine machine;
  const Tensor x = on_gpu({10}, 1.0F);
  emulation::fail_call("cudaLaunchKernelEx", 1, cudaErrorInvalidConfiguration);
  CHECK(contains(message_of([&] { relu(x); }),
                 "unary: cudaLaunchKernelEx failed: cudaErrorInvalidConfiguration"));
  CHECK(works());
}

TEST_CASE("an error inside a kernel names its op where each is waited for") {
  const FreshMachine machine;
  gpu().choose_algorithms({.op_by_op = true});
  const Tensor x = on_gpu({}, 1.0F);
  emulation::fail_work(2, cudaErrorMisalignedAddress);
  const Tensor a = x + x;
  const std::string message = message_of([&] { relu(a); });  // the second piece of work
  CAPTURE(message);
  CHECK(contains(message, "unary: "));
  CHECK(contains(message, "(cudaErrorMisalignedAddress)"));
}

TEST_CASE("an error inside a kernel that shows in a later call says how to learn which op it was") {
  const std::vector<std::pair<std::string, std::function<void(const Tensor&)>>> places{
      {"found when copy_to_host called", [](const Tensor& x) { x.item(); }},
      {"found when synchronize called", [](const Tensor&) { gpu().synchronize(); }},
      {"found when synchronize called", [](const Tensor&) { gpu().record([] {}); }}};
  const std::string names = "with --record 0 its op is named";
  for (const auto& [place, wait] : places) {
    CAPTURE(place);
    const FreshMachine machine;
    const Tensor x = on_gpu({}, 1.0F);
    gpu().synchronize();
    emulation::fail_work(2, cudaErrorMisalignedAddress);
    const Tensor c = relu(x + x) * 2.0F;
    const std::string message = message_of([&] { wait(c); });
    CAPTURE(message);
    CHECK(contains(message, "(cudaErrorMisalignedAddress)"));
    CHECK(contains(message, place));
    CHECK(contains(message, names));
    // The device is lost; whatever is asked of it next is not to blame either.
    CHECK(contains(message_of([&] { exp(x); }), names));
    CHECK(contains(message_of([&] { gpu().copy(x, const_cast<Tensor&>(c)); }), names));
  }
}

TEST_CASE("an error of a kernel that shows in a call of a library is not put down to that call") {
  const FreshMachine machine;
  const Tensor x = on_gpu({128, 128}, 1.0F);  // too large for small_gemm
  const Tensor images = on_gpu({1, 4, 4, 2}, 1.0F);
  const Tensor weight = on_gpu({3, 3, 3, 2}, 1.0F);
  matmul(x, x);
  conv2d(images, weight, {}, {});
  gpu().synchronize();
  emulation::fail_work(1, cudaErrorIllegalAddress);
  relu(x);
  const std::string before = "a kernel that ran before: ";
  CHECK(contains(message_of([&] { gpu().synchronize(); }), before));
  CHECK(contains(message_of([&] { matmul(x, x); }), before));
  CHECK(contains(message_of([&] { conv2d(images, weight, {}, {}); }), before));
}

TEST_CASE("an error inside recorded work says how to learn which op it was") {
  const FreshMachine machine;
  const Tensor x = on_gpu({8}, 1.0F);
  Tensor y = on_gpu({8}, 0.0F);
  const auto recorded = gpu().record([&] { gpu().copy(exp(x), y); });
  gpu().synchronize();
  emulation::fail_work(1, cudaErrorLaunchFailure);
  recorded->replay();
  const std::string message = message_of([] { gpu().synchronize(); });
  CAPTURE(message);
  CHECK(contains(message, "with --record 0 its op is named"));
}

TEST_CASE("library calls that fail name the op and the status") {
  const FreshMachine machine;
  const Tensor x = on_gpu({128, 128}, 1.0F);  // too large for small_gemm
  const Tensor images = on_gpu({1, 4, 4, 2}, 1.0F);
  const Tensor weight = on_gpu({3, 3, 3, 2}, 1.0F);
  emulation::fail_library_call("cublasGemmEx", CUBLAS_STATUS_EXECUTION_FAILED);
  CHECK(contains(message_of([&] { matmul(x, x); }),
                 "gemm: cublasGemmEx failed: CUBLAS_STATUS_EXECUTION_FAILED"));
  emulation::fail_library_call("cudnnBackendFinalize graph", CUDNN_STATUS_NOT_INITIALIZED);
  CHECK(contains(message_of([&] { conv2d(images, weight, {}, {}); }),
                 "conv2d: cudnnBackendFinalize failed: CUDNN_STATUS_NOT_INITIALIZED"));
  emulation::fail_library_call("cudnnBackendExecute", CUDNN_STATUS_EXECUTION_FAILED);
  CHECK(contains(message_of([&] { conv2d(images, weight, {}, {}); }),
                 "conv2d: cudnnBackendExecute failed: CUDNN_STATUS_EXECUTION_FAILED"));
  CHECK(works());
}

TEST_CASE("a recording that fails leaves the backend as it was") {
  const FreshMachine machine;
  const Tensor x = on_gpu({50}, 1.5F);
  Tensor y = on_gpu({50}, 0.0F);
  const std::size_t in_use = gpu().allocator()->statistics().in_use_bytes;
  const auto work = [&] { gpu().copy(x + x, y); };
  for (const std::string call : {"cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate",
                                 "cudaGraphUpload", "cudaGraphLaunch", "cudaLaunchKernelEx"}) {
    CAPTURE(call);
    emulation::fail_call(call, 1, cudaErrorUnknown);
    const std::string message = message_of([&] { gpu().record(work); });
    CAPTURE(message);
    CHECK(contains(message, call + " failed"));
    emulation::reset();  // where the end of a capture failed, it goes on
    CHECK(gpu().allocator()->statistics().in_use_bytes == in_use);
    CHECK(works());
  }
  CHECK(y.to(Device::cpu).data<float>()[0] == 0.0F);
}

TEST_CASE("a call that no recording allows breaks it, and is reported") {
  const FreshMachine machine;
  const Tensor x = on_gpu({50}, 1.5F);
  void* block = nullptr;
  const auto unsafe = [&] {
    CHECK(cudaMalloc(&block, 100) != cudaSuccess);
    relu(x);
  };
  CHECK(contains(message_of([&] { gpu().record(unsafe); }), "cudaErrorStreamCaptureInvalidated"));
  const auto unsafe_at_the_end = [&] {
    relu(x);
    CHECK(cudaMalloc(&block, 100) != cudaSuccess);
  };
  CHECK(
      contains(message_of([&] { gpu().record(unsafe_at_the_end); }), "record: cudaStreamEndCapture failed"));
  CHECK(works());
}

}  // namespace generous
