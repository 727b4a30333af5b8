// Matrix products by Eigen, and what the build says of itself.

#include <Eigen/Core>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/eigen_backend.h"
#include "core/threads.h"

namespace generous {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const Matrix> matrix(const Tensor& x) { return {x.data<float>().data(), x.size(0), x.size(1)}; }

}  // namespace

void EigenBackend::gemm(const GemmParams& params, const Tensor& a, const Tensor& b, Tensor& c) {
  Eigen::Map<Matrix> out(c.data<float>().data(), c.size(0), c.size(1));
  if (params.beta == 0.0F)
    out.setZero();
  else
    out *= params.beta;
  const auto left = matrix(a);
  const auto right = matrix(b);
  if (params.transpose_a && params.transpose_b)
    out.noalias() += params.alpha * left.transpose() * right.transpose();
  else if (params.transpose_a)
    out.noalias() += params.alpha * left.transpose() * right;
  else if (params.transpose_b)
    out.noalias() += params.alpha * left * right.transpose();
  else
    out.noalias() += params.alpha * left * right;
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
