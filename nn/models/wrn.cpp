#include "nn/models/wrn.h"

#include <charconv>

#include "nn/layers.h"

namespace generous {
namespace {

constexpr auto fan_out = Conv2dOptions::Weights::fan_out;

/// The published implementation for CIFAR-100 passes every stage's output through the batch norm that follows
/// it twice in a training step, for the logits and for the stage's feature before the ReLU: running
/// statistics there move by 0.1 twice, which is 1 - 0.9^2 once. The reference values have it.
constexpr float usual_momentum = 0.1F;
constexpr float after_stage_momentum = 0.19F;

class WrnBlock : public Module {
 public:
  WrnBlock(std::int64_t in, std::int64_t out, std::int64_t stride, float bn1_momentum)
      : bn1_(add<BatchNorm>("bn1", in, bn1_momentum)),
        conv1_(add<Conv2d>("conv1", conv3x3(in, out, stride, fan_out))),
        bn2_(add<BatchNorm>("bn2", out)),
        conv2_(add<Conv2d>("conv2", conv3x3(out, out, 1, fan_out))),
        shortcut_(in == out ? nullptr : &add<Conv2d>("convShortcut", conv1x1(in, out, stride, fan_out))) {}

  /// {N, H, W, in} -> {N, H / stride, W / stride, out}. Where the widths differ the shortcut is a convolution
  /// of the activated input, otherwise the raw input itself.
  /// `before_relu`, if not nullptr, gets the first batch norm's output.
  Tensor forward(const Tensor& x, Tensor* before_relu) {
    const Tensor activated = bn1_.then_relu(x, before_relu);
    const Tensor y = conv_bn_relu(conv1_, bn2_, activated);
    return conv_add(conv2_, y, shortcut_ != nullptr ? shortcut_->forward(activated) : x);
  }
  Tensor forward(const Tensor& x) override { return forward(x, nullptr); }
  const BatchNorm& first_norm() const { return bn1_; }

 private:
  BatchNorm& bn1_;
  Conv2d& conv1_;
  BatchNorm& bn2_;
  Conv2d& conv2_;
  Conv2d* shortcut_;
};

/// The blocks of one stage, under the name "layer".
class WrnStage : public Module {
 public:
  WrnStage(std::int64_t blocks, std::int64_t in, std::int64_t out, std::int64_t stride, float bn1_momentum)
      : layer_(add<Stage<WrnBlock, TappedBlock::first>>("layer")) {
    layer_.append(in, out, stride, bn1_momentum);
    for (std::int64_t b = 1; b < blocks; ++b) layer_.append(out, out, 1, usual_momentum);
  }
  Tensor forward(const Tensor& x) override { return layer_(x); }
  Tensor forward(const Tensor& x, Tensor* before_relu) { return layer_.forward(x, before_relu); }
  const BatchNorm& first_norm() const { return layer_.tap().first_norm(); }

 private:
  Stage<WrnBlock, TappedBlock::first>& layer_;
};

class Wrn : public Network {
 public:
  Wrn(std::int64_t blocks, std::int64_t k, const ModelOptions& options)
      : conv1_(add<Conv2d>("conv1", conv3x3(options.image[2], 16, 1, fan_out))),
        block1_(add<WrnStage>("block1", blocks, 16, 16 * k, 1, usual_momentum)),
        block2_(add<WrnStage>("block2", blocks, 16 * k, 32 * k, 2, after_stage_momentum)),
        block3_(add<WrnStage>("block3", blocks, 32 * k, 64 * k, 2, after_stage_momentum)),
        bn1_(add<BatchNorm>("bn1", 64 * k, after_stage_momentum)),
        fc_(add<Linear>("fc", 64 * k, options.classes, LinearOptions{.bias = Init::constant(0.0F)})) {}

  /// A stage's output is before the ReLU of the next stage's first block, or of the last batch norm.
  Tensor forward(const Tensor& x, Features* features) override {
    Tensor y = conv1_(x);
    StageTap(features).add_stem(y);
    y = block1_(y);
    for (WrnStage* stage : {&block2_, &block3_}) {
      StageTap tap(features);
      const Tensor next = stage->forward(y, tap.before_relu());
      tap.add(y, &stage->first_norm());
      y = next;
    }
    StageTap tap(features);
    const Tensor activated = bn1_.then_relu(y, tap.before_relu());
    tap.add(y, &bn1_);
    y = global_avg_pool(activated);
    if (features != nullptr) features->pooled = y;
    return fc_(y);
  }

 private:
  Conv2d& conv1_;
  WrnStage& block1_;
  WrnStage& block2_;
  WrnStage& block3_;
  BatchNorm& bn1_;
  Linear& fc_;
};

/// A number of one to four digits without a leading zero; 0 for anything else.
std::int64_t parse_number(std::string_view text) {
  std::int64_t value = 0;
  if (text.empty() || text.size() > 4 || text[0] < '1' || text[0] > '9') return 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : 0;
}

}  // namespace

WrnShape parse_wrn(const std::string& name) {
  const std::size_t first = name.find('_');
  const std::size_t second = first == std::string::npos ? first : name.find('_', first + 1);
  WrnShape shape;
  if (second != std::string::npos) {
    const std::string_view text = name;
    shape = {.depth = parse_number(text.substr(first + 1, second - first - 1)),
             .widen_factor = parse_number(text.substr(second + 1))};
  }
  const bool good = shape.depth >= 10 && shape.depth <= 1000 && shape.depth % 6 == 4 &&
                    shape.widen_factor >= 1 && shape.widen_factor <= 100;
  require(
      good,
      "model '{}': expected wrn_D_K with D = 6n + 4 from 10 to 1000 and K from 1 to 100, such as wrn_40_2",
      name);
  return shape;
}

std::unique_ptr<Network> make_wrn(const WrnShape& shape, const ModelOptions& options) {
  return std::make_unique<Wrn>((shape.depth - 4) / 6, shape.widen_factor, options);
}

}  // namespace generous
