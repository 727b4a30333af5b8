// The CUDA kernels of batch norm and pooling where the table of op cases does not reach: many blocks, whole
// vectors of channels in both dtypes, hard statistics, equal values and NaN.

#include <cstring>
#include <limits>

#include "core/backend.h"
#include "core/functors.h"
#include "tests/core/gradcheck.h"

namespace generous {
namespace {

using testing::random_tensor;

Tensor in_dtype(const Tensor& x, DType dtype) {
  Tensor y = Tensor::empty(x.shape(), dtype);
  if (dtype == DType::f32)
    backend(Device::cpu).copy(x, y);
  else
    backend(Device::cpu).cast(x, y);
  return y;
}

/// On the host, in f32.
Tensor readable(const Tensor& x) {
  const Tensor here = x.to(Device::cpu);
  if (here.dtype() == DType::f32) return here;
  Tensor y = Tensor::empty(here.shape());
  backend(Device::cpu).cast(here, y);
  return y;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor left = a.to(Device::cpu);
  const Tensor right = b.to(Device::cpu);
  return left.bytes() == right.bytes() && std::memcmp(left.raw(), right.raw(), left.bytes()) == 0;
}

double difference(const Tensor& found, const Tensor& wanted) {
  const Tensor a = readable(found);
  const Tensor b = readable(wanted);
  return testing::relative_difference(a, {b.data<float>().begin(), b.data<float>().end()});
}

/// A rounding to bf16 may go the other way where the exact values differ by a rounding of f32.
double tolerance_of(DType dtype) { return dtype == DType::bf16 ? 1.0 / 128.0 : 1e-5; }

// One part of 256 threads and several; channels by whole vectors (of both dtypes, of f32 alone), by ones,
// more than a block takes side by side, and fewer than threads.
const Shape shapes[] = {{7, 16}, {1100, 40}, {301, 35}, {67, 264}, {1300, 20}, {900, 3}, {3, 1}};

struct Run {
  Tensor mean, inverse_std, y;
  BatchNormStatistics running;
  BatchNormGradients gradients;
};

struct Case {
  BatchNormParams params;
  BatchNormInputs in;
  BatchNormStatistics running;
  Tensor dy;
  bool mask_from_x = false;
  bool want_residual = false;
};

Run run(const Case& test, Device device) {
  Backend& here = backend(device);
  const BatchNormInputs in{{test.in.parts[0].x.to(device)},
                           test.in.gamma.to(device),
                           test.in.beta.to(device),
                           test.in.residual.defined() ? test.in.residual.to(device) : Tensor()};
  const auto like = [device](const Tensor& x) { return Tensor::empty(x.shape(), x.dtype(), device); };
  Run result{.mean = like(in.gamma),
             .inverse_std = like(in.gamma),
             .y = like(in.parts[0].x),
             .running = {},
             .gradients = {}};
  result.running = {test.running.mean.to(device).clone(), test.running.variance.to(device).clone(), {}};
  if (test.params.training) {
    here.batch_norm_train(test.params, in, result.running, result.mean, result.inverse_std, result.y);
  } else {
    here.batch_norm_eval(test.params, in, result.running, result.y);
    result.mean = result.running.mean;
    here.unary(Unary::sqrt, result.running.variance, result.inverse_std);
  }
  const BatchNormSaved saved{.parts = in.parts,
                             .y = test.params.activation != Activation::none ? result.y : Tensor(),
                             .gamma = in.gamma,
                             .beta = test.mask_from_x ? in.beta : Tensor(),
                             .mean = result.mean,
                             .inverse_std = result.inverse_std};
  result.gradients = {{{like(in.parts[0].x)}},
                      like(in.gamma),
                      like(in.gamma),
                      test.want_residual ? like(in.parts[0].x) : Tensor()};
  here.batch_norm_backward(test.params, saved, test.dy.to(device), result.gradients);
  return result;
}

Case case_of(const Shape& shape, DType dtype, const BatchNormParams& params, bool residual) {
  const Shape channels{shape[-1]};
  return {
      .params = params,
      .in = {.parts = {in_dtype(random_tensor(shape, "x") * 2.0F + 3.0F, dtype)},
             .gamma = random_tensor(channels, "gamma") + 1.5F,
             .beta = random_tensor(channels, "beta"),
             .residual = residual ? in_dtype(random_tensor(shape, "residual"), dtype) : Tensor()},
      .running = {random_tensor(channels, "mean"), square(random_tensor(channels, "variance")) + 0.5F, {}},
      .dy = in_dtype(random_tensor(shape, "dy"), dtype),
      .mask_from_x = !residual,
      .want_residual = residual && params.activation != Activation::none};
}

TEST_CASE("batch norm of every width gives what the CPU gives") {
  const UseCpuBackend reference(make_eigen_backend());
  for (const Shape& shape : shapes)
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const bool training : {true, false})
        for (const bool relu : {true, false})
          for (const bool residual : {true, false}) {
            CAPTURE(shape.str());
            CAPTURE(name_of(dtype));
            CAPTURE(training);
            CAPTURE(relu);
            CAPTURE(residual);
            Case test = case_of(shape, dtype,
                                {.training = training,
                                 .activation = relu ? Activation::relu : Activation::none,
                                 .momentum = 0.3F},
                                residual);
            const Run wanted = run(test, Device::cpu);
            const Run found = run(test, Device::cuda);
            CHECK(difference(found.mean, wanted.mean) < 1e-6);
            CHECK(difference(found.inverse_std, wanted.inverse_std) < 5e-6);
            CHECK(difference(found.running.mean, wanted.running.mean) < 1e-6);
            CHECK(difference(found.running.variance, wanted.running.variance) < 5e-6);
            CHECK(difference(found.y, wanted.y) < tolerance_of(dtype));
            CHECK(difference(found.gradients.dgamma, wanted.gradients.dgamma) < tolerance_of(dtype));
            CHECK(difference(found.gradients.dbeta, wanted.gradients.dbeta) < tolerance_of(dtype));
            CHECK(difference(found.gradients.parts[0].dx, wanted.gradients.parts[0].dx) <
                  tolerance_of(dtype));
            if (test.want_residual)
              CHECK(difference(found.gradients.dresidual, wanted.gradients.dresidual) < tolerance_of(dtype));
          }
}

TEST_CASE("a mean far from zero and an outlier in the first row cost the variance no digits") {
  constexpr std::int64_t rows = 2000;
  for (const std::int64_t channels : {12, 5}) {
    CAPTURE(channels);
    Tensor x = random_tensor({rows, channels}, "far") * 0.25F + 4096.0F;
    for (std::int64_t c = 0; c < channels; c += 2) x.data<float>()[static_cast<std::size_t>(c)] = 4000.0F;
    const Case test{.params = {},
                    .in = {.parts = {x},
                           .gamma = Tensor::full({channels}, 1.0F),
                           .beta = Tensor::zeros({channels}),
                           .residual = {}},
                    .running = {Tensor::zeros({channels}), Tensor::zeros({channels}), {}},
                    .dy = x};
    const Run found = run(test, Device::cuda);
    const Tensor mean = found.mean.to(Device::cpu);
    const Tensor inverse_std = found.inverse_std.to(Device::cpu);
    for (std::int64_t c = 0; c < channels; ++c) {
      const auto value = [&](std::int64_t row) {
        return static_cast<double>(x.data<float>()[static_cast<std::size_t>(row * channels + c)]);
      };
      double mu = 0.0;
      double variance = 0.0;
      for (std::int64_t row = 0; row < rows; ++row) mu += value(row) / rows;
      for (std::int64_t row = 0; row < rows; ++row) variance += (value(row) - mu) * (value(row) - mu) / rows;
      const auto i = static_cast<std::size_t>(c);
      CHECK(mean.data<float>()[i] == doctest::Approx(mu).epsilon(1e-7));
      CHECK(inverse_std.data<float>()[i] == doctest::Approx(1.0 / std::sqrt(variance + 1e-5)).epsilon(1e-5));
    }
  }
}

TEST_CASE("the mask worked out from x is the sign of y, element by element") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    CAPTURE(name_of(dtype));
    Case test = case_of({1100, 40}, dtype, {.activation = Activation::relu}, false);
    test.want_residual = true;
    test.dy = in_dtype(Tensor::full({1100, 40}, 1.0F), dtype);
    const Run found = run(test, Device::cuda);
    const Tensor y = readable(found.y);
    const Tensor dz = readable(found.gradients.dresidual);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < y.data<float>().size(); ++i)
      wrong += (y.data<float>()[i] > 0.0F ? 1.0F : 0.0F) != dz.data<float>()[i];
    CHECK(wrong == 0);
  }
}

