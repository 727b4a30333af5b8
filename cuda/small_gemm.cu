// Small matrix products in f32, such as a classifier's: the library's kernels are made for large ones, and
// the one that it picks can take twenty times as long as this. A warp takes 32 neighbouring elements of a row
// of c, a block eight warps that share the inner extent.

#include "cuda/begin_kernel.h"
#include "cuda/cuda_backend.h"

namespace generous::cuda {
namespace {

constexpr int lanes = 32;
constexpr int warps = 8;

/// A row-major matrix, or its transpose, as one: element (i, j) lies at i * down + j * right.
struct Matrix {
  const float* elements;
  std::int64_t down, right;

  __device__ float operator()(std::int64_t i, std::int64_t j) const { return elements[i * down + j * right]; }
};

Matrix matrix_of(const Tensor& x, bool transposed) {
  const std::int64_t columns = x.size(1);
  return {.elements = data_of<const float>(x),
          .down = transposed ? 1 : columns,
          .right = transposed ? columns : 1};
}

/// c {rows, columns} = alpha a {rows, inner} b {inner, columns} + beta c
__global__ void __launch_bounds__(warps* lanes)
    small_gemm_kernel(std::int64_t columns, std::int64_t inner, float alpha, float beta, Matrix a, Matrix b,
                      float* __restrict__ c) {
  begin_kernel();
  __shared__ float sums[warps][lanes];
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const int warp = static_cast<int>(threadIdx.x) / lanes;
  const std::int64_t tiles = (columns + lanes - 1) / lanes;
  const std::int64_t row = blockIdx.x / tiles;
  const std::int64_t column = blockIdx.x % tiles * lanes + lane;
  float sum = 0.0F;
  if (column < columns)
    for (std::int64_t k = warp; k < inner; k += warps) sum += a(row, k) * b(k, column);
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || column >= columns) return;
  for (int other = 1; other < warps; ++other) sum += sums[other][lane];
  float& result = c[row * columns + column];
  result = alpha * sum + (beta == 0.0F ? 0.0F : beta * result);
}

}  // namespace

bool CudaBackend::is_small_gemm(const Tensor& a, const Tensor& b, const Tensor& c, std::int64_t inner) {
  constexpr std::int64_t most_products = std::int64_t{1} << 20U;
  constexpr std::int64_t longest_sum = 256;  // beyond it the library is faster
  return a.dtype() == DType::f32 && b.dtype() == DType::f32 && c.dtype() == DType::f32 &&
         c.shape().rank() == 2 && inner <= longest_sum && c.numel() <= most_products / inner;
}

void CudaBackend::small_gemm(const GemmParams& params, const Tensor& a, const Tensor& b, Tensor& c) {
  const std::int64_t tiles = (c.size(1) + lanes - 1) / lanes;
  run("gemm", {.blocks = c.size(0) * tiles, .threads = warps * lanes}, small_gemm_kernel, c.size(1),
      a.size(params.transpose_a ? 0 : 1), params.alpha, params.beta, matrix_of(a, params.transpose_a),
      matrix_of(b, params.transpose_b), c);
}

}  // namespace generous::cuda
