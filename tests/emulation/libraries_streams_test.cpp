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
  const Described d(small);
  const std::int64_t products = emulation::runs("cublas gemm");
  const std::int64_t convolutions = emulation::runs("cudnnConvolutionForward");
  const std::int64_t pending = emulation::pending();
  REQUIRE(multiply(blas, numbers.data(), numbers.data(), 1, numbers.data()) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(convolve(dnn, Direction::forward, d, 1, operands.call()) == CUDNN_STATUS_SUCCESS);
  CHECK(emulation::pending() == pending + 2);
  CHECK(emulation::runs("cublas gemm") == products);
  REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(emulation::runs("cublas gemm") == products + 1);
  CHECK(emulation::runs("cudnnConvolutionForward") == convolutions + 1);
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
  const cudaGraphExec_t graph = captured(stream, [&] {
    const Described d(small);
    REQUIRE(multiply(blas, a.data(), b.data(), 1, c.data()) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(convolve(dnn, Direction::backward_filter, d, 0, operands.call()) == CUDNN_STATUS_SUCCESS);
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

TEST_CASE("measuring waits for the stream, which a capture does not allow") {
  const Restored restored;
  const CudnnHandle dnn;
  const Stream stream;
  REQUIRE(cudnnSetStream(dnn, stream) == CUDNN_STATUS_SUCCESS);
  const Operands operands(small);
  const Described d(small);
  int count = 0;
  cudnnConvolutionFwdAlgoPerf_t perf{};
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
  CHECK(cudnnFindConvolutionForwardAlgorithmEx(dnn, d.x, operands.x.data(), d.w, operands.w.data(),
                                               d.convolution, d.y, operands.y.data(), 1, &count, &perf,
                                               nullptr, 0) == CUDNN_STATUS_EXECUTION_FAILED_CUDART);
  CHECK(convolve(dnn, Direction::forward, d, 1, operands.call()) == CUDNN_STATUS_EXECUTION_FAILED);
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(stream, &graph) != cudaSuccess);
}

TEST_CASE("operands outside device memory fail the work, and every call after it") {
  const Restored restored;
  const CublasHandle blas;
  const CudnnHandle dnn;
  const DeviceArray one({3.0F});
  const Operands operands(small);
  const Described d(small);
  const std::vector<float> host(operands.x.read());
  Call call = operands.call();
  SUBCASE("host memory") {
    REQUIRE(multiply(blas, host.data(), one.data(), 0, one.data()) == CUBLAS_STATUS_SUCCESS);
  }
  SUBCASE("less memory than the descriptor says") {
    call.x = one.data();
    REQUIRE(convolve(dnn, Direction::forward, d, 0, call) == CUDNN_STATUS_SUCCESS);
  }
  SUBCASE("an output that ends too early") {
    call.y = operands.y.floats() + 1;
    REQUIRE(convolve(dnn, Direction::forward, d, 0, call) == CUDNN_STATUS_SUCCESS);
  }
  SUBCASE("a workspace smaller than was said") {
    call.workspace = one.data();
    REQUIRE(convolve(dnn, Direction::forward, d, 1, call) == CUDNN_STATUS_SUCCESS);
  }
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  CHECK(!emulation::last_fault().empty());
  CHECK(multiply(blas, one.data(), one.data(), 0, one.data()) == CUBLAS_STATUS_EXECUTION_FAILED);
  CHECK(convolve(dnn, Direction::forward, d, 0, operands.call()) == CUDNN_STATUS_EXECUTION_FAILED);
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
  const Described d(small);
  const auto product = [&] { return multiply(blas, one.data(), one.data(), 0, one.data()); };
  const auto forward = [&] { return convolve(dnn, Direction::forward, d, 1, operands.call()); };

  emulation::libraries().cudnn_version = 80905;
  CHECK(cudnnGetVersion() == 80905);
  emulation::libraries().convolutions = false;
  CHECK(forward() == CUDNN_STATUS_NOT_SUPPORTED);
  emulation::reset_libraries();
  CHECK(cudnnGetVersion() == CUDNN_VERSION);
  CHECK(forward() == CUDNN_STATUS_SUCCESS);

  emulation::fail_library_call("cublasGemmEx", CUBLAS_STATUS_INTERNAL_ERROR);
  emulation::fail_library_call("cudnnConvolutionForward", CUDNN_STATUS_INTERNAL_ERROR);
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