TEST_CASE("batch norm gives the same bits in every run") {
  const Case test = case_of({1100, 40}, DType::f32, {.activation = Activation::relu}, true);
  const Run first = run(test, Device::cuda);
  const Run second = run(test, Device::cuda);
  CHECK(same_bits(first.y, second.y));
  CHECK(same_bits(first.running.variance, second.running.variance));
  CHECK(same_bits(first.gradients.parts[0].dx, second.gradients.parts[0].dx));
  CHECK(same_bits(first.gradients.dgamma, second.gradients.dgamma));
  CHECK(same_bits(first.gradients.dbeta, second.gradients.dbeta));
}

struct PoolCase {
  Shape image;
  Pool2dParams window;
};

const PoolCase pools[] = {
    {{2, 6, 8, 16}, {}},
    {{3, 7, 5, 20}, {.kernel_h = 3, .kernel_w = 3, .stride = 2, .padding = 1}},
    {{2, 9, 4, 3}, {.kernel_h = 3, .kernel_w = 2, .stride = 1, .padding = 1}},
    {{1, 9, 11, 8}, {.kernel_h = 2, .kernel_w = 3, .stride = 4, .padding = 0}},  // pixels in no window
    {{5, 4, 4, 24}, {.kernel_h = 4, .kernel_w = 4, .stride = 1, .padding = 0}},
};

