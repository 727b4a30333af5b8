// The values of the emulated cuDNN's convolutions: by hand, against the definition in double, and by the
// identity that ties the three directions together.

#include "tests/emulation/libraries_convolution.h"

#include <cmath>
#include <limits>
#include <set>

namespace generous {
namespace {

using namespace testing;

const Convolution convolutions[] = {
    {},
    {.n = 3, .c = 5, .h = 6, .w = 4, .k = 7, .r = 1, .s = 1, .pad_h = 0, .stride_w = 1},
    {.n = 2, .c = 3, .h = 8, .w = 7, .k = 20, .r = 3, .s = 3, .pad_h = 1, .pad_w = 1, .stride_h = 2},
    {.n = 1, .c = 6, .h = 5, .w = 9, .k = 9, .r = 3, .s = 2, .groups = 3, .pad_w = 1},
    {.n = 2, .c = 4, .h = 6, .w = 5, .k = 8, .r = 2, .s = 3, .groups = 4, .pad_h = 0, .pad_w = 2},
    {.n = 2, .c = 2, .h = 9, .w = 8, .k = 3, .r = 3, .s = 2, .pad_h = 2, .pad_w = 1, .stride_h = 3},
    {.n = 1, .c = 70, .h = 4, .w = 3, .k = 81, .r = 4, .s = 3, .pad_h = 0, .stride_w = 1},
    {.n = 2, .c = 4, .h = 5, .w = 6, .k = 6, .r = 2, .s = 3, .groups = 2, .mode = CUDNN_CONVOLUTION},
};

const Convolution dilated{.h = 9, .w = 8, .pad_h = 2, .dilation_h = 2, .dilation_w = 3};

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

/// What a direction has to give, before alpha and beta.
std::vector<double> expected(const Convolution& of, Direction direction, const std::vector<float>& x,
                             const std::vector<float>& w, const std::vector<float>& y) {
  std::vector<double> sums(direction == Direction::forward         ? y.size()
                           : direction == Direction::backward_data ? x.size()
                                                                   : w.size());
  of.for_each_product([&](std::size_t i, std::size_t j, std::size_t k) {
    if (direction == Direction::forward) sums[k] += static_cast<double>(x[i]) * w[j];
    if (direction == Direction::backward_data) sums[i] += static_cast<double>(y[k]) * w[j];
    if (direction == Direction::backward_filter) sums[j] += static_cast<double>(y[k]) * x[i];
  });
  return sums;
}

/// One direction and algorithm against the definition, with alpha and beta.
void check(const Convolution& of, Direction direction, int algorithm, float alpha, float beta) {
  CAPTURE(name_of(of.dtype));
  CAPTURE(static_cast<int>(direction));
  CAPTURE(algorithm);
  // 7 bits, so that bf16 holds the values as they are
  const std::vector<float> x = scattered(of.size_x(), 1, 7), w = scattered(of.size_w(), 2, 7),
                           y = scattered(of.size_y(), 3, 7);
  const std::vector<float> result = convolved(of, direction, algorithm, x, w, y, alpha, beta);
  const std::vector<float>& old = direction == Direction::forward         ? y
                                  : direction == Direction::backward_data ? x
                                                                          : w;
  const std::vector<double> sums = expected(of, direction, x, w, y);
  REQUIRE(result.size() == sums.size());
  double excess = 0;  // beyond what rounding allows
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const double value = alpha * sums[i] + beta * static_cast<double>(old[i]);
    const double allowed = of.dtype == DType::f32 ? 2e-5 : std::abs(value) / 256 + 1e-6;
    excess = std::max(excess, std::isnan(result[i]) ? 1 : std::abs(result[i] - value) - allowed);
  }
  CHECK(excess == 0);
}

TEST_CASE("a convolution worked out by hand: images NHWC, filters OHWI") {
  // x {1, 2, 3, 2}, two output channels, filter {2, 1, 2, 2}, stride 1
  const Convolution of{.n = 1, .c = 2, .h = 2, .w = 3, .k = 2, .r = 1, .s = 2, .pad_h = 0, .stride_w = 1};
  const std::vector<float> x = {1, 10, 2, 20, 3, 30, 4, 40, 5, 50, 6, 60};
  const std::vector<float> w = {1, 0, 0, 1, 2, 0, 0, 0.5F};
  const std::vector<float> nothing(of.size_y(), std::numeric_limits<float>::quiet_NaN());
  // y[0] = x[.., w, 0] + x[.., w + 1, 1], y[1] = 2 x[.., w, 0] + x[.., w + 1, 1] / 2
  CHECK(convolved(of, Direction::forward, 0, x, w, nothing) ==
        std::vector<float>{21, 12, 32, 19, 54, 33, 65, 40});
  // one gradient in the second row, at its second position, of the second channel
  const std::vector<float> dy = {0, 0, 0, 0, 0, 0, 0, 1};
  const std::vector<float> no_dx(of.size_x(), std::numeric_limits<float>::quiet_NaN());
  CHECK(convolved(of, Direction::backward_data, 1, no_dx, w, dy) ==
        std::vector<float>{0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0.5F});
  const std::vector<float> no_dw(of.size_w(), std::numeric_limits<float>::quiet_NaN());
  CHECK(convolved(of, Direction::backward_filter, 1, x, no_dw, dy) ==
        std::vector<float>{0, 0, 0, 0, 5, 50, 6, 60});
}

TEST_CASE("every direction and algorithm follows the definition") {
  for (Convolution of : convolutions)
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const Direction direction : directions)
        for (const int algorithm : algorithms_of(direction)) {
          of.dtype = dtype;
          check(of, direction, algorithm, 1.0F, 0.0F);
          check(of, direction, algorithm, 0.75F, -0.5F);
        }
}

