// For the files that call cuDNN: checks of its statuses, owners of its descriptors.
#pragma once

#include <cudnn.h>

#include <memory>
#include <string_view>
#include <type_traits>

#include "core/error.h"
#include "cuda/check.h"
#include "cuda/handles.h"

namespace generous::cuda {

/// As for CUDA's own statuses.
inline void check(cudnnStatus_t status, std::string_view op, std::string_view call) {
  if (status == CUDNN_STATUS_SUCCESS) [[likely]]
    return;
  check(cudaPeekAtLastError(), op, call);  // what a kernel did wrong is not put down to this call
  fail("{}: {} failed: {}", op, call, cudnnGetErrorString(status));
}

using LibraryHandle = Owner<cudnnHandle_t, cudnnDestroy>;
using ImagesDescriptor = Owner<cudnnTensorDescriptor_t, cudnnDestroyTensorDescriptor>;
using FilterDescriptor = Owner<cudnnFilterDescriptor_t, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor = Owner<cudnnConvolutionDescriptor_t, cudnnDestroyConvolutionDescriptor>;

/// make<ImagesDescriptor>(cudnnCreateTensorDescriptor)
template <class Owner, class Create>
Owner make(Create* create) {
  typename Owner::pointer handle = nullptr;
  check(create(&handle), "cuDNN", "cudnnCreate...");
  return Owner(handle);
}

}  // namespace generous::cuda
