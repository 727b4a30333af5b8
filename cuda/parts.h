// What the CUDA backend is made of; seen by the files that implement it alone.
#pragma once

#include <map>

#include "cuda/blas.h"
#include "cuda/convolutions.h"
#include "cuda/cuda_backend.h"
#include "cuda/device.h"
#include "cuda/handles.h"
#include "cuda/memory.h"
#include "cuda/overlap.h"
#include "cuda/shadows.h"

namespace generous::cuda {

/// Of 16 bits for 2048 channels.
constexpr std::size_t bytes_of_zeros = std::size_t{1} << 12U;

struct CudaBackend::Parts {
  Gpu gpu;
  std::shared_ptr<CachingAllocator> memory = make_device_allocator();
  std::shared_ptr<CachingAllocator> pool;  ///< of the work that is being recorded; null: none is
  std::int64_t recordings = 0;             ///< so far
  Stream stream = make_stream();
  Staging staging{stream.get()};
  Storage tickets{memory, most_tickets * sizeof(unsigned)};  ///< zeros: see CudaBackend::tickets
  Storage zeros{memory, bytes_of_zeros};                 ///< for the library to add where there is no bias
  std::map<const void*, std::int64_t> blocks_at_once{};  ///< by kernel, of this GPU
  Shadows shadows;
  AlgorithmChoice choice;
  Blas blas{stream.get(), memory};
  Convolutions convolutions{stream.get()};
  bool overlap;  ///< of kernels: overlap.h

  Parts(CudaBackend& backend, int number);
  bool recording() const { return pool != nullptr; }
  /// Where work goes: the number of the recording, from 1, or 0 outside.
  std::int64_t place() const { return recording() ? recordings : 0; }
};

}  // namespace generous::cuda
