// The emulated cuBLAS and cuDNN on the streams of the emulated runtime: when they compute, in graphs too, and
// what becomes of errors.

#include <cublas_v2.h>

#include <cmath>

#include "tests/emulation/emulation.h"
#include "tests/emulation/libraries.h"
#include "tests/emulation/libraries_convolution.h"

namespace generous {
namespace {

using namespace testing;

using CublasHandle = Owned<cublasHandle_t, cublasCreate, cublasDestroy>;

/// Leaves the emulated machine as it was found.
struct Restored {
  ~Restored() {
    emulation::reset();
    emulation::reset_libraries();
  }
};

/// c = beta * c + a * b of one number each, on the handle's stream.
cublasStatus_t multiply(cublasHandle_t handle, const void* a, const void* b, float beta, void* c) {
  const float alpha = 1;
  return cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &alpha, a, CUDA_R_32F, 1, b, CUDA_R_32F, 1,
                      &beta, c, CUDA_R_32F, 1, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

Descriptor planned(cudnnHandle_t handle, const Convolution& of, Direction direction, std::int64_t engine) {
  return plan(handle, graph({operation(direction, Parts(of))}), engine);
}

const Convolution small{.n = 2, .c = 3, .h = 6, .w = 5, .k = 4, .r = 3, .s = 3, .pad_w = 1, .stride_w = 1};

/// Records what `work` puts on the stream.
template <class Work>
cudaGraphExec_t captured(cudaStream_t stream, Work&& work) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
  work();
  REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
  REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
  REQUIRE(cudaGraphDestroy(graph) == cudaSuccess);
  return executable;
}

TEST_CASE("nothing is computed before something waits for the stream") {
  const Restored restored;
  const CublasHandle blas;
  const CudnnHandle dnn;
  const Stream stream;
  REQUIRE(cublasSetStream(blas, stream) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(cudnnSetStream(dnn, stream) == CUDNN_STATUS_SUCCESS);
  const DeviceArray numbers({3.0F});
  const Operands operands(small);
  const Descriptor forward = planned(dnn, small, Direction::forward, 2);
  const std::int64_t products = emulation::runs("cublas gemm");
  const std::int64_t convolutions = emulation::runs("cuDNN forward");
  const std::int64_t pending = emulation::pending();
  REQUIRE(multiply(blas, numbers.data(), numbers.data(), 1, numbers.data()) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(operands.execute(dnn, forward) == CUDNN_STATUS_SUCCESS);
  CHECK(emulation::pending() == pending + 2);
  CHECK(emulation::runs("cublas gemm") == products);
  REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(emulation::runs("cublas gemm") == products + 1);
  CHECK(emulation::runs("cuDNN forward") == convolutions + 1);
  CHECK(numbers.read()[0] == 12.0F);
}

TEST_CASE("in a graph the work runs at every replay, and not when it is recorded") {
  const Restored restored;
  const CublasHandle blas;
  const CudnnHandle dnn;
  const Stream stream;
  REQUIRE(cublasSetStream(blas, stream) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(cudnnSetStream(dnn, stream) == CUDNN_STATUS_SUCCESS);
  const DeviceArray a({3.0F}), b({5.0F}), c({1.0F});
  const Operands operands(small);
  const std::vector<float> x = operands.x.read(), w = operands.w.read();
  const Descriptor backward = planned(dnn, small, Direction::backward_filter, 1);
  const cudaGraphExec_t graph = captured(stream, [&] {
    REQUIRE(multiply(blas, a.data(), b.data(), 1, c.data()) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(operands.execute(dnn, backward) == CUDNN_STATUS_SUCCESS);
  });
  CHECK(c.read()[0] == 1.0F);
  CHECK(operands.w.read() == w);
  std::vector<float> last = w;
  for (int replay = 1; replay <= 3; ++replay) {
    REQUIRE(cudaGraphLaunch(graph, stream) == cudaSuccess);
    CHECK(c.read()[0] == 1.0F + 15.0F * static_cast<float>(replay));
    const std::vector<float> next = operands.w.read();
    CHECK(next != last);  // not a deterministic algorithm
    last = next;
  }
  REQUIRE(cudaGraphExecDestroy(graph) == cudaSuccess);
}

TEST_CASE("a stream whose capture is broken takes no work") {
  const Restored restored;
  const CudnnHandle dnn;
  const Stream stream;
  REQUIRE(cudnnSetStream(dnn, stream) == CUDNN_STATUS_SUCCESS);
  const Operands operands(small);
  const Descriptor forward = planned(dnn, small, Direction::forward, 2);
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
  CHECK(cudaStreamSynchronize(stream) != cudaSuccess);
  CHECK(operands.execute(dnn, forward) == CUDNN_STATUS_EXECUTION_FAILED);
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(stream, &graph) != cudaSuccess);
}

TEST_CASE("operands outside device memory fail the work, and every call after it") {
  const Restored restored;
  const CublasHandle blas;
  const CudnnHandle dnn;
  const DeviceArray one({3.0F});
  const Operands operands(small);
  const Descriptor forward = planned(dnn, small, Direction::forward, 2);
  const std::vector<float> host(operands.x.read());
  const auto execute_on = [&](void* x, void* y, void* workspace) {
    REQUIRE(execute(dnn, forward, {1, 2, 3}, {x, operands.w.data(), y}, workspace) == CUDNN_STATUS_SUCCESS);
  };
  SUBCASE("host memory") {
    REQUIRE(multiply(blas, host.data(), one.data(), 0, one.data()) == CUBLAS_STATUS_SUCCESS);
  }
  SUBCASE("less memory than the descriptor says") {
    execute_on(one.data(), operands.y.data(), operands.workspace.data());
  }
  SUBCASE("an output that ends too early") {
    execute_on(operands.x.data(), operands.y.floats() + 1, operands.workspace.data());
  }
  SUBCASE("a workspace smaller than was said") {
    execute_on(operands.x.data(), operands.y.data(), one.data());
  }
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  CHECK(!emulation::last_fault().empty());
  CHECK(multiply(blas, one.data(), one.data(), 0, one.data()) == CUBLAS_STATUS_EXECUTION_FAILED);
  CHECK(operands.execute(dnn, forward) == CUDNN_STATUS_EXECUTION_FAILED);
}

TEST_CASE("without a device there are no handles") {
  const Restored restored;
  emulation::machine().devices = 0;
  cublasHandle_t blas = nullptr;
  cudnnHandle_t dnn = nullptr;
  CHECK(cublasCreate(&blas) == CUBLAS_STATUS_NOT_INITIALIZED);
  CHECK(cudnnCreate(&dnn) == CUDNN_STATUS_NOT_INITIALIZED);
}

TEST_CASE("what tests can ask of the libraries") {
  const Restored restored;
  const CublasHandle blas;
  const CudnnHandle dnn;
  const DeviceArray one({3.0F});
  const Operands operands(small);
  const Descriptor ready = planned(dnn, small, Direction::forward, 2);
  const auto product = [&] { return multiply(blas, one.data(), one.data(), 0, one.data()); };
  const auto forward = [&] { return operands.execute(dnn, ready); };

  emulation::libraries().cudnn_version = 80905;
  CHECK(cudnnGetVersion() == 80905);
  emulation::reset_libraries();
  CHECK(cudnnGetVersion() == CUDNN_VERSION);
  CHECK(forward() == CUDNN_STATUS_SUCCESS);

  emulation::fail_library_call("cublasGemmEx", CUBLAS_STATUS_INTERNAL_ERROR);
  emulation::fail_library_call("cudnnBackendExecute", CUDNN_STATUS_INTERNAL_ERROR);
  CHECK(product() == CUBLAS_STATUS_INTERNAL_ERROR);
  CHECK(product() == CUBLAS_STATUS_SUCCESS);
  CHECK(forward() == CUDNN_STATUS_INTERNAL_ERROR);
  CHECK(forward() == CUDNN_STATUS_SUCCESS);
  cublasHandle_t no_blas = nullptr;
  cudnnHandle_t no_dnn = nullptr;
  emulation::fail_library_call("cublasCreate", CUBLAS_STATUS_ALLOC_FAILED);
  emulation::fail_library_call("cudnnCreate", CUDNN_STATUS_INTERNAL_ERROR);
  CHECK(cublasCreate(&no_blas) == CUBLAS_STATUS_ALLOC_FAILED);
  CHECK(cudnnCreate(&no_dnn) == CUDNN_STATUS_INTERNAL_ERROR);
  emulation::fail_library_call("cublasSgemm", CUBLAS_STATUS_INTERNAL_ERROR);
  emulation::reset_libraries();
  const float alpha = 1, beta = 0;
  CHECK(cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &alpha, one.floats(), 1, one.floats(), 1, &beta,
                    one.floats(), 1) == CUBLAS_STATUS_SUCCESS);
}

}  // namespace
}  // namespace generous
