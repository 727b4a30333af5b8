#include "cuda/blas.h"

#include <cublas_v2.h>

#include <limits>
#include <string_view>

#include "cuda/check.h"

namespace generous::cuda {
namespace {

// What NVIDIA recommends for Hopper. A fixed one makes products capturable and their sums the same in every
// run.
constexpr std::size_t workspace_bytes = std::size_t{32} << 20U;

void check(cublasStatus_t status, std::string_view op, std::string_view call) {
  if (status == CUBLAS_STATUS_SUCCESS) [[likely]]
    return;
  cuda::check(cudaPeekAtLastError(), op, call);  // what a kernel did wrong is not put down to this call
  fail("{}: {} failed: {} ({})", op, call, cublasGetStatusName(status), cublasGetStatusString(status));
}

cudaDataType type_of(const Tensor& x) { return x.dtype() == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

cublasOperation_t operation(bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; }

int extent(std::int64_t size) {
  require(size <= std::numeric_limits<int>::max(), "gemm: {} rows or columns are more than cuBLAS takes",
          size);
  return static_cast<int>(size);
}

}  // namespace

struct Blas::Handle {
  cublasHandle_t cublas = nullptr;

  Handle() { check(cublasCreate(&cublas), "cuBLAS", "cublasCreate"); }
  ~Handle() { cublasDestroy(cublas); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
};

Blas::Blas(cudaStream_t stream, const std::shared_ptr<CachingAllocator>& memory)
    : workspace_(memory, workspace_bytes), handle_(std::make_unique<Handle>()) {
  // In this order: a new stream comes with cuBLAS's own workspace.
  check(cublasSetStream(handle_->cublas, stream), "cuBLAS", "cublasSetStream");
  check(cublasSetWorkspace(handle_->cublas, workspace_.block(), workspace_bytes), "cuBLAS",
        "cublasSetWorkspace");
}

Blas::~Blas() = default;

// A row-major matrix is, to cuBLAS, the transpose of a column-major one: c' = op(b)' op(a)' is asked for, so
// b comes first, and the leading dimension of each is its number of columns.
void Blas::gemm(const GemmParams& params, bool tf32, const Tensor& a, const Tensor& b, Tensor& c) {
  const int inner = extent(a.size(params.transpose_a ? -2 : -1));
  const auto compute = tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  const cublasOperation_t op_a = operation(params.transpose_a);
  const cublasOperation_t op_b = operation(params.transpose_b);
  const int rows = extent(c.size(-2));
  const int columns = extent(c.size(-1));
  if (c.shape().rank() == 2)
    return check(cublasGemmEx(handle_->cublas, op_b, op_a, columns, rows, inner, &params.alpha, b.raw(),
                              type_of(b), extent(b.size(-1)), a.raw(), type_of(a), extent(a.size(-1)),
                              &params.beta, c.raw(), type_of(c), columns, compute, CUBLAS_GEMM_DEFAULT),
                 "gemm", "cublasGemmEx");
  const auto elements = [](const Tensor& x) { return static_cast<long long>(x.size(-2) * x.size(-1)); };
  check(cublasGemmStridedBatchedEx(handle_->cublas, op_b, op_a, columns, rows, inner, &params.alpha, b.raw(),
                                   type_of(b), extent(b.size(-1)), elements(b), a.raw(), type_of(a),
                                   extent(a.size(-1)), elements(a), &params.beta, c.raw(), type_of(c),
                                   columns, elements(c), extent(c.size(0)), compute, CUBLAS_GEMM_DEFAULT),
        "gemm", "cublasGemmStridedBatchedEx");
}

}  // namespace generous::cuda