Shape pooled(const Shape& image, const Pool2dParams& window) {
  const auto windows = [&](std::int64_t pixels, std::int64_t kernel) {
    return (pixels + 2 * window.padding - kernel) / window.stride + 1;
  };
  return {image[0], windows(image[1], window.kernel_h), windows(image[2], window.kernel_w), image[3]};
}

/// Few different values, so that many are equal, with some NaN and -infinity among them, and one image of
/// nothing else.
Tensor awkward_image(const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  const Random random(7, "awkward");
  const std::size_t image = static_cast<std::size_t>(shape.numel() / shape[0]);
  std::uint64_t i = 0;
  for (float& value : x.data<float>()) {
    const float u = random.uniform(0, 0, i);
    value = std::floor(4.0F * u) - 2.0F;
    if (u > 0.9F || (shape[0] > 1 && i < image && i % 2 == 0))
      value = std::numeric_limits<float>::quiet_NaN();
    if (u < 0.1F || (shape[0] > 1 && i < image && i % 2 == 1))
      value = -std::numeric_limits<float>::infinity();
    ++i;
  }
  return x;
}

TEST_CASE("max pooling chooses what the CPU chooses, bit by bit") {
  const UseCpuBackend reference(make_eigen_backend());
  for (const PoolCase& test : pools)
    for (const DType dtype : {DType::f32, DType::bf16}) {
      CAPTURE(test.image.str());
      CAPTURE(name_of(dtype));
      const Shape small = pooled(test.image, test.window);
      const Tensor x = in_dtype(awkward_image(test.image), dtype);
      const Tensor dy = in_dtype(random_tensor(small, "dy"), dtype);
      std::vector<Tensor> results[2];
      for (const Device device : {Device::cpu, Device::cuda}) {
        Tensor y = Tensor::empty(small, dtype, device);
        Tensor chosen = Tensor::empty(small, DType::u8, device);
        Tensor dx = Tensor::empty(test.image, dtype, device);
        backend(device).max_pool(test.window, x.to(device), y, chosen);
        backend(device).max_pool_backward(test.window, dy.to(device), chosen, dx);
        results[device == Device::cuda ? 1 : 0] = {y, chosen, dx};
      }
      CHECK(same_bits(results[1][0], results[0][0]));
      CHECK(same_bits(results[1][1], results[0][1]));
      CHECK(same_bits(results[1][2], results[0][2]));
    }
}

TEST_CASE("average pooling gives what the CPU gives, forward and backward, and means of bf16 in f32") {
  const UseCpuBackend reference(make_eigen_backend());
  for (const PoolCase& test : pools)
    for (const auto& [dtype, of_means] :
         {std::pair{DType::f32, DType::f32}, {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}}) {
      CAPTURE(test.image.str());
      CAPTURE(name_of(dtype));
      CAPTURE(name_of(of_means));
      const Shape small = pooled(test.image, test.window);
      const Tensor x = in_dtype(random_tensor(test.image, "x"), dtype);
      const Tensor dy = in_dtype(random_tensor(small, "dy"), of_means);
      std::vector<Tensor> results[2];
      for (const Device device : {Device::cpu, Device::cuda}) {
        Tensor y = Tensor::empty(small, of_means, device);
        Tensor dx = Tensor::empty(test.image, dtype, device);
        backend(device).avg_pool(test.window, x.to(device), y);
        backend(device).avg_pool_backward(test.window, dy.to(device), dx);
        results[device == Device::cuda ? 1 : 0] = {y, dx};
      }
      CHECK(difference(results[1][0], results[0][0]) < tolerance_of(of_means));
      CHECK(difference(results[1][1], results[0][1]) < tolerance_of(dtype));
    }
}

}  // namespace
}  // namespace generous
