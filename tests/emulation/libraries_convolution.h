// One convolution through the emulated cuDNN, with its descriptors, its operands and plain sums to compare
// with.
#pragma once

#include <cudnn.h>

#include <algorithm>
#include <array>
#include <string>

#include "tests/emulation/libraries_checks.h"

namespace generous::testing {

using CudnnHandle = Owned<cudnnHandle_t, cudnnCreate, cudnnDestroy>;
using TensorDescriptor =
    Owned<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using FilterDescriptor =
    Owned<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor =
    Owned<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor>;

/// The extents and attributes of a convolution; c and k count the channels of all groups.
struct Convolution {
  int n = 2, c = 6, h = 5, w = 7;
  int k = 4, r = 3, s = 2;
  int groups = 1;
  int pad_h = 1, pad_w = 0;
  int stride_h = 1, stride_w = 2;
  int dilation_h = 1, dilation_w = 1;
  DType dtype = DType::f32;
  cudnnTensorFormat_t format = CUDNN_TENSOR_NHWC;
  cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;

  int p() const { return (h + 2 * pad_h - (r - 1) * dilation_h - 1) / stride_h + 1; }
  int q() const { return (w + 2 * pad_w - (s - 1) * dilation_w - 1) / stride_w + 1; }
  std::size_t size_x() const { return static_cast<std::size_t>(n * h * w * c); }
  std::size_t size_w() const { return static_cast<std::size_t>(k * r * s * (c / groups)); }
  std::size_t size_y() const { return static_cast<std::size_t>(n * p() * q() * k); }
  /// The math type without TF32 for f32, the one there is for bf16.
  cudnnMathType_t math() const { return dtype == DType::f32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH; }
  cudnnDataType_t type() const { return dtype == DType::f32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16; }

  /// Where element (a, b, i, j) of an array {.., channels, height, width} lies in memory.
  std::size_t at(int a, int b, int i, int j, int channels, int height, int width) const {
    return static_cast<std::size_t>(format == CUDNN_TENSOR_NHWC
                                        ? ((a * height + i) * width + j) * channels + b
                                        : ((a * channels + b) * height + i) * width + j);
  }

  /// Calls f(index into x, into w, into y) for every product of the convolution, by its definition.
  template <class F>
  void for_each_product(F&& f) const {
    const int group_c = c / groups, group_k = k / groups;
    for (int image = 0; image < n; ++image)
      for (int out = 0; out < k; ++out)
        for (int in = 0; in < group_c; ++in)
          for (int py = 0; py < p(); ++py)
            for (int px = 0; px < q(); ++px)
              for (int fy = 0; fy < r; ++fy)
                for (int fx = 0; fx < s; ++fx) {
                  const bool turned = mode == CUDNN_CONVOLUTION;
                  const int y = py * stride_h - pad_h + (turned ? r - 1 - fy : fy) * dilation_h;
                  const int x = px * stride_w - pad_w + (turned ? s - 1 - fx : fx) * dilation_w;
                  if (y < 0 || y >= h || x < 0 || x >= w) continue;
                  f(at(image, out / group_k * group_c + in, y, x, c, h, w),
                    at(out, in, fy, fx, group_c, r, s), at(image, out, py, px, k, p(), q()));
                }
  }
};

/// The descriptors of a convolution.
struct Described {
  explicit Described(const Convolution& of) {
    REQUIRE(cudnnSetTensor4dDescriptor(x, of.format, of.type(), of.n, of.c, of.h, of.w) ==
            CUDNN_STATUS_SUCCESS);
    REQUIRE(cudnnSetTensor4dDescriptor(y, of.format, of.type(), of.n, of.k, of.p(), of.q()) ==
            CUDNN_STATUS_SUCCESS);
    REQUIRE(cudnnSetFilter4dDescriptor(w, of.type(), of.format, of.k, of.c / of.groups, of.r, of.s) ==
            CUDNN_STATUS_SUCCESS);
    REQUIRE(cudnnSetConvolution2dDescriptor(convolution, of.pad_h, of.pad_w, of.stride_h, of.stride_w,
                                            of.dilation_h, of.dilation_w, of.mode,
                                            CUDNN_DATA_FLOAT) == CUDNN_STATUS_SUCCESS);
    REQUIRE(cudnnSetConvolutionGroupCount(convolution, of.groups) == CUDNN_STATUS_SUCCESS);
    REQUIRE(cudnnSetConvolutionMathType(convolution, of.math()) == CUDNN_STATUS_SUCCESS);
  }
  TensorDescriptor x, y;
  FilterDescriptor w;
  ConvolutionDescriptor convolution;
};

enum class Direction { forward, backward_data, backward_filter };
inline constexpr std::array directions{Direction::forward, Direction::backward_data,
                                       Direction::backward_filter};

inline cudnnStatus_t workspace_size(cudnnHandle_t handle, Direction direction, const Described& d,
                                    int algorithm, std::size_t* bytes) {
  switch (direction) {
    case Direction::forward:
      return cudnnGetConvolutionForwardWorkspaceSize(
          handle, d.x, d.w, d.convolution, d.y, static_cast<cudnnConvolutionFwdAlgo_t>(algorithm), bytes);
    case Direction::backward_data:
      return cudnnGetConvolutionBackwardDataWorkspaceSize(
          handle, d.w, d.y, d.convolution, d.x, static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm), bytes);
    case Direction::backward_filter:
      return cudnnGetConvolutionBackwardFilterWorkspaceSize(
          handle, d.x, d.y, d.convolution, d.w, static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm),
          bytes);
  }
  return CUDNN_STATUS_BAD_PARAM;
}

