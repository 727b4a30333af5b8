#include "data/mixing.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/ops.h"

namespace generous {

namespace {

// The random numbers of one step, one after the other.
class Draws {
 public:
  Draws(const Random& random, std::int64_t step) : random_(random), step_(static_cast<std::uint64_t>(step)) {}

  // In (0, 1): both ends have a logarithm.
  double uniform() { return (static_cast<double>(random_.bits(0, next_++, step_)[0]) + 0.5) * 0x1p-32; }
  double normal() { return static_cast<double>(random_.normal(0, next_++, step_)); }
  std::int64_t below(std::int64_t bound) {
    return random_.below(static_cast<std::uint32_t>(bound), 0, next_++, step_);
  }

 private:
  const Random& random_;
  std::uint64_t step_;
  std::uint32_t next_ = 0;
};

// The logarithm of a draw from Gamma(a): Marsaglia and Tsang, "A simple method for generating gamma
// variables", 2000. Below a = 1 it is Gamma(a + 1) U^(1/a), which for a small a only its logarithm can hold.
double log_gamma(double a, Draws& draws) {
  if (a < 1.0) {
    const double smaller = std::log(draws.uniform()) / a;
    return log_gamma(a + 1.0, draws) + smaller;
  }
  const double d = a - 1.0 / 3.0;
  for (;;) {
    const double x = draws.normal();
    const double root = 1.0 + x / std::sqrt(9.0 * d);
    if (root <= 0.0) continue;
    const double v = root * root * root;
    if (std::log(draws.uniform()) < 0.5 * x * x + d * (1.0 - v + std::log(v))) return std::log(d * v);
  }
}

// Beta(a, a): g / (g + h) of two draws from Gamma(a).
double beta(double a, Draws& draws) {
  const double g = log_gamma(a, draws);
  const double h = log_gamma(a, draws);
  return 1.0 / (1.0 + std::exp(h - g));
}

// The pixels [first, last) that a piece of `length` pixels around `centre` covers of `extent`.
std::pair<std::int64_t, std::int64_t> piece(std::int64_t centre, std::int64_t length, std::int64_t extent) {
  const std::int64_t half = length / 2;
  return {std::max<std::int64_t>(centre - half, 0), std::min(centre + half, extent)};
}

void cut_box(double lambda, Draws& draws, Tensor& mask) {
  const std::int64_t height = mask.size(1);
  const std::int64_t width = mask.size(2);
  const double side = std::sqrt(1.0 - lambda);
  const auto length = [side](std::int64_t extent) {
    return static_cast<std::int64_t>(static_cast<double>(extent) * side);
  };
  const auto [top, bottom] = piece(draws.below(height), length(height), height);
  const auto [left, right] = piece(draws.below(width), length(width), width);
  const std::span<float> values = mask.data<float>();
  std::ranges::fill(values, 1.0F);
  for (std::int64_t y = top; y < bottom; ++y)
    for (std::int64_t x = left; x < right; ++x) values[static_cast<std::size_t>(y * width + x)] = 0.0F;
}

}  // namespace

Mixture draw_mixture(const MixingOptions& options, const Random& random, std::int64_t step,
                     const Shape& batch) {
  require(options.on() && batch.rank() == 4, "mixing: found a batch {}, mixup {}, cutmix {}", batch.str(),
          options.mixup, options.cutmix);
  Draws draws(random, step);
  Mixture mixture{.mask = Tensor::empty({1, batch[1], batch[2], 1}),
                  .others = Tensor::empty({batch[0]}, DType::i64)};
  const bool both = options.mixup > 0.0 && options.cutmix > 0.0;
  const bool cut = both ? draws.uniform() < 0.5 : options.cutmix > 0.0;
  const double lambda = beta(cut ? options.cutmix : options.mixup, draws);
  if (cut)
    cut_box(lambda, draws, mixture.mask);
  else
    std::ranges::fill(mixture.mask.data<float>(), static_cast<float>(lambda));
  const std::span<std::int64_t> others = mixture.others.data<std::int64_t>();
  std::iota(others.begin(), others.end(), std::int64_t{0});
  for (std::size_t i = others.size(); i > 1; --i)  // Fisher and Yates's shuffle
    std::swap(others[i - 1], others[static_cast<std::size_t>(draws.below(static_cast<std::int64_t>(i)))]);
  return mixture;
}

Tensor mix_images(const Tensor& images, const Mixture& mixture) {
  const std::int64_t batch = images.size(0);
  const Tensor rows = reshape(images, {batch, images.numel() / batch});
  const Tensor others = reshape(gather_rows(rows, mixture.others), images.shape());
  return mixture.mask * images + (-mixture.mask + 1.0F) * others;
}

Tensor labels_mixed_in(const Tensor& labels, std::int64_t classes, const Mixture& mixture) {
  return argmax_rows(gather_rows(one_hot(labels, classes), mixture.others));  // rows are f32
}

}  // namespace generous
