#include "nn/models/mobilenetv2.h"

#include <array>

namespace generous {
namespace {

using Weights = Conv2dOptions::Weights;

constexpr std::int64_t last_width = 1280;  ///< what the classifier sees

struct StageSpec {
  std::int64_t expansion = 1;
  std::int64_t width = 0;
  std::int64_t blocks = 1;
  std::int64_t stride = 1;  ///< of the first block
};
using Plan = std::array<StageSpec, 7>;

/// The features are the stem's and these stages' outputs.
constexpr bool is_shown(std::size_t stage) { return stage == 1 || stage == 2 || stage == 4 || stage == 6; }

/// What all convolutions of a network have in common.
struct Style {
  bool bias = false;
  Activation activation = Activation::relu;
  Weights weights = Weights::fan_in;
  std::string body;  ///< name of a block's layers
};

const Style full_style{
    .bias = true, .activation = Activation::relu6, .weights = Weights::fan_in, .body = "residual"};
const Style half_style{
    .bias = false, .activation = Activation::relu, .weights = Weights::fan_out, .body = "conv"};

void append_conv(Sequential& body, Conv2dOptions conv, const Style& style) {
  conv.bias = style.bias;
  conv.weights = style.weights;
  body.append<Conv2d>(conv);
  body.append<BatchNorm>(conv.out);
}

void append_activated_conv(Sequential& body, const Conv2dOptions& conv, const Style& style) {
  append_conv(body, conv, style);
  if (style.activation == Activation::relu6)
    body.append<ReLU6>();
  else
    body.append<ReLU>();
}

struct BlockOptions {
  std::int64_t in = 0;
  std::int64_t expansion = 1;
  std::int64_t out = 0;
  std::int64_t stride = 1;
};

/// 1x1 to expansion * in channels, depthwise 3x3, 1x1 without activation; the input is added where the shape
/// stays.
class InvertedResidual : public Module {
 public:
  InvertedResidual(const Style& style, const BlockOptions& o)
      : body_(add<Sequential>(style.body)), keeps_shape_(o.stride == 1 && o.in == o.out) {
    const std::int64_t wide = o.expansion * o.in;
    append_activated_conv(body_, {.in = o.in, .out = wide, .kernel = 1}, style);
    append_activated_conv(
        body_, {.in = wide, .out = wide, .kernel = 3, .stride = o.stride, .padding = 1, .groups = wide},
        style);
    append_conv(body_, {.in = wide, .out = o.out, .kernel = 1}, style);
  }

  /// {N, H, W, in} -> {N, H / stride, W / stride, out}
  Tensor forward(const Tensor& x) override {
    return body_.forward(x, {.residual = keeps_shape_ ? x : Tensor()});
  }
  const BatchNorm* last_norm() const { return body_.last_norm(); }

 private:
  Sequential& body_;
  bool keeps_shape_;
};

struct InvertedStage {
  Module* module = nullptr;
  const InvertedResidual* last = nullptr;
};

/// The inverted residuals of a stage from `in` channels on, appended to `stage`.
const InvertedResidual& append_blocks(Sequential& stage, const Style& style, const StageSpec& spec,
                                      std::int64_t in) {
  const InvertedResidual* last = nullptr;
  for (std::int64_t b = 0; b < spec.blocks; ++b)
    last = &stage.append<InvertedResidual>(style, BlockOptions{.in = b == 0 ? in : spec.width,
                                                               .expansion = spec.expansion,
                                                               .out = spec.width,
                                                               .stride = b == 0 ? spec.stride : 1});
  return *last;
}

/// The stages one after another, into `features` those that are shown.
Tensor run_stages(const std::vector<InvertedStage>& stages, Tensor y, Features* features) {
  for (std::size_t s = 0; s < stages.size(); ++s) {
    y = stages[s].module->forward(y);
    if (is_shown(s)) StageTap(features).add(y, stages[s].last->last_norm());
  }
  return y;
}

class MobileNetV2 : public Network {
 public:
  explicit MobileNetV2(const ModelOptions& options) : pre_(add<Sequential>("pre")) {
    constexpr Plan plan{{{1, 16, 1, 1},
                         {6, 24, 2, 2},
                         {6, 32, 3, 2},
                         {6, 64, 4, 2},
                         {6, 96, 3, 1},
                         {6, 160, 3, 1},
                         {6, 320, 1, 1}}};
    std::int64_t channels = 32;
    append_activated_conv(pre_, {.in = options.image[2], .out = channels, .kernel = 1, .padding = 1},
                          full_style);
    for (std::size_t s = 0; s < plan.size(); ++s) {
      const std::string name = "stage" + std::to_string(s + 1);
      if (plan[s].blocks == 1) {
        auto& block = add<InvertedResidual>(
            name, full_style,
            BlockOptions{.in = channels, .expansion = plan[s].expansion, .out = plan[s].width});
        stages_.push_back({&block, &block});
      } else {
        auto& stage = add<Sequential>(name);
        stages_.push_back({&stage, &append_blocks(stage, full_style, plan[s], channels)});
      }
      channels = plan[s].width;
    }
    conv1_ = &add<Sequential>("conv1");
    append_activated_conv(*conv1_, {.in = channels, .out = last_width, .kernel = 1}, full_style);
    conv2_ = &add<Conv2d>("conv2",
                          Conv2dOptions{.in = last_width, .out = options.classes, .kernel = 1, .bias = true});
  }

