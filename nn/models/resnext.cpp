#include "nn/models/resnext.h"

#include <cmath>

namespace generous {
namespace {

constexpr auto fan_out = Conv2dOptions::Weights::fan_out;

struct Settings {
  std::int64_t cardinality = 8;
  std::int64_t depth = 29;
  std::int64_t widen_factor = 4;
};

struct BlockOptions {
  std::int64_t in = 0;
  std::int64_t inner = 0;  ///< channels of the grouped convolution
  std::int64_t groups = 1;
  std::int64_t out = 0;
  std::int64_t stride = 1;
};

/// The convolution and batch norm of a block whose width changes.
class Shortcut : public Module {
 public:
  explicit Shortcut(const BlockOptions& o)
      : conv_(add<Conv2d>("shortcut_conv", conv1x1(o.in, o.out, o.stride, fan_out))),
        bn_(add<BatchNorm>("shortcut_bn", o.out)) {}
  Tensor forward(const Tensor& x) override { return conv_bn(conv_, bn_, x); }

 private:
  Conv2d& conv_;
  BatchNorm& bn_;
};

class ResNeXtBlock : public Module {
 public:
  explicit ResNeXtBlock(const BlockOptions& o)
      : conv_reduce_(add<Conv2d>("conv_reduce", conv1x1(o.in, o.inner, 1, fan_out))),
        bn_reduce_(add<BatchNorm>("bn_reduce", o.inner)),
        conv_conv_(add<Conv2d>("conv_conv", grouped_conv(o))),
        bn_(add<BatchNorm>("bn", o.inner)),
        conv_expand_(add<Conv2d>("conv_expand", conv1x1(o.inner, o.out, 1, fan_out))),
        bn_expand_(add<BatchNorm>("bn_expand", o.out)),
        shortcut_(o.in == o.out ? nullptr : &add<Shortcut>("shortcut", o)) {}

  Tensor forward(const Tensor& x) override { return forward(x, nullptr); }
  /// {N, H, W, in} -> {N, H / stride, W / stride, out}
  Tensor forward(const Tensor& x, Tensor* before_relu) {
    Tensor y = conv_bn_relu(conv_reduce_, bn_reduce_, x);
    y = conv_bn_relu(conv_conv_, bn_, y);
    const Tensor residual = shortcut_ != nullptr ? shortcut_->forward(x) : x;
    return conv_bn_add_relu(conv_expand_, bn_expand_, y, residual, before_relu);
  }
  const BatchNorm& last_norm() const { return bn_expand_; }

 private:
  static Conv2dOptions grouped_conv(const BlockOptions& o) {
    Conv2dOptions options = conv3x3(o.inner, o.inner, o.stride, fan_out);
    options.groups = o.groups;
    return options;
  }

  Conv2d& conv_reduce_;
  BatchNorm& bn_reduce_;
  Conv2d& conv_conv_;
  BatchNorm& bn_;
  Conv2d& conv_expand_;
  BatchNorm& bn_expand_;
  Shortcut* shortcut_;  ///< nullptr: the identity
};

class ResNeXt : public Network {
 public:
  ResNeXt(const Settings& settings, const ModelOptions& options)
      : conv_(add<Conv2d>("conv_1_3x3", conv3x3(options.image[2], stem, 1, fan_out))),
        bn_(add<BatchNorm>("bn_1", stem)) {
    std::int64_t channels = stem;
    for (std::int64_t s = 0; s < 3; ++s) {
      const std::string name = "stage_" + std::to_string(s + 1);
      auto& stage = add<Stage<ResNeXtBlock>>(name);
      const std::int64_t width = stem << s;
      for (std::int64_t b = 0; b < (settings.depth - 2) / 9; ++b) {
        stage.append_as(name + "_bottleneck_" + std::to_string(b),
                        BlockOptions{.in = channels,
                                     .inner = settings.cardinality * width,
                                     .groups = settings.cardinality,
                                     .out = settings.widen_factor * width,
                                     .stride = s > 0 && b == 0 ? 2 : 1});
        channels = settings.widen_factor * width;
      }
      stages_.push_back(&stage);
    }
    const float std = std::sqrt(2.0F / static_cast<float>(channels));
    classifier_ = &add<Linear>("classifier", channels, options.classes,
                               LinearOptions{.weight = Init::normal(std), .bias = Init::constant(0.0F)});
  }

  Tensor forward(const Tensor& x, Features* features) override {
    Tensor y = conv_bn_relu(conv_, bn_, x);
    StageTap(features).add_stem(y);
    for (Stage<ResNeXtBlock>* stage : stages_) {
      StageTap tap(features);
      y = stage->forward(y, tap.before_relu());
      tap.add(y, &stage->tap().last_norm());
    }
    y = global_avg_pool(y);
    if (features != nullptr) features->pooled = y;
    return classifier_->forward(y);
  }

 private:
  static constexpr std::int64_t stem = 64;

  Conv2d& conv_;
  BatchNorm& bn_;
  std::vector<Stage<ResNeXtBlock>*> stages_;
  Linear* classifier_ = nullptr;
};

class ResNeXtFamily : public ModelFamily {
 public:
  void declare(Options& options) override {
    options.add("cardinality", settings_.cardinality,
                {.help = "resnext29: groups of its 3x3 convolutions", .min = 1, .max = 64});
    options.add("depth", settings_.depth, {.help = "resnext29: layers, 9n + 2", .min = 11, .max = 1001});
    options.add("widen_factor", settings_.widen_factor,
                {.help = "resnext29: its stages' width in units of 64, 128, 256", .min = 1, .max = 64});
  }

  std::unique_ptr<Network> build(const ModelOptions& options) const override {
    require(settings_.depth % 9 == 2, "resnext29: depth is {}, expected 9n + 2, such as 29", settings_.depth);
    return std::make_unique<ResNeXt>(settings_, options);
  }

 private:
  Settings settings_;
};

}  // namespace

std::unique_ptr<ModelFamily> make_resnext_family() { return std::make_unique<ResNeXtFamily>(); }

}  // namespace generous
