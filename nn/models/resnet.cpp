#include "nn/models/resnet.h"

namespace generous {
namespace {

struct BlockOptions {
  std::int64_t in = 0;     ///< channels of the block's input
  std::int64_t width = 0;  ///< of the stage
  std::int64_t stride = 1;
};

/// What both kinds of block share: the shortcut.
class ResidualBlock : public Module {
 public:
  Tensor forward(const Tensor& x) final { return forward(x, nullptr); }
  virtual Tensor forward(const Tensor& x, Tensor* before_relu) = 0;

 protected:
  /// To be called last: the shortcut follows the other layers in the state.
  void add_shortcut(const ResNetSpec& spec, const BlockOptions& options, std::int64_t out) {
    if (options.stride == 1 && options.in == out) return;
    shortcut_ = &add<Sequential>(spec.shortcut_name);
    shortcut_->append<Conv2d>(conv1x1(options.in, out, options.stride, spec.weights));
    shortcut_->append<BatchNorm>(out);
  }
  Tensor shortcut(const Tensor& x) { return shortcut_ != nullptr ? shortcut_->forward(x) : x; }

 private:
  Sequential* shortcut_ = nullptr;  ///< nullptr: the identity
};

class BasicBlock : public ResidualBlock {
 public:
  static constexpr std::int64_t expansion = 1;

  BasicBlock(const ResNetSpec& spec, const BlockOptions& o)
      : conv1_(add<Conv2d>("conv1", conv3x3(o.in, o.width, o.stride, spec.weights))),
        bn1_(add<BatchNorm>("bn1", o.width)),
        conv2_(add<Conv2d>("conv2", conv3x3(o.width, o.width, 1, spec.weights))),
        bn2_(add<BatchNorm>("bn2", o.width)) {
    add_shortcut(spec, o, o.width);
  }

  /// {N, H, W, in} -> {N, H / stride, W / stride, width}
  Tensor forward(const Tensor& x, Tensor* before_relu) override {
    const Tensor y = conv_bn_relu(conv1_, bn1_, x);
    return conv_bn_add_relu(conv2_, bn2_, y, shortcut(x), before_relu);
  }
  const BatchNorm& last_norm() const { return bn2_; }

 private:
  Conv2d& conv1_;
  BatchNorm& bn1_;
  Conv2d& conv2_;
  BatchNorm& bn2_;
};

class Bottleneck : public ResidualBlock {
 public:
  static constexpr std::int64_t expansion = 4;

  Bottleneck(const ResNetSpec& spec, const BlockOptions& o)
      : conv1_(add<Conv2d>("conv1", conv1x1(o.in, o.width, 1, spec.weights))),
        bn1_(add<BatchNorm>("bn1", o.width)),
        conv2_(add<Conv2d>("conv2", conv3x3(o.width, o.width, o.stride, spec.weights))),
        bn2_(add<BatchNorm>("bn2", o.width)),
        conv3_(add<Conv2d>("conv3", conv1x1(o.width, expansion * o.width, 1, spec.weights))),
        bn3_(add<BatchNorm>("bn3", expansion * o.width)) {
    add_shortcut(spec, o, expansion * o.width);
  }

  /// {N, H, W, in} -> {N, H / stride, W / stride, 4 width}
  Tensor forward(const Tensor& x, Tensor* before_relu) override {
    Tensor y = conv_bn_relu(conv1_, bn1_, x);
    y = conv_bn_relu(conv2_, bn2_, y);
    return conv_bn_add_relu(conv3_, bn3_, y, shortcut(x), before_relu);
  }
  const BatchNorm& last_norm() const { return bn3_; }

 private:
  Conv2d& conv1_;
  BatchNorm& bn1_;
  Conv2d& conv2_;
  BatchNorm& bn2_;
  Conv2d& conv3_;
  BatchNorm& bn3_;
};

template <class Block>
class ResNet : public Network {
 public:
  ResNet(const ResNetSpec& spec, const ModelOptions& options)
      : conv1_(add<Conv2d>("conv1", conv3x3(options.image[2], spec.stem, 1, spec.weights))),
        bn1_(add<BatchNorm>("bn1", spec.stem)) {
    std::int64_t channels = spec.stem;
    for (std::size_t s = 0; s < spec.widths.size(); ++s) {
      auto& stage = add<Stage<Block>>("layer" + std::to_string(s + 1));
      for (std::int64_t b = 0; b < spec.blocks[s]; ++b) {
        const std::int64_t stride = s > 0 && b == 0 ? 2 : 1;
        stage.append(spec, BlockOptions{.in = channels, .width = spec.widths[s], .stride = stride});
        channels = Block::expansion * spec.widths[s];
      }
      stages_.push_back(&stage);
    }
    classifier_ = &add<Linear>(spec.classifier_name, channels, options.classes);
  }

  Tensor forward(const Tensor& x, Features* features) override {
    Tensor y = conv_bn_relu(conv1_, bn1_, x);
    StageTap(features).add_stem(y);
    for (Stage<Block>* stage : stages_) {
      StageTap tap(features);
      y = stage->forward(y, tap.before_relu());
      tap.add(y, &stage->tap().last_norm());
    }
    y = global_avg_pool(y);
    if (features != nullptr) features->pooled = y;
    return classifier_->forward(y);
  }

 private:
  Conv2d& conv1_;
  BatchNorm& bn1_;
  std::vector<Stage<Block>*> stages_;
  Linear* classifier_ = nullptr;
};

}  // namespace

std::unique_ptr<Network> make_resnet(const ResNetSpec& spec, const ModelOptions& options) {
  if (spec.bottleneck) return std::make_unique<ResNet<Bottleneck>>(spec, options);
  return std::make_unique<ResNet<BasicBlock>>(spec, options);
}

ResNetSpec resnet_spec(int depth) {
  ResNetSpec spec;
  spec.widths = {64, 128, 256, 512};
  switch (depth) {
    case 18:
      spec.blocks = {2, 2, 2, 2};
      return spec;
    case 34:
      spec.blocks = {3, 4, 6, 3};
      return spec;
    case 50:
      spec.blocks = {3, 4, 6, 3};
      spec.bottleneck = true;
      return spec;
    case 101:
      spec.blocks = {3, 4, 23, 3};
      spec.bottleneck = true;
      return spec;
    case 152:
      spec.blocks = {3, 8, 36, 3};
      spec.bottleneck = true;
      return spec;
    default:
      fail("resnet_spec: there is no depth {}", depth);
  }
}

}  // namespace generous