/// Device pointers, scale factors and scratch memory of a call.
struct Call {
  void *x, *w, *y;
  float alpha = 1.0F, beta = 0.0F;
  void* workspace = nullptr;
  std::size_t bytes = 0;
};

inline cudnnStatus_t convolve(cudnnHandle_t handle, Direction direction, const Described& d, int algorithm,
                              const Call& c) {
  switch (direction) {
    case Direction::forward:
      return cudnnConvolutionForward(handle, &c.alpha, d.x, c.x, d.w, c.w, d.convolution,
                                     static_cast<cudnnConvolutionFwdAlgo_t>(algorithm), c.workspace, c.bytes,
                                     &c.beta, d.y, c.y);
    case Direction::backward_data:
      return cudnnConvolutionBackwardData(handle, &c.alpha, d.w, c.w, d.y, c.y, d.convolution,
                                          static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm), c.workspace,
                                          c.bytes, &c.beta, d.x, c.x);
    case Direction::backward_filter:
      return cudnnConvolutionBackwardFilter(handle, &c.alpha, d.x, c.x, d.y, c.y, d.convolution,
                                            static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm),
                                            c.workspace, c.bytes, &c.beta, d.w, c.w);
  }
  return CUDNN_STATUS_BAD_PARAM;
}

/// The algorithms that take NHWC images.
inline std::vector<int> algorithms_of(Direction direction) {
  return direction == Direction::backward_filter ? std::vector<int>{0, 1, 3} : std::vector<int>{0, 1};
}

/// Runs one algorithm over host values with a workspace of its own size; the output's old values are in its
/// place among x, w and y. Returns the output.
inline std::vector<float> convolved(const Convolution& of, Direction direction, int algorithm,
                                    const std::vector<float>& x, const std::vector<float>& w,
                                    const std::vector<float>& y, float alpha = 1.0F, float beta = 0.0F) {
  const CudnnHandle handle;
  const DeviceArray device_x(x, of.dtype), device_w(w, of.dtype), device_y(y, of.dtype);
  std::size_t bytes = 0;
  {
    const Described d(of);
    REQUIRE(workspace_size(handle, direction, d, algorithm, &bytes) == CUDNN_STATUS_SUCCESS);
  }
  const DeviceArray workspace(std::vector<float>(bytes / sizeof(float) + 1));
  {
    const Described d(of);  // gone before the work is done
    REQUIRE(convolve(handle, direction, d, algorithm,
                     {device_x.data(), device_w.data(), device_y.data(), alpha, beta, workspace.data(),
                      bytes}) == CUDNN_STATUS_SUCCESS);
  }
  const std::vector<float> scratch = workspace.read();
  CHECK(std::all_of(scratch.begin(), scratch.end() - 1, [](float value) { return value != value; }));
  CHECK(scratch.back() == 0.0F);
  return direction == Direction::forward
             ? device_y.read()
             : (direction == Direction::backward_data ? device_x : device_w).read();
}

/// Operands of a convolution on the device, and more workspace than any algorithm needs.
struct Operands {
  explicit Operands(const Convolution& of)
      : x(scattered(of.size_x(), 1), of.dtype),
        w(scattered(of.size_w(), 2), of.dtype),
        y(scattered(of.size_y(), 3), of.dtype),
        workspace(std::vector<float>(std::size_t{1} << 16)) {}
  Call call() const {
    return {.x = x.data(),
            .w = w.data(),
            .y = y.data(),
            .workspace = workspace.data(),
            .bytes = workspace.bytes()};
  }
  DeviceArray x, w, y, workspace;
};

/// cudnnGetLastErrorString.
inline std::string last_error() {
  char message[256];
  cudnnGetLastErrorString(message, sizeof(message));
  return message;
}

}  // namespace generous::testing
