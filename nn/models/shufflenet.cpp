#include "nn/models/shufflenet.h"

#include <array>

namespace generous {
namespace {

constexpr std::int64_t stem = 24;
constexpr std::int64_t unit_groups = 3;

struct UnitOptions {
  std::int64_t in = 0;
  std::int64_t out = 0;
  bool first = false;  ///< of a stage: it halves the image
};

/// Grouped 1x1 to a quarter of the width, shuffle, depthwise 3x3, grouped 1x1. The first unit of a stage
/// concatenates its average-pooled input, the others add their input.
class ShuffleUnit : public Module {
 public:
  explicit ShuffleUnit(const UnitOptions& o) : ShuffleUnit(o, o.first ? o.out - o.in : o.out) {}

  Tensor forward(const Tensor& x) override { return forward(x, nullptr); }
  /// {N, H, W, in} -> {N, H, W, out}, or half the image in a first unit.
  Tensor forward(const Tensor& x, Tensor* before_relu) {
    Tensor y = conv_bn_relu(conv1_, bn1_, x);
    if (groups_ > 1) y = channel_shuffle(y, groups_);
    y = conv_bn_relu(conv2_, bn2_, y);
    if (!first_) return conv_bn_add_relu(conv3_, bn3_, y, x, before_relu);
    // x has gone through a ReLU: the mean over it needs no other.
    const Tensor pooled = avg_pool2d(x, {.kernel_h = 3, .kernel_w = 3, .stride = 2, .padding = 1});
    const Tensor made = conv_bn_relu(conv3_, bn3_, y, before_relu);
    if (before_relu != nullptr) *before_relu = concat({*before_relu, pooled});
    return concat({made, pooled});
  }

 private:
  /// `made`: channels that are not the input's.
  ShuffleUnit(const UnitOptions& o, std::int64_t made)
      : first_(o.first),
        groups_(o.in == stem ? 1 : unit_groups),
        conv1_(
            add<Conv2d>("conv1", Conv2dOptions{.in = o.in, .out = made / 4, .kernel = 1, .groups = groups_})),
        bn1_(add<BatchNorm>("bn1", made / 4)),
        conv2_(add<Conv2d>("conv2", Conv2dOptions{.in = made / 4,
                                                  .out = made / 4,
                                                  .stride = o.first ? 2 : 1,
                                                  .padding = 1,
                                                  .groups = made / 4})),
        bn2_(add<BatchNorm>("bn2", made / 4)),
        conv3_(add<Conv2d>("conv3",
                           Conv2dOptions{.in = made / 4, .out = made, .kernel = 1, .groups = unit_groups})),
        bn3_(add<BatchNorm>("bn3", made)) {}

  bool first_;
  std::int64_t groups_;
  Conv2d& conv1_;
  BatchNorm& bn1_;
  Conv2d& conv2_;
  BatchNorm& bn2_;
  Conv2d& conv3_;
  BatchNorm& bn3_;
};

class ShuffleNet : public Network {
 public:
  explicit ShuffleNet(const ModelOptions& options)
      : conv1_(add<Conv2d>("conv1", Conv2dOptions{.in = options.image[2], .out = stem, .kernel = 1})),
        bn1_(add<BatchNorm>("bn1", stem)) {
    struct Spec {
      std::int64_t width;
      std::int64_t units;
    };
    std::int64_t channels = stem;
    for (const auto& [width, units] : {Spec{240, 4}, Spec{480, 8}, Spec{960, 4}}) {
      auto& layer = add<Stage<ShuffleUnit>>("layer" + std::to_string(layers_.size() + 1));
      for (std::int64_t u = 0; u < units; ++u) {
        layer.append(UnitOptions{.in = channels, .out = width, .first = u == 0});
        channels = width;
      }
      layers_.push_back(&layer);
    }
    linear_ = &add<Linear>("linear", channels, options.classes);
  }

  Tensor forward(const Tensor& x, Features* features) override {
    Tensor y = conv_bn_relu(conv1_, bn1_, x);
    StageTap(features).add_stem(y);
    for (Stage<ShuffleUnit>* layer : layers_) {
      StageTap tap(features);
      y = layer->forward(y, tap.before_relu());
      tap.add(y, nullptr);
    }
    y = global_avg_pool(y);
    if (features != nullptr) features->pooled = y;
    return linear_->forward(y);
  }

 private:
  Conv2d& conv1_;
  BatchNorm& bn1_;
  std::vector<Stage<ShuffleUnit>*> layers_;
  Linear* linear_ = nullptr;
};

}  // namespace

std::unique_ptr<Network> make_shufflev1(const ModelOptions& options) {
  return std::make_unique<ShuffleNet>(options);
}

}  // namespace generous