  Tensor forward(const Tensor& x, Features* features) override {
    Tensor y = pre_(x);
    StageTap(features).add(y, nullptr);
    y = conv1_->forward(run_stages(stages_, y, features));
    const Tensor pooled = global_avg_pool(y);
    if (features != nullptr) features->pooled = pooled;
    const Tensor logits = conv2_->forward(reshape(cast(pooled, DType::f32), {x.size(0), 1, 1, last_width}));
    return reshape(logits, {x.size(0), logits.size(3)});
  }

 private:
  Sequential& pre_;
  std::vector<InvertedStage> stages_;
  Sequential* conv1_ = nullptr;
  Conv2d* conv2_ = nullptr;
};

class MobileHalf : public Network {
 public:
  explicit MobileHalf(const ModelOptions& options)
      : conv1_(add<Sequential>("conv1")), blocks_(add<Sequential>("blocks")) {
    constexpr Plan plan{{{1, 8, 1, 1},
                         {6, 12, 2, 1},
                         {6, 16, 3, 2},
                         {6, 32, 4, 2},
                         {6, 48, 3, 1},
                         {6, 80, 3, 2},
                         {6, 160, 1, 1}}};
    std::int64_t channels = 16;
    append_activated_conv(conv1_,
                          {.in = options.image[2], .out = channels, .kernel = 3, .stride = 2, .padding = 1},
                          half_style);
    for (const StageSpec& spec : plan) {
      auto& stage = blocks_.append<Sequential>();
      stages_.push_back({&stage, &append_blocks(stage, half_style, spec, channels)});
      channels = spec.width;
    }
    conv2_ = &add<Sequential>("conv2");
    append_activated_conv(*conv2_, {.in = channels, .out = last_width, .kernel = 1}, half_style);
    classifier_ = &add<Sequential>("classifier");
    classifier_->append<Linear>(last_width, options.classes,
                                LinearOptions{.weight = Init::normal(0.01F), .bias = Init::constant(0.0F)});
  }

  Tensor forward(const Tensor& x, Features* features) override {
    Tensor y = conv1_(x);
    StageTap(features).add(y, nullptr);
    y = conv2_->forward(run_stages(stages_, y, features));
    y = global_avg_pool(y);
    if (features != nullptr) features->pooled = y;
    return classifier_->forward(y);
  }

 private:
  Sequential& conv1_;
  Sequential& blocks_;
  std::vector<InvertedStage> stages_;  ///< of blocks_
  Sequential* conv2_ = nullptr;
  Sequential* classifier_ = nullptr;
};

}  // namespace

std::unique_ptr<Network> make_mobilenetv2(const ModelOptions& options) {
  return std::make_unique<MobileNetV2>(options);
}

std::unique_ptr<Network> make_mobile_half(const ModelOptions& options) {
  return std::make_unique<MobileHalf>(options);
}

}  // namespace generous
