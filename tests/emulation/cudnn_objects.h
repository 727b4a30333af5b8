// What the opaque pointers of the emulated cuDNN point to, and how its calls report what is wrong.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <string>

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

/// An image batch; extents of 0 until the descriptor is set.
struct cudnnTensorStruct {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  int n = 0, c = 0, h = 0, w = 0;
  int n_stride = 0, c_stride = 0, h_stride = 0, w_stride = 0;
};

/// A packed filter: {k, c, h, w} in memory for NCHW, {k, h, w, c} for NHWC; `c` counts the channels of one
/// group.
struct cudnnFilterStruct {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW;
  int k = 0, c = 0, h = 0, w = 0;
};

struct cudnnConvolutionStruct {
  int pad_h = 0, pad_w = 0;
  int stride_h = 0, stride_w = 0;  ///< 0 until the descriptor is set
  int dilation_h = 1, dilation_w = 1;
  cudnnConvolutionMode_t mode = CUDNN_CONVOLUTION;
  cudnnDataType_t compute = CUDNN_DATA_FLOAT;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
  int groups = 1;
};

namespace generous::emulation {

/// Keeps `message` for cudnnGetLastErrorString and returns `status`.
cudnnStatus_t refuse(cudnnStatus_t status, std::string message);

}  // namespace generous::emulation