TEST_CASE("dilated filters, and NCHW") {
  for (Convolution of : {dilated, Convolution{.groups = 2}, convolutions[7]})
    for (const cudnnTensorFormat_t format : {CUDNN_TENSOR_NHWC, CUDNN_TENSOR_NCHW})
      for (const Direction direction : directions) {
        of.format = format;
        check(of, direction, 1, 1.0F, 0.5F);
      }
}

TEST_CASE("the three directions are adjoint: dy . y = x . dx = w . dw") {
  for (const Convolution& of : convolutions) {
    const std::vector<float> x = scattered(of.size_x(), 4), w = scattered(of.size_w(), 5),
                             dy = scattered(of.size_y(), 6);
    const double forward =
        dot(dy, convolved(of, Direction::forward, 1, x, w, std::vector<float>(of.size_y())));
    CHECK(dot(x, convolved(of, Direction::backward_data, 0, std::vector<float>(of.size_x()), w, dy)) ==
          doctest::Approx(forward).epsilon(1e-4));
    CHECK(dot(w, convolved(of, Direction::backward_filter, 3, x, std::vector<float>(of.size_w()), dy)) ==
          doctest::Approx(forward).epsilon(1e-4));
  }
}

TEST_CASE("strides of the descriptor: rows and planes of NCHW images with gaps") {
  Convolution of{.n = 2, .c = 3, .h = 4, .w = 5, .k = 2, .r = 1, .s = 2, .pad_h = 0, .stride_w = 1};
  of.format = CUDNN_TENSOR_NCHW;
  const CudnnHandle handle;
  const Described d(of);
  const std::vector<float> x = scattered(of.size_x(), 7, 7), w = scattered(of.size_w(), 8, 7);
  std::vector<float> gapped(2 * 100, std::numeric_limits<float>::quiet_NaN());
  for (int n = 0; n < of.n; ++n)
    for (int c = 0; c < of.c; ++c)
      for (int i = 0; i < of.h; ++i)
        for (int j = 0; j < of.w; ++j)
          gapped[static_cast<std::size_t>(n * 100 + c * 31 + i * 7 + j)] =
              x[of.at(n, c, i, j, of.c, of.h, of.w)];
  REQUIRE(cudnnSetTensor4dDescriptorEx(d.x, CUDNN_DATA_FLOAT, 2, 3, 4, 5, 100, 31, 7, 1) ==
          CUDNN_STATUS_SUCCESS);
  const DeviceArray device_x(gapped), device_w(w), device_y = DeviceArray::of_nan(of.size_y());
  REQUIRE(convolve(handle, Direction::forward, d, 0, {device_x.data(), device_w.data(), device_y.data()}) ==
          CUDNN_STATUS_SUCCESS);
  const std::vector<float> result = device_y.read();
  const std::vector<double> sums = expected(of, Direction::forward, x, w, result);
  for (std::size_t i = 0; i < sums.size(); ++i) CHECK(result[i] == doctest::Approx(sums[i]).epsilon(1e-5));
}

