// What the emulated cuDNN refuses, and that it gives back what was set.

#include "tests/emulation/libraries_convolution.h"

namespace generous {
namespace {

using namespace testing;

TEST_CASE("a workspace that is missing or too small is refused") {
  const CudnnHandle handle;
  const Convolution of;
  const Described d(of);
  const Operands operands(of);
  for (const Direction direction : directions)
    for (const int algorithm : algorithms_of(direction)) {
      std::size_t bytes = 0;
      REQUIRE(workspace_size(handle, direction, d, algorithm, &bytes) == CUDNN_STATUS_SUCCESS);
      Call call = operands.call();
      call.bytes = bytes;
      CHECK(convolve(handle, direction, d, algorithm, call) == CUDNN_STATUS_SUCCESS);
      if (bytes == 0) continue;
      call.bytes = bytes - 1;
      CHECK(convolve(handle, direction, d, algorithm, call) == CUDNN_STATUS_BAD_PARAM);
      CHECK(last_error().find(std::to_string(bytes)) != std::string::npos);
      call.bytes = bytes;
      call.workspace = nullptr;
      CHECK(convolve(handle, direction, d, algorithm, call) == CUDNN_STATUS_BAD_PARAM);
    }
}

TEST_CASE("algorithms that do not take NHWC, or do not exist") {
  const CudnnHandle handle;
  const Convolution of;
  const Described d(of);
  const Operands operands(of);
  for (const Direction direction : directions) {
    const int count = direction == Direction::forward ? 8 : direction == Direction::backward_data ? 6 : 7;
    const std::vector<int> working = algorithms_of(direction);
    for (int algorithm = -1; algorithm <= count; ++algorithm) {
      CAPTURE(algorithm);
      const cudnnStatus_t status = algorithm < 0 || algorithm == count ? CUDNN_STATUS_BAD_PARAM
                                   : std::count(working.begin(), working.end(), algorithm) != 0
                                       ? CUDNN_STATUS_SUCCESS
                                       : CUDNN_STATUS_NOT_SUPPORTED;
      std::size_t bytes = 0;
      CHECK(workspace_size(handle, direction, d, algorithm, &bytes) == status);
      CHECK(convolve(handle, direction, d, algorithm, operands.call()) == status);
    }
  }
}

TEST_CASE("descriptors that do not fit together are refused by every direction") {
  const CudnnHandle handle;
  const Convolution of;
  const Operands operands(of);
  /// The status of all three directions after a change to the descriptors.
  const auto after = [&](auto&& change) {
    const Described d(of);
    REQUIRE(change(d) == CUDNN_STATUS_SUCCESS);
    const cudnnStatus_t status = convolve(handle, Direction::forward, d, 1, operands.call());
    for (const Direction direction : directions) {
      std::size_t bytes = 0;
      CHECK(convolve(handle, direction, d, 1, operands.call()) == status);
      CHECK(workspace_size(handle, direction, d, 1, &bytes) == status);
    }
    return status;
  };
  const auto x = [](auto... extents) {
    return [=](const Described& d) { return cudnnSetTensor4dDescriptor(d.x, CUDNN_TENSOR_NHWC, extents...); };
  };
  const auto y = [](auto... extents) {
    return [=](const Described& d) { return cudnnSetTensor4dDescriptor(d.y, CUDNN_TENSOR_NHWC, extents...); };
  };
  const auto w = [](auto type, auto format, auto... extents) {
    return [=](const Described& d) { return cudnnSetFilter4dDescriptor(d.w, type, format, extents...); };
  };
  const cudnnDataType_t f32 = CUDNN_DATA_FLOAT, bf16 = CUDNN_DATA_BFLOAT16;
  const cudnnTensorFormat_t nhwc = CUDNN_TENSOR_NHWC, nchw = CUDNN_TENSOR_NCHW;
  CHECK(after(x(f32, 2, 6, 5, 7)) == CUDNN_STATUS_SUCCESS);  // as it is
  CHECK(after(x(f32, 2, 5, 5, 7)) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after(x(f32, 3, 6, 5, 7)) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after(x(f32, 2, 6, 9, 7)) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after(x(f32, 2, 6, 5, 1)) == CUDNN_STATUS_BAD_PARAM);  // narrower than the filter
  CHECK(after(x(bf16, 2, 6, 5, 7)) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after(w(f32, nhwc, 4, 3, 3, 2)) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after(w(f32, nhwc, 5, 6, 3, 2)) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after(w(f32, nhwc, 4, 6, 2, 2)) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after(w(f32, nchw, 4, 6, 3, 2)) == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(after(w(bf16, nhwc, 4, 6, 3, 2)) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after(y(f32, 2, 4, 5, 3)) == CUDNN_STATUS_SUCCESS);  // as it is
  CHECK(after(y(f32, 2, 4, 3, 5)) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after(y(f32, 2, 3, 5, 3)) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after(y(bf16, 2, 4, 5, 3)) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after([](const Described& d) { return cudnnSetConvolutionGroupCount(d.convolution, 2); }) ==
        CUDNN_STATUS_BAD_PARAM);
  CHECK(after([](const Described& d) {
          REQUIRE(cudnnSetFilter4dDescriptor(d.w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, 4, 2, 3, 2) ==
                  CUDNN_STATUS_SUCCESS);
          return cudnnSetConvolutionGroupCount(d.convolution, 3);  // 6 channels divide, 4 filters do not
        }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(after([](const Described& d) {
          return cudnnSetTensor4dDescriptor(d.x, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 2, 6, 5, 7);
        }) == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(after([](const Described& d) {  // NHWC with a gap behind every row
          return cudnnSetTensor4dDescriptorEx(d.y, CUDNN_DATA_FLOAT, 2, 4, 5, 3, 80, 1, 16, 4);
        }) == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(after([](const Described& d) {
          return cudnnSetConvolution2dDescriptor(d.convolution, 1, 0, 1, 2, 1, 1, CUDNN_CROSS_CORRELATION,
                                                 CUDNN_DATA_BFLOAT16);
        }) == CUDNN_STATUS_NOT_SUPPORTED);
}

TEST_CASE("null arguments and descriptors that were never set") {
  const CudnnHandle handle;
  const Convolution of;
  const Described d(of);
  const Operands operands(of);
  for (const Direction direction : directions) {
    CHECK(convolve(nullptr, direction, d, 1, operands.call()) == CUDNN_STATUS_BAD_PARAM);
    CHECK(workspace_size(handle, direction, d, 1, nullptr) == CUDNN_STATUS_BAD_PARAM);
    for (void* Call::*pointer : {&Call::x, &Call::w, &Call::y}) {
      Call call = operands.call();
      call.*pointer = nullptr;
      CHECK(convolve(handle, direction, d, 1, call) == CUDNN_STATUS_BAD_PARAM);
    }
  }
  const Call call = operands.call();
  const TensorDescriptor unset;
  const auto forward = [&](const float* alpha, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t y) {
    return cudnnConvolutionForward(handle, alpha, x, call.x, d.w, call.w, d.convolution,
                                   CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, nullptr, 0, &call.beta, y,
                                   call.y);
  };
  CHECK(forward(&call.alpha, d.x, d.y) == CUDNN_STATUS_SUCCESS);
  CHECK(forward(nullptr, d.x, d.y) == CUDNN_STATUS_BAD_PARAM);
  CHECK(forward(&call.alpha, nullptr, d.y) == CUDNN_STATUS_BAD_PARAM);
  CHECK(forward(&call.alpha, d.x, nullptr) == CUDNN_STATUS_BAD_PARAM);
  CHECK(forward(&call.alpha, unset, d.y) == CUDNN_STATUS_BAD_PARAM);
  CHECK(forward(&call.alpha, d.x, unset) == CUDNN_STATUS_BAD_PARAM);
  int count = 0;
  cudnnConvolutionFwdAlgoPerf_t perf{};
  CHECK(cudnnGetConvolutionForwardAlgorithm_v7(handle, d.x, d.w, d.convolution, d.y, 0, &count, &perf) ==
        CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnFindConvolutionForwardAlgorithmEx(handle, d.x, nullptr, d.w, call.w, d.convolution, d.y, call.y,
                                               1, &count, &perf, nullptr, 0) == CUDNN_STATUS_BAD_PARAM);
}

TEST_CASE("attributes out of range are refused where they are set") {
  const TensorDescriptor x;
  const FilterDescriptor w;
  const ConvolutionDescriptor c;
  const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
  const auto convolution = [&](int pad, int stride, int dilation) {
    return cudnnSetConvolution2dDescriptor(c, 0, pad, 1, stride, 1, dilation, CUDNN_CROSS_CORRELATION, f32);
  };
  CHECK(convolution(0, 1, 1) == CUDNN_STATUS_SUCCESS);
  CHECK(convolution(-1, 1, 1) == CUDNN_STATUS_BAD_PARAM);
  CHECK(convolution(0, 0, 1) == CUDNN_STATUS_BAD_PARAM);
  CHECK(convolution(0, 1, 0) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnSetConvolutionGroupCount(c, 0) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NHWC, f32, 0, 1, 1, 1) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NCHW_VECT_C, f32, 1, 1, 1, 1) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NHWC, f32, 1 << 16, 1, 1 << 8, 1 << 8) ==
        CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(cudnnSetTensor4dDescriptorEx(x, f32, 1, 1, 1, 1, 1, 1, -1, 1) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnSetFilter4dDescriptor(w, f32, CUDNN_TENSOR_NHWC, 1, 1, 0, 1) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnSetFilter4dDescriptor(nullptr, f32, CUDNN_TENSOR_NHWC, 1, 1, 1, 1) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnCreateTensorDescriptor(nullptr) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnSetStream(nullptr, nullptr) == CUDNN_STATUS_BAD_PARAM);
}

TEST_CASE("what was set can be asked for") {
  const Convolution of{.groups = 2};
  const Described d(of);
  cudnnDataType_t type{};
  cudnnTensorFormat_t format{};
  int n = 0, c = 0, h = 0, w = 0, ns = 0, cs = 0, hs = 0, ws = 0;
  REQUIRE(cudnnGetTensor4dDescriptor(d.x, &type, &n, &c, &h, &w, &ns, &cs, &hs, &ws) == CUDNN_STATUS_SUCCESS);
  CHECK(std::vector<int>{n, c, h, w, ns, cs, hs, ws} == std::vector<int>{2, 6, 5, 7, 210, 1, 42, 6});
  REQUIRE(cudnnGetFilter4dDescriptor(d.w, &type, &format, &n, &c, &h, &w) == CUDNN_STATUS_SUCCESS);
  CHECK(std::vector<int>{n, c, h, w} == std::vector<int>{4, 3, 3, 2});
  CHECK(format == CUDNN_TENSOR_NHWC);
  CHECK(type == CUDNN_DATA_FLOAT);
  REQUIRE(cudnnGetConvolution2dForwardOutputDim(d.convolution, d.x, d.w, &n, &c, &h, &w) ==
          CUDNN_STATUS_SUCCESS);
  CHECK(std::vector<int>{n, c, h, w} == std::vector<int>{2, 4, of.p(), of.q()});
  CHECK(cudnnGetConvolution2dForwardOutputDim(d.convolution, d.y, d.w, &n, &c, &h, &w) ==
        CUDNN_STATUS_BAD_PARAM);
  int groups = 0;
  cudnnMathType_t math{};
  REQUIRE(cudnnGetConvolutionGroupCount(d.convolution, &groups) == CUDNN_STATUS_SUCCESS);
  REQUIRE(cudnnGetConvolutionMathType(d.convolution, &math) == CUDNN_STATUS_SUCCESS);
  CHECK(groups == 2);
  CHECK(math == CUDNN_FMA_MATH);
  const CudnnHandle handle;
  const Stream stream;
  cudaStream_t set = nullptr;
  REQUIRE(cudnnSetStream(handle, stream) == CUDNN_STATUS_SUCCESS);
  REQUIRE(cudnnGetStream(handle, &set) == CUDNN_STATUS_SUCCESS);
  CHECK(set == stream);
  int most = 0;
  REQUIRE(cudnnGetConvolutionForwardAlgorithmMaxCount(handle, &most) == CUDNN_STATUS_SUCCESS);
  CHECK(most == CUDNN_CONVOLUTION_FWD_ALGO_COUNT);
  REQUIRE(cudnnGetConvolutionBackwardDataAlgorithmMaxCount(handle, &most) == CUDNN_STATUS_SUCCESS);
  CHECK(most == CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT);
  REQUIRE(cudnnGetConvolutionBackwardFilterAlgorithmMaxCount(handle, &most) == CUDNN_STATUS_SUCCESS);
  CHECK(most == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT);
  CHECK(cudnnGetVersion() == CUDNN_VERSION);
  CHECK(cudnnGetErrorString(CUDNN_STATUS_BAD_PARAM) == std::string("CUDNN_STATUS_BAD_PARAM"));
}

}  // namespace
}  // namespace generous
