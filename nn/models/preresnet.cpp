#include "nn/models/preresnet.h"

#include "nn/layers.h"

namespace generous {
namespace {

constexpr auto fan_out = Conv2dOptions::Weights::fan_out;

struct BlockOptions {
  std::int64_t in = 0;     ///< channels of the block's input
  std::int64_t width = 0;  ///< of the stage
  std::int64_t stride = 1;
};

/// What both kinds of block share: the shortcut, which takes the block's raw input.
class PreActivationBlock : public Module {
 public:
  Tensor forward(const Tensor& x) final { return forward(x, nullptr); }
  /// `before_relu`, if not nullptr, gets the first batch norm's output.
  virtual Tensor forward(const Tensor& x, Tensor* before_relu) = 0;

 protected:
  /// To be called last: the shortcut follows the other layers in the state.
  void add_shortcut(const BlockOptions& options, std::int64_t out) {
    if (options.stride == 1 && options.in == out) return;
    downsample_ = &add<Sequential>("downsample");
    downsample_->append<Conv2d>(conv1x1(options.in, out, options.stride, fan_out));
  }
  Tensor shortcut(const Tensor& x) { return downsample_ != nullptr ? downsample_->forward(x) : x; }

 private:
  Sequential* downsample_ = nullptr;  ///< nullptr: the identity
};

class PreBasicBlock : public PreActivationBlock {
 public:
  static constexpr std::int64_t expansion = 1;

  explicit PreBasicBlock(const BlockOptions& o)
      : bn1_(add<BatchNorm>("bn1", o.in)),
        conv1_(add<Conv2d>("conv1", conv3x3(o.in, o.width, o.stride, fan_out))),
        bn2_(add<BatchNorm>("bn2", o.width)),
        conv2_(add<Conv2d>("conv2", conv3x3(o.width, o.width, 1, fan_out))) {
    add_shortcut(o, o.width);
  }

  /// {N, H, W, in} -> {N, H / stride, W / stride, width}
  Tensor forward(const Tensor& x, Tensor* before_relu) override {
    const Tensor y = conv_bn_relu(conv1_, bn2_, bn1_.then_relu(x, before_relu));
    return conv_add(conv2_, y, shortcut(x));
  }
  const BatchNorm& first_norm() const { return bn1_; }

 private:
  BatchNorm& bn1_;
  Conv2d& conv1_;
  BatchNorm& bn2_;
  Conv2d& conv2_;
};

class PreBottleneck : public PreActivationBlock {
 public:
  static constexpr std::int64_t expansion = 4;

  explicit PreBottleneck(const BlockOptions& o)
      : bn1_(add<BatchNorm>("bn1", o.in)),
        conv1_(add<Conv2d>("conv1", conv1x1(o.in, o.width, 1, fan_out))),
        bn2_(add<BatchNorm>("bn2", o.width)),
        conv2_(add<Conv2d>("conv2", conv3x3(o.width, o.width, o.stride, fan_out))),
        bn3_(add<BatchNorm>("bn3", o.width)),
        conv3_(add<Conv2d>("conv3", conv1x1(o.width, expansion * o.width, 1, fan_out))) {
    add_shortcut(o, expansion * o.width);
  }

  /// {N, H, W, in} -> {N, H / stride, W / stride, 4 width}
  Tensor forward(const Tensor& x, Tensor* before_relu) override {
    Tensor y = conv_bn_relu(conv1_, bn2_, bn1_.then_relu(x, before_relu));
    y = conv_bn_relu(conv2_, bn3_, y);
    return conv_add(conv3_, y, shortcut(x));
  }
  const BatchNorm& first_norm() const { return bn1_; }

 private:
  BatchNorm& bn1_;
  Conv2d& conv1_;
  BatchNorm& bn2_;
  Conv2d& conv2_;
  BatchNorm& bn3_;
  Conv2d& conv3_;
};

template <class Block>
class PreResNet : public Network {
  using PreStage = Stage<Block, TappedBlock::first>;

 public:
  PreResNet(std::int64_t blocks, const ModelOptions& options)
      : conv1_(add<Conv2d>("conv1", conv3x3(options.image[2], 16, 1, fan_out))),
        stages_{&add<PreStage>("layer1"), &add<PreStage>("layer2"), &add<PreStage>("layer3")},
        bn_(add<BatchNorm>("bn", Block::expansion * 64)),
        fc_(add<Linear>("fc", Block::expansion * 64, options.classes)) {
    std::int64_t channels = 16;
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      const std::int64_t width = 16L << s;
      for (std::int64_t b = 0; b < blocks; ++b) {
        const std::int64_t stride = s > 0 && b == 0 ? 2 : 1;
        stages_[s]->append(BlockOptions{.in = channels, .width = width, .stride = stride});
        channels = Block::expansion * width;
      }
    }
  }

  /// A stage's output is before the ReLU of the next stage's first block, or of the last batch norm.
  Tensor forward(const Tensor& x, Features* features) override {
    Tensor y = conv1_(x);
    StageTap(features).add_stem(y);
    y = stages_[0]->forward(y);
    for (std::size_t s = 1; s < stages_.size(); ++s) {
      StageTap tap(features);
      const Tensor next = stages_[s]->forward(y, tap.before_relu());
      tap.add(y, &stages_[s]->tap().first_norm());
      y = next;
    }
    StageTap tap(features);
    const Tensor activated = bn_.then_relu(y, tap.before_relu());
    tap.add(y, &bn_);
    y = global_avg_pool(activated);
    if (features != nullptr) features->pooled = y;
    return fc_(y);
  }

 private:
  Conv2d& conv1_;
  std::vector<PreStage*> stages_;
  BatchNorm& bn_;
  Linear& fc_;
};

}  // namespace

std::unique_ptr<Network> make_preresnet(int depth, const ModelOptions& options) {
  require(depth >= 8 && depth % 6 == 2, "make_preresnet: depth {} is not 6n+2", depth);
  const std::int64_t blocks = (depth - 2) / 6;
  if (depth >= 44) return std::make_unique<PreResNet<PreBottleneck>>(blocks, options);
  return std::make_unique<PreResNet<PreBasicBlock>>(blocks, options);
}

}  // namespace generous
