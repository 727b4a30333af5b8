// The values of the emulated cuDNN's convolutions: by hand, against the definition in double, and by the
// identity that ties the three directions together; and of what follows them in a graph.

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

/// Runs one engine over host values with a workspace of its own size; the output's old values are in its
/// place among x, w and y. Returns the output.
std::vector<float> convolved(const Convolution& of, Direction direction, std::int64_t engine,
                             const std::vector<float>& x, const std::vector<float>& w,
                             const std::vector<float>& y, float alpha = 1.0F, float beta = 0.0F) {
  const CudnnHandle handle;
  const DeviceArray device_x(x, of.dtype), device_w(w, of.dtype), device_y(y, of.dtype);
  const Descriptor planned = plan(handle, graph({operation(direction, Parts(of), alpha, beta)}), engine);
  const DeviceArray workspace(std::vector<float>(workspace_of(planned) / sizeof(float) + 1));
  REQUIRE(execute(handle, planned, {1, 2, 3}, {device_x.data(), device_w.data(), device_y.data()},
                  workspace.data()) == CUDNN_STATUS_SUCCESS);
  const std::vector<float> scratch = workspace.read();
  CHECK(std::all_of(scratch.begin(), scratch.end() - 1, [](float value) { return value != value; }));
  CHECK(scratch.back() == 0.0F);
  return direction == Direction::forward
             ? device_y.read()
             : (direction == Direction::backward_data ? device_x : device_w).read();
}

/// One direction by the exact engine against the definition, with alpha and beta.
void check(const Convolution& of, Direction direction, float alpha, float beta) {
  CAPTURE(name_of(of.dtype));
  CAPTURE(static_cast<int>(direction));
  // 7 bits, so that bf16 holds the values as they are
  const std::vector<float> x = scattered(of.size_x(), 1, 7), w = scattered(of.size_w(), 2, 7),
                           y = scattered(of.size_y(), 3, 7);
  const std::vector<float> result = convolved(of, direction, 0, x, w, y, alpha, beta);
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
  CHECK(convolved(of, Direction::backward_data, 0, no_dx, w, dy) ==
        std::vector<float>{0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0.5F});
  const std::vector<float> no_dw(of.size_w(), std::numeric_limits<float>::quiet_NaN());
  CHECK(convolved(of, Direction::backward_filter, 0, x, no_dw, dy) ==
        std::vector<float>{0, 0, 0, 0, 5, 50, 6, 60});
}

TEST_CASE("every direction follows the definition") {
  for (Convolution of : convolutions)
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const Direction direction : directions) {
        of.dtype = dtype;
        check(of, direction, 1.0F, 0.0F);
        check(of, direction, 0.75F, -0.5F);
      }
}

TEST_CASE("dilated filters, and NCHW") {
  for (Convolution of : {dilated, Convolution{.groups = 2}, convolutions[7]})
    for (const bool nchw : {false, true})
      for (const Direction direction : directions) {
        of.nchw = nchw;
        check(of, direction, 1.0F, 0.5F);
      }
}

TEST_CASE("the three directions are adjoint: dy . y = x . dx = w . dw") {
  for (const Convolution& of : convolutions) {
    const std::vector<float> x = scattered(of.size_x(), 4), w = scattered(of.size_w(), 5),
                             dy = scattered(of.size_y(), 6);
    const double forward =
        dot(dy, convolved(of, Direction::forward, 0, x, w, std::vector<float>(of.size_y())));
    CHECK(dot(x, convolved(of, Direction::backward_data, 1, std::vector<float>(of.size_x()), w, dy)) ==
          doctest::Approx(forward).epsilon(1e-4));
    CHECK(dot(w, convolved(of, Direction::backward_filter, 1, x, std::vector<float>(of.size_w()), dy)) ==
          doctest::Approx(forward).epsilon(1e-4));
  }
}

TEST_CASE("engines round as their notes say: to TF32, to 16 bits, by a transform, or not") {
  const Convolution one{.n = 1, .c = 1, .h = 1, .w = 1, .k = 1, .r = 1, .s = 1, .pad_h = 0};
  const float x = 1.0F + 0x1p-11F + 0x1p-20F;
  const auto product = [&](std::int64_t engine) {
    return convolved(one, Direction::forward, engine, {x}, {1.0F}, {0.0F})[0];
  };
  CHECK(product(0) == x);
  CHECK(product(2) == 1.0F + 0x1p-10F);
  CHECK(product(4) == 1.0F + 0x1p-11F);
  CHECK(product(5) == 1.0F);
  Convolution of_bf16 = one;
  of_bf16.dtype = DType::bf16;
  const auto sum = [&](std::int64_t engine) {
    return convolved(of_bf16, Direction::forward, engine, {1.0F + 0x1p-6F}, {1.0F}, {0.0F})[0];
  };
  CHECK(sum(2) == 1.0F + 0x1p-6F);
  CHECK(sum(6) == 1.0F);
}

