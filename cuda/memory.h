// GPU memory and the copies between it and the host.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "core/allocator.h"
#include "cuda/handles.h"

namespace generous::cuda {

/// An allocator of GPU memory for tensors of one stream: as everything that reads or writes them is in the
/// order of that stream, a block that the host frees can be handed out at once, though kernels that use it
/// may still wait.
std::shared_ptr<CachingAllocator> make_device_allocator();

/// Copies between a stream's tensors and ordinary host memory, through a ring of pinned buffers. To the GPU
/// they run behind the caller's back: `host` may change as soon as the call returns.
class Staging {
 public:
  explicit Staging(cudaStream_t stream);
  /// Waits only where the ring is full of copies that have not run yet.
  void to_device(std::string_view op, const void* host, void* device, std::size_t bytes);
  /// Waits for everything on the stream.
  void to_host(std::string_view op, const void* device, void* host, std::size_t bytes);

  static constexpr std::size_t buffer_bytes = std::size_t{1} << 20U;
  static constexpr std::size_t buffer_count = 16;

 private:
  struct Buffer {
    PinnedMemory memory;
    Event copied;  ///< recorded behind the last copy from this buffer
  };

  /// The buffer that was used longest ago, once it is free.
  Buffer& next(std::string_view op);

  cudaStream_t stream_;
  std::vector<Buffer> ring_;
  std::size_t used_ = 0;
};

}  // namespace generous::cuda
