// The emulated cuBLAS: column-major products against plain sums in double, and every documented refusal.

#include <cublas_v2.h>

#include <cmath>
#include <string>

#include "tests/emulation/libraries_checks.h"

namespace generous {
namespace {

using testing::DeviceArray;
using testing::scattered;
using testing::Stream;

using Handle = testing::Owned<cublasHandle_t, cublasCreate, cublasDestroy>;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

/// C {m, n} = alpha * op(A) {m, k} * op(B) {k, n} + beta * C, with leading dimensions.
struct Product {
  cublasOperation_t op_a = CUBLAS_OP_N, op_b = CUBLAS_OP_N;
  int m = 5, n = 7, k = 11;
  int lda = 13, ldb = 17, ldc = 6;
  float alpha = 1.0F, beta = 0.0F;
  DType in = DType::f32, out = DType::f32;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;

  std::size_t size_a() const { return static_cast<std::size_t>(lda * (op_a == CUBLAS_OP_N ? k : m)); }
  std::size_t size_b() const { return static_cast<std::size_t>(ldb * (op_b == CUBLAS_OP_N ? n : k)); }
  std::size_t size_c() const { return static_cast<std::size_t>(ldc * n); }
};

cudaDataType type_of(DType dtype) { return dtype == DType::f32 ? CUDA_R_32F : CUDA_R_16BF; }

cublasStatus_t run(cublasHandle_t handle, const Product& p, const DeviceArray& a, const DeviceArray& b,
                   DeviceArray& c) {
  return cublasGemmEx(handle, p.op_a, p.op_b, p.m, p.n, p.k, &p.alpha, a.data(), type_of(p.in), p.lda,
                      b.data(), type_of(p.in), p.ldb, &p.beta, c.data(), type_of(p.out), p.ldc, p.compute,
                      CUBLAS_GEMM_DEFAULT);
}

/// The product of two numbers' leading element alone: what precision the factors were taken with.
float product_of(cublasHandle_t handle, float x, float y, cublasComputeType_t compute) {
  const DeviceArray a({x}), b({y});
  DeviceArray c = DeviceArray::of_nan(1);
  const Product one{.m = 1, .n = 1, .k = 1, .lda = 1, .ldb = 1, .ldc = 1, .compute = compute};
  REQUIRE(run(handle, one, a, b, c) == CUBLAS_STATUS_SUCCESS);
  return c.read()[0];
}

TEST_CASE("a product worked out by hand, column-major") {
  const Handle handle;
  // A = | 1 2 3 |   B = |  7  8 |   A B = |  58  64 |
  //     | 4 5 6 |       |  9 10 |         | 139 154 |
  //                     | 11 12 |
  const DeviceArray a({1, 4, nan, 2, 5, nan, 3, 6, nan}), b({7, 9, 11, nan, 8, 10, 12, nan});
  DeviceArray c({1, 2, 90, 91, 92, 3, 4, 93, 94, 95});
  const float alpha = 2.0F, beta = -1.0F;
  REQUIRE(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 3, &alpha, a.floats(), 3, b.floats(), 4, &beta,
                      c.floats(), 5) == CUBLAS_STATUS_SUCCESS);
  CHECK(c.read() == std::vector<float>{115, 276, 90, 91, 92, 125, 304, 93, 94, 95});
}

TEST_CASE("every transpose and every type, with leading dimensions larger than the extents") {
  const Handle handle;
  struct Types {
    DType in, out;
  };
  for (const Types types :
       {Types{DType::f32, DType::f32}, Types{DType::bf16, DType::bf16}, Types{DType::bf16, DType::f32}})
    for (const cublasOperation_t op_a : {CUBLAS_OP_N, CUBLAS_OP_T})
      for (const cublasOperation_t op_b : {CUBLAS_OP_N, CUBLAS_OP_T})
        for (const cublasComputeType_t compute : {CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_PEDANTIC}) {
          CAPTURE(name_of(types.in));
          CAPTURE(name_of(types.out));
          CAPTURE(static_cast<int>(op_a));
          CAPTURE(static_cast<int>(op_b));
          const Product p{.op_a = op_a,
                          .op_b = op_b,
                          .m = 37,
                          .n = 7,
                          .k = 11,
                          .lda = 41,
                          .ldb = 17,
                          .ldc = 39,
                          .alpha = 0.75F,
                          .beta = 0.5F,
                          .in = types.in,
                          .out = types.out,
                          .compute = compute};
          // 7 bits fit both types
          const std::vector<float> a = scattered(p.size_a(), 1, 7), b = scattered(p.size_b(), 2, 7),
                                   c = scattered(p.size_c(), 3, 7);
          const DeviceArray device_a(a, p.in), device_b(b, p.in);
          DeviceArray device_c(c, p.out);
          REQUIRE(run(handle, p, device_a, device_b, device_c) == CUBLAS_STATUS_SUCCESS);
          const std::vector<float> result = device_c.read();
          for (int j = 0; j < p.n; ++j)
            for (int i = 0; i < p.ldc; ++i) {
              const auto at = static_cast<std::size_t>(i + j * p.ldc);
              if (i >= p.m) {
                CHECK(result[at] == c[at]);
                continue;
              }
              double sum = 0;
              for (int l = 0; l < p.k; ++l)
                sum += static_cast<double>(
                           a[static_cast<std::size_t>(op_a == CUBLAS_OP_N ? i + l * p.lda : l + i * p.lda)]) *
                       b[static_cast<std::size_t>(op_b == CUBLAS_OP_N ? l + j * p.ldb : j + l * p.ldb)];
              const double expected = 0.75 * sum + 0.5 * c[at];
              CHECK(std::abs(result[at] - expected) <=
                    (p.out == DType::f32 ? 1e-5 : 1.0 / 256 * std::abs(expected)));
            }
        }
}

TEST_CASE("bf16 results are rounded to nearest, halves to even") {
  const Handle handle;
  const Product one{
      .m = 1, .n = 1, .k = 1, .lda = 1, .ldb = 1, .ldc = 1, .in = DType::bf16, .out = DType::bf16};
  const auto product = [&](float alpha) {
    const DeviceArray factor({1.0F}, DType::bf16);
    DeviceArray c = DeviceArray::of_nan(1, DType::bf16);
    Product scaled = one;
    scaled.alpha = alpha;
    REQUIRE(run(handle, scaled, factor, factor, c) == CUBLAS_STATUS_SUCCESS);
    return c.read()[0];
  };
  CHECK(product(1 + 0x1p-8F) == 1);
  CHECK(product(1 + 0x1.01p-8F) == 1 + 0x1p-7F);
  CHECK(product(1 + 0x3p-8F) == 1 + 0x1p-6F);
  CHECK(product(-1 - 0x3p-8F) == -1 - 0x1p-6F);
  CHECK(std::isnan(product(nan)));
}

TEST_CASE("long sums keep their precision") {
  const Handle handle;
  const int k = 100'000;
  const Product p{.m = 1, .n = 1, .k = k, .lda = 1, .ldb = k, .ldc = 1};
  const DeviceArray a(std::vector<float>(k, 0.1F)), b(std::vector<float>(k, 1.0F));
  DeviceArray c = DeviceArray::of_nan(1);
  REQUIRE(run(handle, p, a, b, c) == CUBLAS_STATUS_SUCCESS);
  CHECK(c.read()[0] == doctest::Approx(10'000).epsilon(1e-5));
}

TEST_CASE("what a factor of zero leaves unread") {
  const Handle handle;
  const Product p{.m = 2, .n = 3, .k = 4, .lda = 4, .ldb = 4, .ldc = 2};
  const DeviceArray a = DeviceArray::of_nan(p.size_a());
  const DeviceArray b = DeviceArray::of_nan(p.size_b());
  const DeviceArray ones(std::vector<float>(16, 1.0F));
  DeviceArray c = DeviceArray::of_nan(p.size_c());
  SUBCASE("beta: C") {
    REQUIRE(run(handle, p, ones, ones, c) == CUBLAS_STATUS_SUCCESS);
    CHECK(c.read() == std::vector<float>(6, 4.0F));
  }
  SUBCASE("alpha: A and B") {
    Product scaled = p;
    scaled.alpha = 0;
    REQUIRE(run(handle, scaled, a, b, c) == CUBLAS_STATUS_SUCCESS);
    CHECK(c.read() == std::vector<float>(6, 0.0F));
  }
  SUBCASE("k: A and B, and C is scaled") {
    Product empty = p;
    empty.k = 0;
    empty.beta = 3;
    DeviceArray twos(std::vector<float>(6, 2.0F));
    REQUIRE(run(handle, empty, a, b, twos) == CUBLAS_STATUS_SUCCESS);
    CHECK(twos.read() == std::vector<float>(6, 6.0F));
  }
  SUBCASE("m: everything") {
    Product empty = p;
    empty.m = 0;
    REQUIRE(run(handle, empty, a, b, c) == CUBLAS_STATUS_SUCCESS);
    CHECK(std::isnan(c.read()[0]));
  }
}

TEST_CASE("TF32 rounds the factors to 10 bits of mantissa where it is asked for, and only there") {
  const Handle handle;
  const float x = 1.0F + 0x1p-11F + 0x1p-20F;  // above the middle of two neighbours of 10 bits
  CHECK(product_of(handle, x, 1.0F, CUBLAS_COMPUTE_32F) == x);
  CHECK(product_of(handle, x, 1.0F, CUBLAS_COMPUTE_32F_FAST_TF32) == 1.0F + 0x1p-10F);
  CHECK(product_of(handle, 1.0F, -x, CUBLAS_COMPUTE_32F_FAST_TF32) == -1.0F - 0x1p-10F);
  CHECK(product_of(handle, 1.0F + 0x1p-12F, 1.0F, CUBLAS_COMPUTE_32F_FAST_TF32) == 1.0F);
  REQUIRE(cublasSetMathMode(handle, CUBLAS_TF32_TENSOR_OP_MATH) == CUBLAS_STATUS_SUCCESS);
  cublasMath_t mode = CUBLAS_DEFAULT_MATH;
  REQUIRE(cublasGetMathMode(handle, &mode) == CUBLAS_STATUS_SUCCESS);
  CHECK(mode == CUBLAS_TF32_TENSOR_OP_MATH);
  CHECK(product_of(handle, x, 1.0F, CUBLAS_COMPUTE_32F) == 1.0F + 0x1p-10F);
  CHECK(product_of(handle, x, 1.0F, CUBLAS_COMPUTE_32F_PEDANTIC) == x);
  const DeviceArray a({x}), b({1.0F});
  DeviceArray c = DeviceArray::of_nan(1);
  const float alpha = 1, beta = 0;
  REQUIRE(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &alpha, a.floats(), 1, b.floats(), 1, &beta,
                      c.floats(), 1) == CUBLAS_STATUS_SUCCESS);
  CHECK(c.read()[0] == 1.0F + 0x1p-10F);
  REQUIRE(cublasSetMathMode(handle, CUBLAS_PEDANTIC_MATH) == CUBLAS_STATUS_SUCCESS);
  CHECK(product_of(handle, x, 1.0F, CUBLAS_COMPUTE_32F) == x);
}

TEST_CASE("alpha and beta are read at the call, the matrices when the stream gets there") {
  const Stream stream;
  const Handle handle;
  REQUIRE(cublasSetStream(handle, stream) == CUBLAS_STATUS_SUCCESS);
  const DeviceArray a({3.0F}), b({5.0F});
  DeviceArray first = DeviceArray::of_nan(1);
  DeviceArray second = DeviceArray::of_nan(1);
  float alpha = 1, beta = 0;
  REQUIRE(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &alpha, a.floats(), 1, b.floats(), 1, &beta,
                      first.floats(), 1) == CUBLAS_STATUS_SUCCESS);
  alpha = 100;
  beta = 100;
  Product p{.m = 1, .n = 1, .k = 1, .lda = 1, .ldb = 1, .ldc = 1};
  REQUIRE(run(handle, p, first, b, second) == CUBLAS_STATUS_SUCCESS);
  CHECK(second.read()[0] == 75.0F);
}

TEST_CASE("a workspace of the caller's is written over, until the stream is set again") {
  const Handle handle;
  DeviceArray workspace(std::vector<float>(64, 1.0F));
  REQUIRE(cublasSetWorkspace(handle, workspace.data(), workspace.bytes()) == CUBLAS_STATUS_SUCCESS);
  CHECK(product_of(handle, 2, 3, CUBLAS_COMPUTE_32F) == 6.0F);
  for (const float value : workspace.read()) CHECK(std::isnan(value));
  const DeviceArray other(std::vector<float>(64, 1.0F));
  REQUIRE(cublasSetWorkspace(handle, other.data(), other.bytes()) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(cublasSetStream(handle, nullptr) == CUBLAS_STATUS_SUCCESS);
  CHECK(product_of(handle, 2, 3, CUBLAS_COMPUTE_32F) == 6.0F);
  CHECK(other.read() == std::vector<float>(64, 1.0F));
  CHECK(cublasSetWorkspace(handle, workspace.floats() + 1, 16) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(cublasSetWorkspace(nullptr, nullptr, 0) == CUBLAS_STATUS_NOT_INITIALIZED);
}

TEST_CASE("arguments out of range are refused") {
  const Handle handle;
  const DeviceArray a = DeviceArray::of_nan(400);
  const DeviceArray b = DeviceArray::of_nan(400);
  DeviceArray c = DeviceArray::of_nan(400);
  const auto with = [&](auto&& change) {
    Product p;
    change(p);
    return run(handle, p, a, b, c);
  };
  CHECK(with([](Product&) {}) == CUBLAS_STATUS_SUCCESS);
  CHECK(with([](Product& p) { p.m = -1; }) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(with([](Product& p) { p.n = -1; }) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(with([](Product& p) { p.k = -1; }) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(with([](Product& p) { p.lda = 5; }) == CUBLAS_STATUS_SUCCESS);
  CHECK(with([](Product& p) { p.lda = 4; }) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(with([](Product& p) { p.ldb = 11; }) == CUBLAS_STATUS_SUCCESS);
  CHECK(with([](Product& p) { p.ldb = 10; }) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(with([](Product& p) { p.ldc = 4; }) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(with([](Product& p) { p.op_a = CUBLAS_OP_T, p.lda = 11; }) == CUBLAS_STATUS_SUCCESS);
  CHECK(with([](Product& p) { p.op_a = CUBLAS_OP_T, p.lda = 10; }) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(with([](Product& p) { p.op_b = CUBLAS_OP_T, p.ldb = 7; }) == CUBLAS_STATUS_SUCCESS);
  CHECK(with([](Product& p) { p.op_b = CUBLAS_OP_T, p.ldb = 6; }) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(with([](Product& p) { p.m = 0, p.ldc = 0; }) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(with([](Product& p) { p.op_a = static_cast<cublasOperation_t>(3); }) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(with([](Product& p) { p.out = DType::bf16; }) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(with([](Product& p) { p.in = DType::bf16, p.compute = CUBLAS_COMPUTE_32F_FAST_TF32; }) ==
        CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(with([](Product& p) { p.compute = CUBLAS_COMPUTE_64F; }) == CUBLAS_STATUS_NOT_SUPPORTED);

  const float one = 1;
  const auto sgemm = [&](const float* alpha, const float* data, const float* beta, float* out) {
    return cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, alpha, data, 2, a.floats(), 2, beta, out,
                       2);
  };
  CHECK(sgemm(&one, a.floats(), &one, c.floats()) == CUBLAS_STATUS_SUCCESS);
  CHECK(sgemm(nullptr, a.floats(), &one, c.floats()) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(sgemm(&one, nullptr, &one, c.floats()) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(sgemm(&one, a.floats(), nullptr, c.floats()) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(sgemm(&one, a.floats(), &one, nullptr) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, a.data(), CUDA_R_32F, 1, a.data(),
                     CUDA_R_16BF, 1, &one, c.data(), CUDA_R_32F, 1, CUBLAS_COMPUTE_32F,
                     CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_NOT_SUPPORTED);
  CHECK(cublasSgemm(nullptr, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, a.floats(), 1, a.floats(), 1, &one,
                    c.floats(), 1) == CUBLAS_STATUS_NOT_INITIALIZED);
  CHECK(cublasSetMathMode(handle, static_cast<cublasMath_t>(5)) == CUBLAS_STATUS_INVALID_VALUE);
}

TEST_CASE("handles, versions and names") {
  const Handle handle;
  int version = 0;
  REQUIRE(cublasGetVersion(handle, &version) == CUBLAS_STATUS_SUCCESS);
  CHECK(version == CUBLAS_VERSION);
  const Stream stream;
  cudaStream_t set = nullptr;
  REQUIRE(cublasSetStream(handle, stream) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(cublasGetStream(handle, &set) == CUBLAS_STATUS_SUCCESS);
  CHECK(set == stream);
  CHECK(cublasCreate(nullptr) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(cublasDestroy(nullptr) == CUBLAS_STATUS_NOT_INITIALIZED);
  CHECK(cublasGetStatusName(CUBLAS_STATUS_NOT_SUPPORTED) == std::string("CUBLAS_STATUS_NOT_SUPPORTED"));
  CHECK(cublasGetStatusString(CUBLAS_STATUS_SUCCESS) !=
        std::string(cublasGetStatusString(CUBLAS_STATUS_INVALID_VALUE)));
}

}  // namespace
}  // namespace generous
