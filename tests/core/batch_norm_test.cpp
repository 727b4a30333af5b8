// Batch norm in all its fused forms: values against double, running statistics, gradients by differences.

#include "tests/core/gradcheck.h"

namespace generous {
namespace {

using testing::check_gradients;
using testing::random_tensor;
using testing::relative_difference;

BatchNormStatistics fresh_statistics(std::int64_t channels) {
  Tensor variance = square(random_tensor({channels}, "running variance")) + 0.5F;
  return {random_tensor({channels}, "running mean"), variance};
}

struct Naive {
  std::vector<double> y, mean, variance;  ///< variance is biased
};

Naive naive_batch_norm(const BatchNormInputs& in, const BatchNormStatistics* running, bool relu) {
  const auto channels = static_cast<std::size_t>(in.parts[0].x.size(-1));
  const auto x = in.parts[0].x.data<float>();
  const double rows = static_cast<double>(x.size() / channels);
  Naive result{.y = {}, .mean = std::vector<double>(channels), .variance = std::vector<double>(channels)};
  for (std::size_t i = 0; i < x.size(); ++i) result.mean[i % channels] += static_cast<double>(x[i]) / rows;
  for (std::size_t i = 0; i < x.size(); ++i)
    result.variance[i % channels] +=
        std::pow(static_cast<double>(x[i]) - result.mean[i % channels], 2) / rows;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % channels;
    const double mean = running ? static_cast<double>(running->mean.data<float>()[c]) : result.mean[c];
    const double variance =
        running ? static_cast<double>(running->variance.data<float>()[c]) : result.variance[c];
    double y = static_cast<double>(in.gamma.data<float>()[c]) * (static_cast<double>(x[i]) - mean) /
                   std::sqrt(variance + 1e-5) +
               static_cast<double>(in.beta.data<float>()[c]);
    if (in.residual.defined()) y += static_cast<double>(in.residual.data<float>()[i]);
    result.y.push_back(relu ? std::max(0.0, y) : y);
  }
  return result;
}

BatchNormInputs random_inputs(const Shape& shape, bool residual) {
  const Shape channels{shape[-1]};
  return {.parts = {random_tensor(shape, "x") * 2.0F + 3.0F},
          .gamma = random_tensor(channels, "gamma") + 1.5F,
          .beta = random_tensor(channels, "beta"),
          .residual = residual ? random_tensor(shape, "residual") : Tensor()};
}

// With whole groups of sixteen channels, a remainder, and fewer than sixteen; images and vectors.
const Shape shapes[] = {{3, 5, 4, 6}, {2, 3, 5, 19}, {7, 16}, {9, 35}};

/// These, and outputs that are so large that they are written past the caches where their rows allow it.
std::vector<Shape> small_and_large() {
  std::vector<Shape> all(std::begin(shapes), std::end(shapes));
  all.insert(all.end(), {{34000, 32}, {60000, 20}});
  return all;
}

TEST_CASE("batch norm equals its formula, and moves the running statistics") {
  on_every_cpu_implementation([] {
    for (const Shape& shape : small_and_large())
      for (const bool relu : {false, true})
        for (const bool residual : {false, true}) {
          CAPTURE(shape.str());
          const BatchNormInputs in = random_inputs(shape, residual);
          BatchNormStatistics running = fresh_statistics(shape[-1]);
          const BatchNormStatistics before{running.mean.clone(), running.variance.clone()};

          const Tensor evaluated = batch_norm(
              in, running, {.training = false, .activation = relu ? Activation::relu : Activation::none});
          CHECK(relative_difference(evaluated, naive_batch_norm(in, &running, relu).y) < 1e-6);
          CHECK(running.mean.data<float>()[0] == before.mean.data<float>()[0]);

          const Tensor trained = batch_norm(
              in, running,
              {.training = true, .activation = relu ? Activation::relu : Activation::none, .momentum = 0.2F});
          const Naive wanted = naive_batch_norm(in, nullptr, relu);
          CHECK(relative_difference(trained, wanted.y) < 2e-6);
          const double rows = static_cast<double>(shape.numel() / shape[-1]);
          for (std::size_t c = 0; c < wanted.mean.size(); ++c) {
            CHECK(static_cast<double>(running.mean.data<float>()[c]) ==
                  doctest::Approx(0.8 * static_cast<double>(before.mean.data<float>()[c]) +
                                  0.2 * wanted.mean[c])
                      .epsilon(1e-5));
            CHECK(static_cast<double>(running.variance.data<float>()[c]) ==
                  doctest::Approx(0.8 * static_cast<double>(before.variance.data<float>()[c]) +
                                  0.2 * wanted.variance[c] * rows / (rows - 1))
                      .epsilon(1e-5));
          }
        }
  });
}

TEST_CASE("a mean far from zero costs the variance no digits") {
  on_every_cpu_implementation([] {
    BatchNormInputs in = random_inputs({512, 4, 4, 17}, false);
    in.parts[0].x = in.parts[0].x + 1000.0F;
    BatchNormStatistics running = fresh_statistics(17);
    const Tensor y = batch_norm(in, running, {});
    CHECK(relative_difference(y, naive_batch_norm(in, nullptr, false).y) < 1e-4);
  });
}

/// Leaves x, gamma, beta and, if there, the residual.
Tensor apply_batch_norm(const std::vector<Tensor>& leaves, bool training, Activation activation) {
  BatchNormStatistics running = fresh_statistics(leaves[0].size(-1));
  return batch_norm({.parts = {leaves[0]},
                     .gamma = leaves[1],
                     .beta = leaves[2],
                     .residual = leaves.size() > 3 ? leaves[3] : Tensor()},
                    running, {.training = training, .activation = activation});
}

std::vector<Tensor> leaves_of(const BatchNormInputs& in) {
  std::vector<Tensor> leaves{in.parts[0].x, in.gamma, in.beta};
  if (in.residual.defined()) leaves.push_back(in.residual);
  return leaves;
}

TEST_CASE("batch norm gradients") {
  on_every_cpu_implementation([] {
    for (const Shape& shape : shapes)
      for (const bool training : {true, false})
        for (const bool residual : {false, true})
          check_gradients(
              fmt::format("batch_norm {} training {} residual {}", shape.str(), training, residual),
              [&](const auto& leaves) { return apply_batch_norm(leaves, training, Activation::none); },
              leaves_of(random_inputs(shape, residual)), {.relative = 5e-3});
  });
}

// Differences across a kink say little, so the fused form is held against batch norm and its activation as
// two ops, each of which has been checked by differences.
TEST_CASE("the gradients of batch norm fused with an activation are those of the two ops") {
  on_every_cpu_implementation([] {
    for (const Shape& shape : small_and_large())
      for (const bool training : {true, false})
        for (const auto& test : {std::pair{Activation::relu, false},
                                 {Activation::relu, true},
                                 {Activation::relu6, false},
                                 {Activation::relu6, true}}) {
          const Activation activation = test.first;
          const bool residual = test.second;
          CAPTURE(shape.str());
          CAPTURE(static_cast<int>(activation));
          CAPTURE(training);
          CAPTURE(residual);
          const Tensor dy = random_tensor(shape, "dy");
          std::vector<Tensor> gradients;  // of the two ops' leaves, then of the fused op's
          for (const bool fused : {false, true}) {
            std::vector<Tensor> leaves;
            for (const Tensor& leaf : leaves_of(random_inputs(shape, residual)))
              leaves.push_back((leaf * 2.0F).clone().require_grad());  // some y are above 6
            const Tensor y = apply_batch_norm(leaves, training, fused ? activation : Activation::none);
            backward(fused ? y : activation == Activation::relu ? relu(y) : relu6(y), dy);
            for (const Tensor& leaf : leaves) {
              REQUIRE(leaf.grad().defined());
              gradients.push_back(leaf.grad());
            }
          }
          const std::size_t count = gradients.size() / 2;
          for (std::size_t k = 0; k < count; ++k) {
            const auto wanted = gradients[k].data<float>();
            CHECK(relative_difference(gradients[count + k],
                                      std::vector<double>(wanted.begin(), wanted.end())) < 1e-6);
          }
        }
  });
}

TEST_CASE("parts give what their concatenation gives, and their statistics are found once") {
  on_every_cpu_implementation([] {
    const std::vector<BatchNormPart> parts = {testing::random_tensor({4, 3, 5, 7}, "a"),
                                              testing::random_tensor({4, 3, 5, 32}, "b") + 9.0F};
    const Tensor gamma = testing::random_tensor({39}, "gamma");
    const Tensor beta = testing::random_tensor({39}, "beta");
    BatchNormStatistics whole = fresh_statistics(39);
    BatchNormStatistics several = fresh_statistics(39);
    const Tensor wanted = batch_norm(
        {.parts = {concat({parts[0].x, parts[1].x})}, .gamma = gamma, .beta = beta, .residual = {}}, whole,
        {});
    for (int run = 0; run < 2; ++run) {  // with statistics to be found, and with known ones
      several = fresh_statistics(39);
      const Tensor y =
          batch_norm({.parts = parts, .gamma = gamma, .beta = beta, .residual = {}}, several, {});
      CHECK(testing::relative_difference(y, {wanted.data<float>().begin(), wanted.data<float>().end()}) <
            1e-6);
      for (const auto& [found, expected] :
           {std::pair{several.mean, whole.mean}, {several.variance, whole.variance}})
        CHECK(testing::relative_difference(
                  found, {expected.data<float>().begin(), expected.data<float>().end()}) < 1e-6);
      CHECK(parts[0].moments->defined());
    }
    // What is known of a part is not looked for in it again.
    backend(Device::cpu).fill(*parts[1].moments, 0.0);
    batch_norm({.parts = parts, .gamma = gamma, .beta = beta, .residual = {}}, several, {.momentum = 1.0F});
    CHECK(several.mean.data<float>()[38] == 0.0F);
  });
}

TEST_CASE("parameters and a residual that are used twice get the gradients of both uses") {
  on_every_cpu_implementation([] {
    const Shape shape{3, 4, 5, 6};
    const std::vector<Tensor> inputs{random_tensor(shape, "x"), random_tensor(shape, "residual"),
                                     random_tensor({6}, "gamma") + 1.5F, random_tensor({6}, "beta")};
    testing::check_gradients(
        "batch norm twice",
        [](const auto& in) {
          const auto normalised = [&](const Tensor& x) {
            BatchNormStatistics running{.mean = Tensor::zeros({6}), .variance = Tensor::full({6}, 1.0F)};
            return batch_norm({.parts = {x}, .gamma = in[2], .beta = in[3], .residual = in[1]}, running, {});
          };
          return normalised(normalised(in[0])) + 0.5F * normalised(in[0]);
        },
        inputs, {.relative = 5e-3});
  });
}

TEST_CASE("batch norm refuses a single value per channel, and shapes that do not fit") {
  BatchNormStatistics running = fresh_statistics(4);
  const BatchNormInputs single = random_inputs({1, 4}, false);
  CHECK_THROWS_WITH_AS(batch_norm(single, running, {}), doctest::Contains("more than one value"), Error);
  CHECK_NOTHROW(batch_norm(single, running, {.training = false}));
  CHECK_THROWS_WITH_AS(batch_norm(random_inputs({3, 5}, false), running, {}), doctest::Contains("{3, 5}"),
                       Error);
  BatchNormInputs parts = random_inputs({3, 4}, false);
  parts.parts.emplace_back(Tensor::zeros({2, 4}));
  CHECK_THROWS_WITH_AS(batch_norm(parts, running, {}),
                       "batch_norm: parts {3, 4} and {2, 4} of x differ in more than the last axis", Error);
}

}  // namespace
}  // namespace generous
