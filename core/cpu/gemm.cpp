// Matrix products by Eigen, and what the build says of itself.

#include <Eigen/Core>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/eigen_backend.h"
#include "core/threads.h"

namespace generous {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Number `i` of x {rows, columns} or {B, rows, columns}.
Eigen::Map<const Matrix> matrix(const Tensor& x, std::int64_t i) {
  return {x.data<float>().data() + i * x.size(-2) * x.size(-1), x.size(-2), x.size(-1)};
}

/// out = alpha op(left) op(right) + beta out
void multiply(const GemmParams& params, const Eigen::Map<const Matrix>& left,
              const Eigen::Map<const Matrix>& right, Eigen::Map<Matrix> out) {
  if (params.beta == 0.0F)
    out.setZero();
  else
    out *= params.beta;
  if (params.transpose_a && params.transpose_b)
    out.noalias() += params.alpha * left.transpose() * right.transpose();
  else if (params.transpose_a)
    out.noalias() += params.alpha * left.transpose() * right;
  else if (params.transpose_b)
    out.noalias() += params.alpha * left * right.transpose();
  else
    out.noalias() += params.alpha * left * right;
}

}  // namespace

void EigenBackend::gemm(const GemmParams& params, const Tensor& a, const Tensor& b, Tensor& c) {
  const std::int64_t rows = c.size(-2);
  const std::int64_t columns = c.size(-1);
  const std::int64_t count = c.shape().rank() == 3 ? c.size(0) : 1;
  for (std::int64_t i = 0; i < count; ++i)
    multiply(params, matrix(a, i), matrix(b, i),
             Eigen::Map<Matrix>(c.data<float>().data() + i * rows * columns, rows, columns));
}

std::string cpu_description() {
#if defined(__AVX512F__)
  const char* instructions = "AVX-512";
#elif defined(__AVX2__)
  const char* instructions = "AVX2";
#elif defined(__ARM_NEON)
  const char* instructions = "NEON";
#else
  const char* instructions = "baseline instructions";
#endif
  const int threads = settle_threads();
  return fmt::format("{}, {} thread{}", instructions, threads, threads == 1 ? "" : "s");
}

std::string EigenBackend::description() const { return fmt::format("CPU (Eigen, {})", cpu_description()); }

std::string EigenBackend::why_no_bf16() const {
  return "it needs oneDNN's convolutions, and this build is without oneDNN";
}

std::unique_ptr<Backend> make_eigen_backend() { return std::make_unique<EigenBackend>(); }

#ifndef GENEROUS_WITH_ONEDNN
std::unique_ptr<Backend> make_onednn_backend() { return nullptr; }
#endif

std::unique_ptr<Backend> make_cpu_backend() {
  auto fastest = make_onednn_backend();
  return fastest != nullptr ? std::move(fastest) : make_eigen_backend();
}

}  // namespace generous