TEST_CASE("f32 without the math type of FMA is rounded to TF32") {
  const Convolution one{.n = 1, .c = 1, .h = 1, .w = 1, .k = 1, .r = 1, .s = 1, .pad_h = 0};
  const CudnnHandle handle;
  const Described d(one);
  const float x = 1.0F + 0x1p-11F + 0x1p-20F;
  const auto product = [&](cudnnMathType_t math) {
    const DeviceArray device_x(std::vector<float>{x}), device_w(std::vector<float>{1.0F}),
        device_y = DeviceArray::of_nan(1);
    REQUIRE(cudnnSetConvolutionMathType(d.convolution, math) == CUDNN_STATUS_SUCCESS);
    REQUIRE(convolve(handle, Direction::forward, d, 0, {device_x.data(), device_w.data(), device_y.data()}) ==
            CUDNN_STATUS_SUCCESS);
    return device_y.read()[0];
  };
  CHECK(product(CUDNN_FMA_MATH) == x);
  CHECK(product(CUDNN_DEFAULT_MATH) == 1.0F + 0x1p-10F);
  CHECK(product(CUDNN_TENSOR_OP_MATH) == 1.0F + 0x1p-10F);
  CHECK(product(CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION) == 1.0F + 0x1p-10F);
}

TEST_CASE("algorithms that are not deterministic give other bits at every call, the others the same") {
  const Convolution of{.n = 3, .c = 5, .h = 8, .w = 7, .k = 6, .r = 3, .s = 3, .pad_w = 1, .stride_w = 1};
  const std::vector<float> x = scattered(of.size_x(), 9), w = scattered(of.size_w(), 10),
                           y = scattered(of.size_y(), 11);
  for (const Direction direction : directions)
    for (const int algorithm : algorithms_of(direction)) {
      CAPTURE(static_cast<int>(direction));
      CAPTURE(algorithm);
      const bool varies = (direction == Direction::backward_data && algorithm == 0) ||
                          (direction == Direction::backward_filter && algorithm != 1);
      std::set<std::vector<float>> results;
      for (int call = 0; call < 6; ++call) results.insert(convolved(of, direction, algorithm, x, w, y));
      CHECK(results.size() == (varies ? 6 : 1));
    }
}

TEST_CASE("a workspace that lies over an operand ruins the result") {
  const Convolution of;
  const CudnnHandle handle;
  const Described d(of);
  std::size_t bytes = 0;
  REQUIRE(workspace_size(handle, Direction::forward, d, 1, &bytes) == CUDNN_STATUS_SUCCESS);
  const std::size_t room = bytes + 4 * (of.size_x() + of.size_y());
  const std::vector<float> w = scattered(of.size_w(), 12);
  for (const bool over_x : {true, false}) {
    const DeviceArray shared(std::vector<float>(room, 1.0F)), other(std::vector<float>(room, 1.0F)),
        device_w(w);
    const Call call{.x = over_x ? shared.data() : other.data(),
                    .w = device_w.data(),
                    .y = over_x ? other.data() : shared.data(),
                    .workspace = shared.data(),
                    .bytes = bytes};
    REQUIRE(convolve(handle, Direction::forward, d, 1, call) == CUDNN_STATUS_SUCCESS);
    CHECK(std::isnan((over_x ? other : shared).read()[0]));
  }
}

}  // namespace
}  // namespace generous
