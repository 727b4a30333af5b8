// Owners of what the CUDA runtime hands out.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <string_view>
#include <type_traits>

#include "cuda/check.h"

namespace generous::cuda {

/// Gives a handle back. A failure is not reported: whatever went wrong on the GPU before shows in these calls
/// as well, and at the end of the program the driver may be gone already.
template <auto destroy>
struct Destroy {
  template <class T>
  void operator()(T* handle) const {
    destroy(handle);
  }
};

template <class Handle, auto destroy>
using Owner = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<destroy>>;

using Stream = Owner<cudaStream_t, cudaStreamDestroy>;
using Event = Owner<cudaEvent_t, cudaEventDestroy>;
using Graph = Owner<cudaGraph_t, cudaGraphDestroy>;
using ExecutableGraph = Owner<cudaGraphExec_t, cudaGraphExecDestroy>;
/// Host memory that the GPU reads and writes by itself.
using PinnedMemory = Owner<void*, cudaFreeHost>;

/// A stream that does not wait for the default stream.
inline Stream make_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "CUDA", "cudaStreamCreateWithFlags");
  return Stream(stream);
}

/// An event that only orders, or, with cudaEventDefault, one that knows when it was as well.
inline Event make_event(unsigned flags = cudaEventDisableTiming) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, flags), "CUDA", "cudaEventCreateWithFlags");
  return Event(event);
}

inline PinnedMemory pinned_memory(std::string_view purpose, std::size_t bytes) {
  void* memory = nullptr;
  check(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), purpose, "cudaHostAlloc");
  return PinnedMemory(memory);
}

}  // namespace generous::cuda
