// Sums for batch norm that the convolution before it makes: when it does, and that they are right.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "apps/training/train_step.h"
#include "nn/distill/none.h"
#include "nn/models/registry.h"
#include "tests/core/gradcheck.h"
#include "tests/emulation/emulation.h"
#include "tests/emulation/libraries.h"

namespace generous {
namespace {

using testing::random_tensor;

Backend& gpu() { return backend(Device::cuda); }

/// By number: those of cuDNN that make such sums, and all others.
const std::set<std::int64_t> engines_of_sums{9, 10};
const std::set<std::int64_t> other_engines{0, 1, 2, 3, 4, 5, 6, 7, 8};

bool sums_were_made() { return engines_of_sums.contains(emulation::libraries().last_engine); }

/// A new backend that measures, with some engines slow, and no backend and the libraries as installed at the
/// end.
class Measuring {
 public:
  explicit Measuring(const std::set<std::int64_t>& slow = other_engines) {
    forget();
    emulation::libraries().slow_engines = slow;
    gpu().choose_algorithms({.convolutions = ConvolutionChoice::measured});
  }
  ~Measuring() { forget(); }
  Measuring(const Measuring&) = delete;
  Measuring& operator=(const Measuring&) = delete;

 private:
  static void forget() {
    register_backend(Device::cuda, nullptr);
    emulation::reset();
    emulation::reset_libraries();
  }
};

/// Convolutions of one weight, each with a batch norm behind it.
class Layer {
 public:
  explicit Layer(const Conv2dParams& params = {.padding = 1}) : Layer(0.0F, {3, 7, 5, 4}, params) {}
  /// For images of a shape; `mean`: about that of the output, whose deviation is about 1.
  Layer(float mean, const Shape& images, const Conv2dParams& params = {.padding = 1}) : params_(params) {
    const std::int64_t taps = 9 * 4;
    weight_ = (random_tensor({6, 3, 3, 4 / params.groups}, "weight") * (1.0F / std::sqrt(float{taps})))
                  .to(Device::cuda);
    images_ = cast(random_tensor(images, "x"), DType::bf16).to(Device::cuda);
    residual_ = cast(random_tensor({images[0], images[1], images[2], 6}, "r") * 0.5F + mean, DType::bf16)
                    .to(Device::cuda);
  }
  Tensor convolve(bool adds) const {
    return adds ? conv2d_add(images_, weight_, residual_, params_) : conv2d(images_, weight_, {}, params_);
  }
  /// y, and the moments of x that it went by.
  struct Normalised {
    std::vector<float> y, mean, variance;
  };
  Normalised normalise(const Tensor& x) const {
    const auto filled = [](float value) { return Tensor::full({6}, value, Device::cuda); };
    BatchNormStatistics running{.mean = filled(0.0F), .variance = filled(0.0F)};
    const Tensor y = batch_norm({.parts = {x}, .gamma = filled(1.5F), .beta = filled(-0.5F), .residual = {}},
                                running, {.training = true, .momentum = 1.0F});
    const auto values = [](const Tensor& from) {
      const Tensor host = cast(from, DType::f32).to(Device::cpu);
      return std::vector<float>(host.data<float>().begin(), host.data<float>().end());
    };
    return {values(y), values(running.mean), values(running.variance)};
  }
  /// Both in turn.
  Normalised run(bool adds = false) const { return normalise(convolve(adds)); }