TEST_CASE("engines that are not deterministic give other bits at every call, the others the same") {
  const Convolution of{.n = 3, .c = 5, .h = 8, .w = 7, .k = 6, .r = 3, .s = 3, .pad_w = 1, .stride_w = 1};
  const std::vector<float> x = scattered(of.size_x(), 9), w = scattered(of.size_w(), 10),
                           y = scattered(of.size_y(), 11);
  for (const Direction direction : directions)
    for (const std::int64_t engine : engines(graph({operation(direction, Parts(of))}))) {
      CAPTURE(static_cast<int>(direction));
      CAPTURE(engine);
      std::set<std::vector<float>> results;
      for (int call = 0; call < 6; ++call) results.insert(convolved(of, direction, engine, x, w, y));
      CHECK(results.size() == (engine == 1 || engine == 3 ? 6 : 1));
    }
}

TEST_CASE("a workspace that lies over an operand ruins the result") {
  const Convolution of;
  const CudnnHandle handle;
  const Descriptor planned = plan(handle, graph({operation(Direction::forward, Parts(of))}), 2);
  const std::size_t room = workspace_of(planned) + 4 * (of.size_x() + of.size_y());
  const std::vector<float> w = scattered(of.size_w(), 12);
  for (const bool over_x : {true, false}) {
    const DeviceArray shared(std::vector<float>(room, 1.0F)), other(std::vector<float>(room, 1.0F)),
        device_w(w);
    REQUIRE(execute(handle, planned, {1, 2, 3},
                    {over_x ? shared.data() : other.data(), device_w.data(),
                     over_x ? other.data() : shared.data()},
                    shared.data()) == CUDNN_STATUS_SUCCESS);
    CHECK(std::isnan((over_x ? other : shared).read()[0]));
  }
}

/// The sums of a forward convolution on their way through f32, then a residual, a bias and a ReLU.
Descriptor fused_graph(const Convolution& of, cudnnDataType_t bias_type, float ceiling,
                       bool residual_first = true) {
  const std::vector<std::int64_t> dims{of.n, of.k, of.p(), of.q()};
  const auto way = [&](std::int64_t id) {
    return tensor(id, CUDNN_DATA_FLOAT, dims, false, false).finalize();
  };
  Parts parts(of);
  parts.y = tensor(3, CUDNN_DATA_FLOAT, dims, false, false);
  Descriptor residual = tensor(4, of.type(), dims, false);
  Descriptor bias = tensor(5, bias_type, {1, of.k, 1, 1}, false);
  residual.finalize();
  bias.finalize();
  std::vector<Descriptor> operations{operation(Direction::forward, parts)};
  const auto pointwise = [&](cudnnPointwiseMode_t mode, const Descriptor& x, const Descriptor* b,
                             const Descriptor& y) {
    Descriptor function(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    function.set(CUDNN_ATTR_POINTWISE_MODE, mode).set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
    if (b == nullptr) function.set(CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, double{ceiling});
    Descriptor result(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    result.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function.finalize())
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    if (b != nullptr) result.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
    operations.push_back(result.finalize());
  };
  pointwise(CUDNN_POINTWISE_ADD, parts.y, residual_first ? &residual : &bias, way(10));
  pointwise(CUDNN_POINTWISE_ADD, way(10), residual_first ? &bias : &residual, way(11));
  Descriptor result = tensor(12, of.type(), dims, false);
  pointwise(CUDNN_POINTWISE_RELU_FWD, way(11), nullptr, result.finalize());
  return graph(operations);
}

TEST_CASE("a residual, a bias and a ReLU behind the sums, rounded once") {
  const CudnnHandle handle;
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const float ceiling : {std::numeric_limits<float>::infinity(), 0.5F}) {
      const Convolution of{.dtype = dtype};
      const std::vector<float> x = scattered(of.size_x(), 1, 7), w = scattered(of.size_w(), 2, 7),
                               residual = scattered(of.size_y(), 3, 7), bias = scattered(4, 4, 7);
      const DeviceArray device_x(x, dtype), device_w(w, dtype), device_residual(residual, dtype),
          device_bias(bias, dtype), y = DeviceArray::of_nan(of.size_y(), dtype),
                                    workspace(std::vector<float>(std::size_t{1} << 16));
      const Descriptor planned = plan(handle, fused_graph(of, of.type(), ceiling), 0);
      REQUIRE(
          execute(handle, planned, {1, 2, 4, 5, 12},
                  {device_x.data(), device_w.data(), device_residual.data(), device_bias.data(), y.data()},
                  workspace.data()) == CUDNN_STATUS_SUCCESS);
      const std::vector<float> found = y.read();
      const std::vector<double> sums = expected(of, Direction::forward, x, w, residual);
      for (std::size_t i = 0; i < found.size(); ++i) {
        const double value = std::clamp(sums[i] + residual[i] + bias[i % 4], 0.0, double{ceiling});
        CHECK(found[i] == doctest::Approx(value).epsilon(dtype == DType::f32 ? 1e-5 : 1.0 / 256));
      }
    }
}

