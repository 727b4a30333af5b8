#include "nn/models/vgg.h"

#include <algorithm>
#include <array>

namespace generous {
namespace {

constexpr std::size_t stages = 5;
constexpr std::array<std::int64_t, stages> widths{64, 128, 256, 512, 512};

/// Convolutions of each stage.
std::array<int, stages> convolutions(int depth) {
  switch (depth) {
    case 8:
      return {1, 1, 1, 1, 1};
    case 11:
      return {1, 1, 2, 2, 2};
    case 13:
      return {2, 2, 2, 2, 2};
    case 16:
      return {2, 2, 3, 3, 3};
    case 19:
      return {2, 2, 4, 4, 4};
    default:
      fail("make_vgg: there is no depth {}", depth);
  }
}

class Vgg : public Network {
 public:
  Vgg(const std::array<int, stages>& depths, bool norms, const ModelOptions& options)
      : poolings_(std::min(options.image[0], options.image[1]) >= 64 ? 4 : 3) {
    std::int64_t channels = options.image[2];
    for (std::size_t s = 0; s < stages; ++s) {
      blocks_[s] = &add<Sequential>("block" + std::to_string(s));
      for (int i = 0; i < depths[s]; ++i) {
        if (i > 0) blocks_[s]->append<ReLU>();
        blocks_[s]->append<Conv2d>(biased_conv(channels, widths[s]));
        if (norms) blocks_[s]->append<BatchNorm>(widths[s]);
        channels = widths[s];
      }
    }
    classifier_ = &add<Linear>("classifier", channels, options.classes,
                               LinearOptions{.weight = Init::normal(0.01F), .bias = Init::constant(0.0F)});
  }

  /// A stage is seen before it is pooled.
  Tensor forward(const Tensor& x, Features* features) override {
    Tensor y = x;
    for (std::size_t s = 0; s < stages; ++s) {
      StageTap tap(features);
      Tensor* before_relu = s > 0 ? tap.before_relu() : nullptr;
      y = blocks_[s]->forward(y, {.activation = Activation::relu, .before_activation = before_relu});
      s > 0 ? tap.add(y, blocks_[s]->last_norm()) : tap.add_stem(y);
      if (s < poolings_) y = max_pool2d(y, {.kernel_h = 2, .kernel_w = 2, .stride = 2});
    }
    y = global_avg_pool(y);
    if (features != nullptr) features->pooled = y;
    return classifier_->forward(y);
  }

 private:
  static Conv2dOptions biased_conv(std::int64_t in, std::int64_t out) {
    Conv2dOptions options = conv3x3(in, out, 1, Conv2dOptions::Weights::fan_out);
    options.bias = true;
    return options;
  }

  std::size_t poolings_;
  std::array<Sequential*, stages> blocks_{};  ///< without the ReLU after their last layer
  Linear* classifier_ = nullptr;
};

}  // namespace

std::unique_ptr<Network> make_vgg(int depth, bool norms, const ModelOptions& options) {
  check_poolings("vgg" + std::to_string(depth) + (norms ? "_bn" : ""), options.image, 3);
  return std::make_unique<Vgg>(convolutions(depth), norms, options);
}

}  // namespace generous
