// Matrix products by cuBLAS, for row-major matrices.
#pragma once

#include <cuda_runtime.h>

#include <memory>

#include "core/params.h"

namespace generous::cuda {

class Blas {
 public:
  /// Products go on `stream`, with a workspace from `memory`.
  Blas(cudaStream_t stream, const std::shared_ptr<CachingAllocator>& memory);
  ~Blas();
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  /// c = alpha op(a) op(b) + beta c, as Backend::gemm (batches included), with no extent of 0; a and b of f32
  /// or both of bf16, c of f32 or of their type. The sums are f32's; with `tf32`, f32 factors are rounded to
  /// 10 mantissa bits.
  void gemm(const GemmParams& params, bool tf32, const Tensor& a, const Tensor& b, Tensor& c);

 private:
  struct Handle;
  Storage workspace_;
  std::unique_ptr<Handle> handle_;
};

}  // namespace generous::cuda
