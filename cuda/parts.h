// What the CUDA backend is made of; seen by the files that implement it alone.
#pragma once

#include <map>

#include "cuda/blas.h"
#include "cuda/convolutions.h"
#include "cuda/cuda_backend.h"
#include "cuda/device.h"
#include "cuda/handles.h"
#include "cuda/memory.h"
#include "cuda/shadows.h"

namespace generous::cuda {

struct CudaBackend::Parts {
  Gpu gpu = choose_gpu();
  std::shared_ptr<CachingAllocator> memory = make_device_allocator();
  std::shared_ptr<CachingAllocator> pool;  ///< of the work that is being recorded; null: none is
  Stream stream = make_stream();
  Staging staging{stream.get()};
  Storage tickets{memory, most_tickets * sizeof(unsigned)};  ///< zeros: see CudaBackend::tickets
  std::map<const void*, std::int64_t> blocks_at_once{};      ///< by kernel, of this GPU
  Shadows shadows;
  AlgorithmChoice choice;
  Blas blas{stream.get(), memory};
  Convolutions convolutions{stream.get()};

  explicit Parts(CudaBackend& backend);
  bool recording() const { return pool != nullptr; }
};

}  // namespace generous::cuda
