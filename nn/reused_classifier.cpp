#include "nn/reused_classifier.h"

#include "core/backend.h"

namespace generous {

Projector::Projector(std::int64_t in, std::int64_t out, std::int64_t factor) {
  const std::int64_t narrow = out / factor;
  const auto layer = [this](const Conv2dOptions& options) {
    append<Conv2d>(options);
    append<BatchNorm>(options.out);
    append<ReLU>();
  };
  layer(conv1x1(in, narrow, 1, Conv2dOptions::Weights::fan_in));
  layer(conv3x3(narrow, narrow, 1, Conv2dOptions::Weights::fan_in));
  layer(conv1x1(narrow, out, 1, Conv2dOptions::Weights::fan_in));
}

/// A linear layer that is not trained: its weights are buffers.
class ReusedClassifierHead::Frozen : public Module {
 public:
  Frozen(std::int64_t in, std::int64_t out)
      : weight_(add_buffer("weight", {out, in}, DType::f32, Init::constant(0.0F))),
        bias_(add_buffer("bias", {out}, DType::f32, Init::constant(0.0F))) {}
  Tensor forward(const Tensor& x) override { return linear(x, weight_, bias_); }
  void copy(const Classifier& from) {
    backend(weight_.device()).copy(from.weight.detach(), weight_);
    backend(bias_.device()).copy(from.bias.detach(), bias_);
  }

 private:
  Tensor weight_;
  Tensor bias_;
};

ReusedClassifierHead::ReusedClassifierHead(const ReusedClassifierOptions& options)
    : options_(options),
      transfer_(add<Projector>("transfer", options.in, options.channels, options.factor)),
      classifier_(add<Frozen>("classifier", options.channels, options.classes)) {}

Tensor ReusedClassifierHead::project(const Tensor& x) {
  const std::int64_t height = std::min(x.size(1), options_.height);
  const std::int64_t width = std::min(x.size(2), options_.width);
  const bool same = height == x.size(1) && width == x.size(2);
  return transfer_(same ? x : adaptive_avg_pool2d(x, height, width));
}

Tensor ReusedClassifierHead::classify(const Tensor& pooled) const { return classifier_.forward(pooled); }

void ReusedClassifierHead::reuse(const Classifier& classifier) { classifier_.copy(classifier); }

ReusedClassifier::ReusedClassifier(std::unique_ptr<Network> backbone, const ReusedClassifierOptions& options)
    : options_(options),
      backbone_(adopt("backbone", std::move(backbone))),
      head_(add<ReusedClassifierHead>("head", options)) {}

Tensor ReusedClassifier::forward(const Tensor& x, Features* features) {
  Features own;
  Features& all = features != nullptr ? *features : own;
  backbone_.forward(x, &all);
  all.stages.back() = head_.project(all.stages.back());
  all.before_relu.clear();
  all.norms.back() = nullptr;
  all.pooled = global_avg_pool(all.stages.back());
  return head_.classify(all.pooled);
}

}  // namespace generous