TEST_CASE("what the real library compiles for a graph, and what it has no engine for") {
  const auto compiled_only = [](const Descriptor& of) {
    for (const std::int64_t engine : engines(of))
      if (engine != 7 && engine != 8) return false;
    return !engines(of).empty();
  };
  const Convolution of{.dtype = DType::bf16};
  CHECK_FALSE(compiled_only(fused_graph(of, CUDNN_DATA_BFLOAT16, 6)));
  CHECK(compiled_only(fused_graph(of, CUDNN_DATA_FLOAT, 6)));
  CHECK(compiled_only(fused_graph(of, CUDNN_DATA_BFLOAT16, 6, false)));
  const Convolution depthwise{.c = 4, .k = 4, .groups = 4, .dtype = DType::bf16};
  CHECK_FALSE(engines(fused_graph(depthwise, CUDNN_DATA_BFLOAT16, 6)).empty());
  CHECK(engines(fused_graph(depthwise, CUDNN_DATA_FLOAT, 6)).empty());
}

/// A convolution with the sums of its channels, ids 20 and 21, in a type and taken in another.
Descriptor graph_with_sums(const Convolution& of, cudnnDataType_t type = CUDNN_DATA_FLOAT,
                           cudnnDataType_t arithmetic = CUDNN_DATA_FLOAT) {
  Parts parts(of);
  const Descriptor convolution = operation(Direction::forward, parts);
  Descriptor sum = tensor(20, type, {1, of.k, 1, 1}, false);
  Descriptor square_sum = tensor(21, type, {1, of.k, 1, 1}, false);
  Descriptor sums(CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR);
  sums.set(CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_GENSTATS_SUM_SQSUM)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, arithmetic)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_XDESC, parts.y)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, sum.finalize())
      .set(CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, square_sum.finalize());
  return graph({convolution, sums.finalize()});
}

TEST_CASE("the sums of y's channels, which the real library compiles, for bf16 alone") {
  const CudnnHandle handle;
  const Convolution of{.dtype = DType::bf16};
  const Descriptor asked = graph_with_sums(of);
  CHECK(engines(asked) == std::vector<std::int64_t>{9, 10});
  const DeviceArray x(scattered(of.size_x(), 1), of.dtype), w(scattered(of.size_w(), 2), of.dtype),
      y = DeviceArray::of_nan(of.size_y(), of.dtype), sum = DeviceArray::of_nan(4, DType::f32),
      square_sum = DeviceArray::of_nan(4, DType::f32), workspace(std::vector<float>(std::size_t{1} << 16));
  REQUIRE(execute(handle, plan(handle, asked, 10), {1, 2, 3, 20, 21},
                  {x.data(), w.data(), y.data(), sum.data(), square_sum.data()},
                  workspace.data()) == CUDNN_STATUS_SUCCESS);
  const std::vector<float> values = y.read(), sums = sum.read(), square_sums = square_sum.read();
  std::array<double, 4> wanted{}, wanted_squares{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    wanted[i % 4] += values[i];
    wanted_squares[i % 4] += static_cast<double>(values[i]) * values[i];
  }
  for (std::size_t c = 0; c < 4; ++c) {
    CHECK(sums[c] == doctest::Approx(wanted[c]).epsilon(1e-5));
    CHECK(square_sums[c] == doctest::Approx(wanted_squares[c]).epsilon(1e-5));
  }
  CHECK(engines(graph_with_sums({.dtype = DType::f32})).empty());
  CHECK(engines(graph_with_sums({.c = 4, .k = 4, .groups = 4, .dtype = DType::bf16})).empty());
  CHECK(engines(graph_with_sums(of, CUDNN_DATA_BFLOAT16)).empty());
  CHECK(engines(graph_with_sums(of, CUDNN_DATA_FLOAT, CUDNN_DATA_BFLOAT16)).empty());
}

}  // namespace
}  // namespace generous
