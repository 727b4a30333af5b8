// Mixtures of images: their distribution, and the formula against loops.
#include "data/mixing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "core/error.h"
#include "tests/core/cpu_implementations.h"

namespace generous {
namespace {

constexpr std::int64_t batch = 5;
constexpr std::int64_t height = 6;
constexpr std::int64_t width = 8;
constexpr std::int64_t channels = 3;
const Shape shape{batch, height, width, channels};
const Random stream(4, "mixing");

std::vector<float> mask_of(const Mixture& mixture) {
  const auto values = mixture.mask.data<float>();
  return {values.begin(), values.end()};
}

std::vector<std::int64_t> others_of(const Mixture& mixture) {
  const auto values = mixture.others.data<std::int64_t>();
  return {values.begin(), values.end()};
}

bool is_constant(const std::vector<float>& mask) {
  return std::ranges::all_of(mask, [&](float value) { return value == mask.front(); });
}

bool is_of_zeros_and_ones(const std::vector<float>& mask) {
  return std::ranges::all_of(mask, [](float value) { return value == 0.0F || value == 1.0F; });
}

double mean_of(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

TEST_CASE("mixup: one lambda for the batch, of Beta(A, A)") {
  for (const double a : {0.02, 0.2, 0.5, 1.0, 4.0}) {
    CAPTURE(a);
    constexpr int draws = 4000;
    double sum = 0.0;
    double squares = 0.0;
    for (std::int64_t step = 0; step < draws; ++step) {
      const std::vector<float> mask = mask_of(draw_mixture({.mixup = a}, stream, step, {2, 2, 3, 1}));
      REQUIRE(mask.size() == 6);
      REQUIRE(is_constant(mask));
      const auto lambda = static_cast<double>(mask[0]);
      REQUIRE((lambda >= 0.0 && lambda <= 1.0));  // false for NaN
      sum += lambda;
      squares += (lambda - 0.5) * (lambda - 0.5);
    }
    const double variance = 1.0 / (4.0 * (2.0 * a + 1.0));  // of Beta(a, a)
    CHECK(sum / draws == doctest::Approx(0.5).epsilon(10.0 * std::sqrt(variance / draws)));
    CHECK(squares / draws == doctest::Approx(variance).epsilon(0.1));
  }
}

TEST_CASE("CutMix: a box of zeros within the image, of the size that lambda says") {
  std::set<std::size_t> sizes;
  bool whole = false;
  for (std::int64_t step = 0; step < 2000; ++step) {
    const std::vector<float> mask = mask_of(draw_mixture({.cutmix = 1.0}, stream, step, shape));
    REQUIRE(is_of_zeros_and_ones(mask));
    std::int64_t top = height;
    std::int64_t bottom = 0;
    std::int64_t left = width;
    std::int64_t right = 0;
    std::size_t zeros = 0;
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t x = 0; x < width; ++x)
        if (mask[static_cast<std::size_t>(y * width + x)] == 0.0F) {
          ++zeros;
          top = std::min(top, y), bottom = std::max(bottom, y + 1);
          left = std::min(left, x), right = std::max(right, x + 1);
        }
    REQUIRE(zeros == static_cast<std::size_t>(zeros == 0 ? 0 : (bottom - top) * (right - left)));
    sizes.insert(zeros);
    whole = whole || zeros == mask.size();
  }
  CHECK(sizes.size() > 10);
  CHECK(sizes.contains(0));  // a lambda near 1 leaves a box without pixels
  CHECK_FALSE(whole);        // that would take a lambda of 0 in the very centre
}

TEST_CASE("both: each batch in one of the two ways, equally often") {
  int constant = 0;
  for (std::int64_t step = 0; step < 1000; ++step) {
    const std::vector<float> mask = mask_of(draw_mixture({.mixup = 1.0, .cutmix = 1.0}, stream, step, shape));
    const bool mixed_up = is_constant(mask) && mask[0] != 1.0F;
    CHECK((mixed_up || is_of_zeros_and_ones(mask)));
    constant += mixed_up ? 1 : 0;
  }
  CHECK(std::abs(constant - 500) < 80);  // five sigma
}

TEST_CASE("the others are a permutation; all is a function of stream and step") {
  std::set<std::vector<std::int64_t>> permutations;
  for (std::int64_t step = 0; step < 2000; ++step) {
    std::vector<std::int64_t> others = others_of(draw_mixture({.mixup = 0.2}, stream, step, shape));
    permutations.insert(others);
    std::ranges::sort(others);
    REQUIRE(others == std::vector<std::int64_t>{0, 1, 2, 3, 4});
  }
  CHECK(permutations.size() == 120);  // each of them, in 2000 draws
  const auto same = [](const Mixture& a, const Mixture& b) {
    return mask_of(a) == mask_of(b) && others_of(a) == others_of(b);
  };
  const MixingOptions options{.mixup = 0.2, .cutmix = 1.0};
  const std::int64_t late = 1LL << 40;
  CHECK(same(draw_mixture(options, stream, late, shape), draw_mixture(options, stream, late, shape)));
  CHECK_FALSE(same(draw_mixture(options, stream, late, shape), draw_mixture(options, stream, 0, shape)));
  CHECK_FALSE(
      same(draw_mixture(options, stream, 3, shape), draw_mixture(options, Random(5, "mixing"), 3, shape)));
  CHECK_THROWS_AS(draw_mixture({}, stream, 0, shape), Error);
}

TEST_CASE("mixed images and labels are those of loops") {
  on_every_cpu_implementation([] {
    Tensor images = Tensor::empty(shape);
    const Random random(1, "pixels");
    std::uint64_t next = 0;
    for (float& value : images.data<float>()) value = random.normal(0, 0, next++);
    const std::vector<std::int64_t> labels{3, 0, 2, 2, 1};
    for (std::int64_t step = 0; step < 6; ++step) {
      const Mixture mixture = draw_mixture({.mixup = 1.0, .cutmix = 1.0}, stream, step, shape);
      const Tensor mixed = mix_images(images, mixture);
      const std::vector<float> mask = mask_of(mixture);
      const std::vector<std::int64_t> others = others_of(mixture);
      REQUIRE(mixed.shape() == shape);
      const auto at = [](std::int64_t b, std::int64_t pixel, std::int64_t c) {
        return static_cast<std::size_t>((b * height * width + pixel) * channels + c);
      };
      for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t pixel = 0; pixel < height * width; ++pixel)
          for (std::int64_t c = 0; c < channels; ++c) {
            const auto m = static_cast<double>(mask[static_cast<std::size_t>(pixel)]);
            const auto in = images.data<float>();
            const double expected =
                m * static_cast<double>(in[at(b, pixel, c)]) +
                (1.0 - m) * static_cast<double>(in[at(others[static_cast<std::size_t>(b)], pixel, c)]);
            CHECK(std::abs(static_cast<double>(mixed.data<float>()[at(b, pixel, c)]) - expected) < 1e-6);
          }
      const Tensor mixed_in = labels_mixed_in(Tensor::from(labels, {batch}), 4, mixture);
      for (std::size_t b = 0; b < labels.size(); ++b)
        CHECK(mixed_in.data<std::int64_t>()[b] == labels[static_cast<std::size_t>(others[b])]);
    }
  });
}

TEST_CASE("CutMix on average: the box has the share 1 - lambda where it lies inside") {
  // Over all draws the box covers less than 1/2, the mean of 1 - lambda, because of what is cut off.
  double share = 0.0;
  constexpr int draws = 3000;
  for (std::int64_t step = 0; step < draws; ++step)
    share += mean_of(mask_of(draw_mixture({.cutmix = 1.0}, stream, step, {1, 64, 64, 1})));
  // The expected share of one axis is s - s^2 / 4 for a side s: with lambda uniform, t = 1 - lambda = s^2,
  // E (s - s^2/4)^2 = E [t - t^1.5 / 2 + t^2 / 16] = 1/2 - 1/5 + 1/48.
  CHECK(1.0 - share / draws == doctest::Approx(0.5 - 0.2 + 1.0 / 48.0).epsilon(0.05));
}

}  // namespace generous