 private:
  Conv2dParams params_;
  Tensor weight_, images_, residual_;
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(double{a[i]} - b[i]) / (1e-3 + std::abs(double{b[i]})));
  return largest;
}

TEST_CASE("a convolution makes the sums once the batch norm behind it has asked for them") {
  for (const bool adds : {false, true}) {
    const Measuring measuring;
    const Layer layer;
    const auto apart = layer.run(adds);
    CHECK_FALSE(sums_were_made());
    for (int again = 0; again < 2; ++again) {
      const auto together = layer.run(adds);
      CHECK(sums_were_made());
      CHECK(largest_difference(together.mean, apart.mean) < 1e-5);
      CHECK(largest_difference(together.variance, apart.variance) < 1e-5);
      CHECK(largest_difference(together.y, apart.y) < 1e-2);
    }
  }
}

TEST_CASE("one that no batch norm follows does not, nor one with a filter for each channel") {
  const Measuring measuring;
  const Layer alone;
  for (int i = 0; i < 3; ++i) {
    alone.convolve(false);
    CHECK_FALSE(sums_were_made());
  }
  const Layer grouped({.padding = 1, .groups = 2});
  for (int i = 0; i < 2; ++i) grouped.run();
  CHECK(sums_were_made());
}

TEST_CASE("sums are made only where that is faster, or at all possible") {
  for (const bool possible : {true, false}) {
    const Measuring measuring(possible ? engines_of_sums : other_engines);
    if (!possible) emulation::libraries().refusal = {.engine = -1, .at_planning = 0, .at_execution = 3000};
    const Layer layer;
    const auto first = layer.run();
    CHECK(layer.run().variance == first.variance);
    CHECK_FALSE(sums_were_made());
  }
}

TEST_CASE("without measuring, no kernels are compiled for them") {
  const Measuring measuring;
  gpu().choose_algorithms({});
  const Layer layer;
  for (int i = 0; i < 3; ++i) layer.run();
  CHECK_FALSE(sums_were_made());
}

TEST_CASE("sums of what was written over since are not taken") {
  const Measuring measuring;
  const Layer layer;
  layer.run();
  Tensor x = layer.convolve(false);
  CHECK(sums_were_made());
  gpu().affine(x, 2.0F, 1.0F, x);
  const auto found = layer.normalise(x);
  const auto wanted = layer.normalise(x.clone());
  CHECK(found.mean == wanted.mean);
  CHECK(found.variance == wanted.variance);
}

// What is added up is of the size of the mean's square, and so is what the rounding of an f32 sum leaves; the
// images, of bf16, are themselves good to 4e-3.
TEST_CASE("the variance from sums over 131,072 pixels is good to some 1e-6 of the mean's square") {
  for (const float mean : {0.0F, 1.0F, 3.0F, 10.0F, 30.0F}) {
    const Measuring measuring;
    const Layer layer(mean, {128, 32, 32, 4});
    const auto apart = layer.run(true);
    const auto together = layer.run(true);
    REQUIRE(sums_were_made());
    const double error = largest_difference(together.variance, apart.variance);
    MESSAGE("mean " << mean << ": the variance differs by " << error);
    CHECK(error < 5e-6 * (1.0 + mean * mean));
    CHECK(largest_difference(together.mean, apart.mean) < 1e-5);
  }
}

/// The losses of some steps of a network in bf16.
std::vector<float> losses_of(const std::string& name) {
  const auto model = make_model(name, {.classes = 5, .device = Device::cuda});
  const auto optimizer = make_sgd(*model, {});
  const auto method = make_none();
  TrainStep step({*model, nullptr, *method}, *optimizer,
                 {.dtype = DType::bf16, .device = Device::cuda, .batch_size = 3});
  const Batch batch{random_tensor({3, 32, 32, 3}, "images").to(Device::cuda),
                    Tensor::zeros({3}, DType::i64, Device::cuda)};
  optimizer->set_learning_rate(0.01F);
  step.start_epoch(0);
  std::vector<float> losses;
  for (std::int64_t i = 0; i < 5; ++i) losses.push_back(step.run(batch, i).read().loss);
  return losses;
}

TEST_CASE("networks learn alike with them, by hand and recorded") {
  for (const std::string name : {"resnet8", "preresnet20", "vgg8_bn"}) {
    CAPTURE(name);
    std::vector<float> apart;
    {
      const Measuring measuring;
      gpu().choose_algorithms({});
      apart = losses_of(name);
    }
    const Measuring measuring;
    const std::vector<float> together = losses_of(name);
    for (std::size_t i = 0; i < apart.size(); ++i)
      CHECK(together[i] == doctest::Approx(apart[i]).epsilon(0.02));
  }
}

}  // namespace
}  // namespace generous
