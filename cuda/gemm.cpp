#include "cuda/cuda_backend.h"
#include "cuda/parts.h"

namespace generous::cuda {

void CudaBackend::gemm(const GemmParams& params, const Tensor& a, const Tensor& b, Tensor& c) {
  if (c.numel() == 0) return;
  if (a.numel() == 0) {  // sums of nothing
    if (params.beta == 0.0F)
      fill(c, 0.0);
    else
      affine(c, params.beta, 0.0F, c);
    return;
  }
  if (is_small_gemm(a, b, c, a.size(params.transpose_a ? -2 : -1))) return small_gemm(params, a, b, c);
  const bool tf32 = parts_->choice.tf32 && a.dtype() == DType::f32;
  written(c);
  parts_->blas.gemm(params, tf32, a, b, c);
  launched("gemm");
}

}  // namespace generous::cuda
