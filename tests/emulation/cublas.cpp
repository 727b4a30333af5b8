// cuBLAS for a machine without a GPU: matrix products with the documented meaning of their arguments,
// enqueued on the stream of the handle.
#include <cublas_v2.h>

#include <algorithm>
#include <cstdint>

#include "libraries.h"
#include "library_arithmetic.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
  void* workspace = nullptr;  ///< the caller's; without one the library has its own
  std::size_t workspace_bytes = 0;
};

namespace generous::emulation {
namespace {

/// A product uses no more of a workspace than this.
constexpr std::size_t most_workspace = std::size_t{1} << 16;

/// A matrix of the caller's, column-major: element (i, j) is at i + j * leading.
struct Matrix {
  const void* data;
  cudaDataType type;
  std::int64_t leading;
  bool transposed;
};

bool is_operation(cublasOperation_t op) {
  return op == CUBLAS_OP_N || op == CUBLAS_OP_T || op == CUBLAS_OP_C;
}

Element element_of(cudaDataType type) { return type == CUDA_R_16BF ? Element::bf16 : Element::f32; }

/// The columns of the matrix (or of its transpose), or its rows: `count` of them with `length` elements each.
Layout4d lines_of(std::int64_t leading, bool columns, std::int64_t count, std::int64_t length) {
  return {.extents = {1, 1, count, length}, .strides = {0, 0, columns ? leading : 1, columns ? 1 : leading}};
}

/// The types that the documentation lists for a compute type with f32 factors alpha and beta.
bool is_supported(cudaDataType a, cudaDataType b, cudaDataType c, cublasComputeType_t compute) {
  if (a != b) return false;
  const bool all_f32 = a == CUDA_R_32F && c == CUDA_R_32F;
  if (compute == CUBLAS_COMPUTE_32F_FAST_TF32) return all_f32;
  if (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_PEDANTIC) return false;
  return all_f32 || (a == CUDA_R_16BF && (c == CUDA_R_16BF || c == CUDA_R_32F));
}

/// C {m, n} = alpha * A {m, k} * B {k, n} + beta * C. Runs as device work.
void multiply(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const Matrix& a, const Matrix& b,
              float beta, void* c, cudaDataType c_type, std::int64_t c_leading, bool tf32) {
  std::vector<float> product(static_cast<std::size_t>(m * n));
  if (alpha != 0.0F && k > 0) {
    const std::vector<float> columns_of_a =
        load(a.data, element_of(a.type), lines_of(a.leading, !a.transposed, k, m), tf32);
    const std::vector<float> columns_of_b =
        load(b.data, element_of(b.type), lines_of(b.leading, !b.transposed, n, k), tf32);
    constexpr std::int64_t depth = 256;  // summed by itself, so that errors do not grow with all of k
    for (std::int64_t l = 0; l < k; l += depth)
      for (std::int64_t j = 0; j < n; ++j)
        add_products(std::min(depth, k - l), {columns_of_b.data() + j * k + l, 1},
                     columns_of_a.data() + l * m, m, m, product.data() + j * m);
  }
  store(product, alpha, beta, c, element_of(c_type), lines_of(c_leading, true, n, m));
}

cublasStatus_t gemm(cublasContext& handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n,
                    int k, const float* alpha, const Matrix& a, const Matrix& b, const float* beta, void* c,
                    cudaDataType c_type, int c_leading, bool tf32) {
  if (!is_operation(op_a) || !is_operation(op_b)) return CUBLAS_STATUS_INVALID_VALUE;
  if (m < 0 || n < 0 || k < 0) return CUBLAS_STATUS_INVALID_VALUE;
  if (a.leading < std::max(1, op_a == CUBLAS_OP_N ? m : k)) return CUBLAS_STATUS_INVALID_VALUE;
  if (b.leading < std::max(1, op_b == CUBLAS_OP_N ? k : n)) return CUBLAS_STATUS_INVALID_VALUE;
  if (c_leading < std::max(1, m)) return CUBLAS_STATUS_INVALID_VALUE;
  if (alpha == nullptr || beta == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  if (m == 0 || n == 0) return CUBLAS_STATUS_SUCCESS;
  const bool reads_factors = k > 0 && *alpha != 0.0F;
  if (c == nullptr || (reads_factors && (a.data == nullptr || b.data == nullptr)))
    return CUBLAS_STATUS_INVALID_VALUE;

  const bool accepted = submit(handle.stream, "cublas gemm",
                               [=, factor = *alpha, kept = *beta, workspace = handle.workspace,
                                workspace_bytes = std::min(handle.workspace_bytes, most_workspace)] {
                                 poison(workspace, workspace_bytes);
                                 multiply(m, n, k, factor, a, b, kept, c, c_type, c_leading, tf32);
                                 poison(workspace, workspace_bytes);
                               });
  return accepted ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace
}  // namespace generous::emulation

using namespace generous::emulation;

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  if (handle == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  if (const int status = planned_failure("cublasCreate")) return static_cast<cublasStatus_t>(status);
  if (!has_device()) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  cudaDeviceSynchronize();  // an error of earlier work stays for whoever asks next
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion_v2(cublasHandle_t handle, int* version) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (version == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *version = CUBLAS_VERSION;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, size_t workspaceSizeInBytes) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (reinterpret_cast<std::uintptr_t>(workspace) % 256 != 0) return CUBLAS_STATUS_INVALID_VALUE;
  if (workspace == nullptr && workspaceSizeInBytes != 0) return CUBLAS_STATUS_INVALID_VALUE;
  handle->workspace = workspace;
  handle->workspace_bytes = workspaceSizeInBytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t streamId) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->stream = streamId;
  handle->workspace = nullptr;  // as documented: a new stream goes back to the library's own workspace
  handle->workspace_bytes = 0;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetStream_v2(cublasHandle_t handle, cudaStream_t* streamId) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (streamId == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *streamId = handle->stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetMathMode(cublasHandle_t handle, cublasMath_t* mode) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (mode == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *mode = handle->math;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const int without_flag = mode & ~CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
  if (without_flag != CUBLAS_DEFAULT_MATH && without_flag != CUBLAS_PEDANTIC_MATH &&
      without_flag != CUBLAS_TF32_TENSOR_OP_MATH)
    return CUBLAS_STATUS_INVALID_VALUE;
  handle->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}

namespace {

bool allows_tf32(cublasMath_t mode) {
  return (mode & ~CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION) == CUBLAS_TF32_TENSOR_OP_MATH;
}

}  // namespace

cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                              int m, int n, int k, const float* alpha, const float* A, int lda,
                              const float* B, int ldb, const float* beta, float* C, int ldc) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (const int status = planned_failure("cublasSgemm")) return static_cast<cublasStatus_t>(status);
  return gemm(*handle, transa, transb, m, n, k, alpha, {A, CUDA_R_32F, lda, transa != CUBLAS_OP_N},
              {B, CUDA_R_32F, ldb, transb != CUBLAS_OP_N}, beta, C, CUDA_R_32F, ldc,
              allows_tf32(handle->math));
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m,
                            int n, int k, const void* alpha, const void* A, cudaDataType Atype, int lda,
                            const void* B, cudaDataType Btype, int ldb, const void* beta, void* C,
                            cudaDataType Ctype, int ldc, cublasComputeType_t computeType,
                            cublasGemmAlgo_t algo) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (const int status = planned_failure("cublasGemmEx")) return static_cast<cublasStatus_t>(status);
  if (algo != CUBLAS_GEMM_DEFAULT && algo != CUBLAS_GEMM_DEFAULT_TENSOR_OP)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (!is_supported(Atype, Btype, Ctype, computeType)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool tf32 = Atype == CUDA_R_32F && (computeType == CUBLAS_COMPUTE_32F_FAST_TF32 ||
                                            (computeType == CUBLAS_COMPUTE_32F && allows_tf32(handle->math)));
  return gemm(*handle, transa, transb, m, n, k, static_cast<const float*>(alpha),
              {A, Atype, lda, transa != CUBLAS_OP_N}, {B, Btype, ldb, transb != CUBLAS_OP_N},
              static_cast<const float*>(beta), C, Ctype, ldc, tf32);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa,
                                          cublasOperation_t transb, int m, int n, int k, const void* alpha,
                                          const void* A, cudaDataType Atype, int lda, long long strideA,
                                          const void* B, cudaDataType Btype, int ldb, long long strideB,
                                          const void* beta, void* C, cudaDataType Ctype, int ldc,
                                          long long strideC, int batchCount, cublasComputeType_t computeType,
                                          cublasGemmAlgo_t algo) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (const int status = planned_failure("cublasGemmStridedBatchedEx"))
    return static_cast<cublasStatus_t>(status);
  if (batchCount < 0) return CUBLAS_STATUS_INVALID_VALUE;
  const auto bytes = [](cudaDataType type) { return type == CUDA_R_16BF ? 2LL : 4LL; };
  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
  for (long long i = 0; i < batchCount && status == CUBLAS_STATUS_SUCCESS; ++i)
    status = cublasGemmEx(handle, transa, transb, m, n, k, alpha,
                          static_cast<const char*>(A) + i * strideA * bytes(Atype), Atype, lda,
                          static_cast<const char*>(B) + i * strideB * bytes(Btype), Btype, ldb, beta,
                          static_cast<char*>(C) + i * strideC * bytes(Ctype), Ctype, ldc, computeType, algo);
  return status;
}

const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_MAPPING_ERROR:
      return "CUBLAS_STATUS_MAPPING_ERROR";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_LICENSE_ERROR:
      return "CUBLAS_STATUS_LICENSE_ERROR";
  }
  return "<unknown>";
}

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "no handle, or no device to make one for";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "an argument is out of its range";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "no such combination of types";
    default:
      return "the library failed";
  }
}
