// Handles, descriptors and error strings of the emulated cuDNN.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "cudnn_objects.h"
#include "libraries.h"

namespace generous::emulation {
namespace {

thread_local std::string last_error;

bool is_type(cudnnDataType_t type) {
  return type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_DOUBLE || type == CUDNN_DATA_HALF ||
         type == CUDNN_DATA_INT8 || type == CUDNN_DATA_INT32 || type == CUDNN_DATA_UINT8 ||
         type == CUDNN_DATA_BFLOAT16;
}

bool is_math(cudnnMathType_t math) { return math >= CUDNN_DEFAULT_MATH && math <= CUDNN_FMA_MATH; }

cudnnStatus_t bad(const char* call, std::string_view what) {
  return refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("{}: {}", call, what));
}

template <class Object>
cudnnStatus_t create(const char* call, Object** object) {
  if (object == nullptr) return bad(call, "no place for the new object");
  *object = new Object;
  return CUDNN_STATUS_SUCCESS;
}

template <class Object>
cudnnStatus_t destroy(Object* object) {
  delete object;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

cudnnStatus_t refuse(cudnnStatus_t status, std::string message) {
  last_error = std::move(message);
  return status;
}

}  // namespace generous::emulation

using namespace generous::emulation;

size_t cudnnGetVersion(void) { return libraries().cudnn_version; }

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS:
      return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_NOT_INITIALIZED:
      return "CUDNN_STATUS_NOT_INITIALIZED";
    case CUDNN_STATUS_BAD_PARAM:
      return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_INTERNAL_ERROR:
      return "CUDNN_STATUS_INTERNAL_ERROR";
    case CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED:
      return "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED";
    case CUDNN_STATUS_EXECUTION_FAILED:
      return "CUDNN_STATUS_EXECUTION_FAILED";
    case CUDNN_STATUS_EXECUTION_FAILED_CUDART:
      return "CUDNN_STATUS_EXECUTION_FAILED_CUDART";
  }
  return "CUDNN_UNKNOWN_STATUS";
}

void cudnnGetLastErrorString(char* message, size_t max_size) {
  if (message == nullptr || max_size == 0) return;
  const size_t length = std::min(max_size - 1, last_error.size());
  std::memcpy(message, last_error.data(), length);
  message[length] = '\0';
  last_error.clear();
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  if (const int status = planned_failure("cudnnCreate"))
    return refuse(static_cast<cudnnStatus_t>(status), "cudnnCreate: a failure that a test asked for");
  if (!has_device()) return refuse(CUDNN_STATUS_NOT_INITIALIZED, "cudnnCreate: no device");
  return create("cudnnCreate", handle);
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  cudaDeviceSynchronize();  // an error of earlier work stays for whoever asks next
  return destroy(handle);
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t streamId) {
  if (handle == nullptr) return bad("cudnnSetStream", "null handle");
  handle->stream = streamId;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* streamId) {
  if (handle == nullptr || streamId == nullptr) return bad("cudnnGetStream", "null argument");
  *streamId = handle->stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* tensorDesc) {
  return create("cudnnCreateTensorDescriptor", tensorDesc);
}

cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t tensorDesc) { return destroy(tensorDesc); }

cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t tensorDesc, cudnnTensorFormat_t format,
                                         cudnnDataType_t dataType, int n, int c, int h, int w) {
  const char* call = "cudnnSetTensor4dDescriptor";
  if (std::min({n, c, h, w}) <= 0) return bad(call, fmt::format("extents {}, {}, {}, {}", n, c, h, w));
  if (static_cast<double>(n) * c * h * w > std::numeric_limits<int>::max())
    return refuse(CUDNN_STATUS_NOT_SUPPORTED,
                  fmt::format("{}: {} * {} * {} * {} elements", call, n, c, h, w));
  if (format == CUDNN_TENSOR_NHWC)
    return cudnnSetTensor4dDescriptorEx(tensorDesc, dataType, n, c, h, w, h * w * c, 1, w * c, c);
  if (format == CUDNN_TENSOR_NCHW)
    return cudnnSetTensor4dDescriptorEx(tensorDesc, dataType, n, c, h, w, c * h * w, h * w, w, 1);
  return bad(call, "unknown format");
}

cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t tensorDesc, cudnnDataType_t dataType,
                                           int n, int c, int h, int w, int nStride, int cStride, int hStride,
                                           int wStride) {
  const char* call = "cudnnSetTensor4dDescriptorEx";
  if (tensorDesc == nullptr) return bad(call, "null descriptor");
  if (!is_type(dataType)) return bad(call, "unknown data type");
  if (std::min({n, c, h, w}) <= 0) return bad(call, fmt::format("extents {}, {}, {}, {}", n, c, h, w));
  if (std::min({nStride, cStride, hStride, wStride}) <= 0)
    return bad(call, fmt::format("strides {}, {}, {}, {}", nStride, cStride, hStride, wStride));
  *tensorDesc = {dataType, n, c, h, w, nStride, cStride, hStride, wStride};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetTensor4dDescriptor(const cudnnTensorDescriptor_t tensorDesc, cudnnDataType_t* dataType,
                                         int* n, int* c, int* h, int* w, int* nStride, int* cStride,
                                         int* hStride, int* wStride) {
  if (tensorDesc == nullptr) return bad("cudnnGetTensor4dDescriptor", "null descriptor");
  *dataType = tensorDesc->type;
  *n = tensorDesc->n;
  *c = tensorDesc->c;
  *h = tensorDesc->h;
  *w = tensorDesc->w;
  *nStride = tensorDesc->n_stride;
  *cStride = tensorDesc->c_stride;
  *hStride = tensorDesc->h_stride;
  *wStride = tensorDesc->w_stride;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* filterDesc) {
  return create("cudnnCreateFilterDescriptor", filterDesc);
}

cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t filterDesc) { return destroy(filterDesc); }

cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t filterDesc, cudnnDataType_t dataType,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  const char* call = "cudnnSetFilter4dDescriptor";
  if (filterDesc == nullptr) return bad(call, "null descriptor");
  if (!is_type(dataType)) return bad(call, "unknown data type");
  if (format != CUDNN_TENSOR_NCHW && format != CUDNN_TENSOR_NHWC) return bad(call, "unknown format");
  if (std::min({k, c, h, w}) <= 0) return bad(call, fmt::format("extents {}, {}, {}, {}", k, c, h, w));
  *filterDesc = {dataType, format, k, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetFilter4dDescriptor(const cudnnFilterDescriptor_t filterDesc, cudnnDataType_t* dataType,
                                         cudnnTensorFormat_t* format, int* k, int* c, int* h, int* w) {
  if (filterDesc == nullptr) return bad("cudnnGetFilter4dDescriptor", "null descriptor");
  *dataType = filterDesc->type;
  *format = filterDesc->format;
  *k = filterDesc->k;
  *c = filterDesc->c;
  *h = filterDesc->h;
  *w = filterDesc->w;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* convDesc) {
  return create("cudnnCreateConvolutionDescriptor", convDesc);
}

cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t convDesc) {
  return destroy(convDesc);
}

cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t convDesc, int pad_h, int pad_w,
                                              int u, int v, int dilation_h, int dilation_w,
                                              cudnnConvolutionMode_t mode, cudnnDataType_t computeType) {
  const char* call = "cudnnSetConvolution2dDescriptor";
  if (convDesc == nullptr) return bad(call, "null descriptor");
  if (std::min(pad_h, pad_w) < 0) return bad(call, fmt::format("padding {}, {}", pad_h, pad_w));
  if (std::min(u, v) <= 0) return bad(call, fmt::format("strides {}, {}", u, v));
  if (std::min(dilation_h, dilation_w) <= 0)
    return bad(call, fmt::format("dilations {}, {}", dilation_h, dilation_w));
  if (mode != CUDNN_CONVOLUTION && mode != CUDNN_CROSS_CORRELATION) return bad(call, "unknown mode");
  if (!is_type(computeType)) return bad(call, "unknown compute type");
  const cudnnMathType_t math = convDesc->math;
  const int groups = convDesc->groups;
  *convDesc = {pad_h, pad_w, u, v, dilation_h, dilation_w, mode, computeType, math, groups};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t convDesc, cudnnMathType_t mathType) {
  if (convDesc == nullptr) return bad("cudnnSetConvolutionMathType", "null descriptor");
  if (!is_math(mathType)) return bad("cudnnSetConvolutionMathType", "unknown math type");
  convDesc->math = mathType;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionMathType(cudnnConvolutionDescriptor_t convDesc, cudnnMathType_t* mathType) {
  if (convDesc == nullptr || mathType == nullptr) return bad("cudnnGetConvolutionMathType", "null argument");
  *mathType = convDesc->math;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t convDesc, int groupCount) {
  if (convDesc == nullptr) return bad("cudnnSetConvolutionGroupCount", "null descriptor");
  if (groupCount < 1) return bad("cudnnSetConvolutionGroupCount", fmt::format("{} groups", groupCount));
  convDesc->groups = groupCount;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionGroupCount(cudnnConvolutionDescriptor_t convDesc, int* groupCount) {
  if (convDesc == nullptr || groupCount == nullptr)
    return bad("cudnnGetConvolutionGroupCount", "null argument");
  *groupCount = convDesc->groups;
  return CUDNN_STATUS_SUCCESS;
}
