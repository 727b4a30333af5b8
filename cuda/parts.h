// What the CUDA backend is made of; seen by the files that implement it alone.
#pragma once

#include "cuda/blas.h"
#include "cuda/convolutions.h"
#include "cuda/cuda_backend.h"
#include "cuda/device.h"
#include "cuda/handles.h"
#include "cuda/launch_log.h"
#include "cuda/memory.h"

namespace generous::cuda {

struct CudaBackend::Parts {
  Gpu gpu = choose_gpu();
  std::shared_ptr<CachingAllocator> memory = make_device_allocator();
  std::shared_ptr<CachingAllocator> pool;  ///< of the work that is being recorded; null: none is
  Stream stream = make_stream();
  LaunchLog log{stream.get()};
  Staging staging{stream.get()};
  AlgorithmChoice choice;
  Blas blas{stream.get(), memory};
  Convolutions convolutions{stream.get()};

  bool recording() const { return pool != nullptr; }
};

}  // namespace generous::cuda
