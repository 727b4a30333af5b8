#include "nn/models/shufflenetv2.h"

#include <array>

namespace generous {
namespace {

constexpr std::int64_t stem = 24;

/// The two halves of an image's channels.
using Halves = std::array<Tensor, 2>;

/// A stage: a unit `Down` that halves the image, then units `Split` that leave the first half of their
/// channels as it is. Between units the halves are concatenated and shuffled in 2 groups, then split again:
/// half of each goes into the next one.
template <class Down, class Split>
class ShuffleStage : public Module {
 public:
  ShuffleStage(std::int64_t in, std::int64_t out, std::int64_t units) : down_(add<Down>("0", in, out)) {
    for (std::int64_t u = 1; u < units; ++u) splits_.push_back(&add<Split>(std::to_string(u), out / 2));
  }

  Tensor forward(const Tensor& x) override { return forward(x, nullptr); }
  /// {N, H, W, in} -> {N, H / 2, W / 2, out}. `before_relu` gets the last unit's halves before its ReLU, not
  /// shuffled.
  Tensor forward(const Tensor& x, Tensor* before_relu) {
    Halves halves = down_.halves(x);
    for (Split* split : splits_) {
      halves = shuffled_halves(halves[0], halves[1]);
      Tensor* before = split == splits_.back() ? before_relu : nullptr;
      halves[1] = split->forward(halves[1], before);
      if (before != nullptr) *before = concat({halves[0], *before});
    }
    return channel_shuffle(concat({halves[0], halves[1]}), 2);
  }

 private:
  Down& down_;
  std::vector<Split*> splits_;
};

Conv2dOptions depthwise(std::int64_t channels, std::int64_t stride, bool bias) {
  return {.in = channels,
          .out = channels,
          .kernel = 3,
          .stride = stride,
          .padding = 1,
          .groups = channels,
          .bias = bias};
}

Conv2dOptions pointwise(std::int64_t in, std::int64_t out, bool bias) {
  return {.in = in, .out = out, .kernel = 1, .bias = bias};
}

// The paper's form.

/// 1x1, depthwise 3x3, 1x1, to `out` channels; the ReLU after the last batch norm is not among them.
void append_residual(Sequential& body, std::int64_t in, std::int64_t out, std::int64_t stride) {
  body.append<Conv2d>(pointwise(in, in, true));
  body.append<BatchNorm>(in);
  body.append<ReLU>();
  body.append<Conv2d>(depthwise(in, stride, true));
  body.append<BatchNorm>(in);
  body.append<Conv2d>(pointwise(in, out, true));
  body.append<BatchNorm>(out);
}

class PaperDown : public Module {
 public:
  PaperDown(std::int64_t in, std::int64_t out)
      : residual_(add<Sequential>("residual")), shortcut_(add<Sequential>("shortcut")) {
    append_residual(residual_, in, out / 2, 2);
    shortcut_.append<Conv2d>(depthwise(in, 2, true));
    shortcut_.append<BatchNorm>(in);
    shortcut_.append<Conv2d>(pointwise(in, out / 2, true));
    shortcut_.append<BatchNorm>(out / 2);
  }

  Halves halves(const Tensor& x) {
    constexpr auto relu = Activation::relu;
    return {shortcut_.forward(x, {.activation = relu}), residual_.forward(x, {.activation = relu})};
  }
  Tensor forward(const Tensor& x) override {
    const auto [first, second] = halves(x);
    return concat({first, second});
  }

 private:
  Sequential& residual_;
  Sequential& shortcut_;
};

class PaperSplit : public Module {
 public:
  explicit PaperSplit(std::int64_t half) : residual_(add<Sequential>("residual")) {
    append_residual(residual_, half, half, 1);
  }

  Tensor forward(const Tensor& x) override { return forward(x, nullptr); }
  Tensor forward(const Tensor& x, Tensor* before_relu) {
    return residual_.forward(x, {.activation = Activation::relu, .before_activation = before_relu});
  }

 private:
  Sequential& residual_;
};
class PaperForm : public Network {
 public:
  /// Channels of the three stages and of the last convolution.
  using Widths = std::array<std::int64_t, 4>;

  PaperForm(const Widths& widths, const ModelOptions& options)
      : pre_(add<Sequential>("pre")),
        stages_{&add<PaperStage>("stage2", stem, widths[0], 4),
                &add<PaperStage>("stage3", widths[0], widths[1], 8),
                &add<PaperStage>("stage4", widths[1], widths[2], 4)},
        conv5_(add<Sequential>("conv5")),
        fc_(add<Linear>("fc", widths[3], options.classes)) {
    pre_.append<Conv2d>(Conv2dOptions{.in = options.image[2], .out = stem, .padding = 1, .bias = true});
    pre_.append<BatchNorm>(stem);
    conv5_.append<Conv2d>(pointwise(widths[2], widths[3], true));
    conv5_.append<BatchNorm>(widths[3]);
    conv5_.append<ReLU>();
  }

  Tensor forward(const Tensor& x, Features* features) override {
    Tensor y = pre_(x);
    StageTap(features).add_stem(y);
    for (PaperStage* stage : stages_) {
      StageTap tap(features);
      y = stage->forward(y, tap.before_relu());
      tap.add(y, nullptr);
    }
    y = global_avg_pool(conv5_(y));
    if (features != nullptr) features->pooled = y;
    return fc_(y);
  }

 private:
  using PaperStage = ShuffleStage<PaperDown, PaperSplit>;

  Sequential& pre_;
  std::array<PaperStage*, 3> stages_;
  Sequential& conv5_;
  Linear& fc_;
};

PaperForm::Widths widths_of(double ratio) {
  if (ratio == 0.5) return {48, 96, 192, 1024};
  if (ratio == 1.0) return {116, 232, 464, 1024};
  if (ratio == 1.5) return {176, 352, 704, 1024};
  if (ratio == 2.0) return {244, 488, 976, 2048};
  fail("shufflenetv2: ratio is {}, expected 0.5, 1, 1.5 or 2", ratio);
}

class PaperFamily : public ModelFamily {
 public:
  void declare(Options& options) override {
    options.add("ratio", ratio_, {.help = "shufflenetv2: its width, 0.5, 1, 1.5 or 2", .min = 0.5, .max = 2});
  }
  std::unique_ptr<Network> build(const ModelOptions& options) const override {
    return make_shufflenetv2(ratio_, options);
  }

 private:
  double ratio_ = 1.0;
};

// The form published for CIFAR-100.

class CifarDown : public Module {
 public:
  CifarDown(std::int64_t in, std::int64_t out)
      : conv1_(add<Conv2d>("conv1", depthwise(in, 2, false))),
        bn1_(add<BatchNorm>("bn1", in)),
        conv2_(add<Conv2d>("conv2", pointwise(in, out / 2, false))),
        bn2_(add<BatchNorm>("bn2", out / 2)),
        conv3_(add<Conv2d>("conv3", pointwise(in, out / 2, false))),
        bn3_(add<BatchNorm>("bn3", out / 2)),
        conv4_(add<Conv2d>("conv4", depthwise(out / 2, 2, false))),
        bn4_(add<BatchNorm>("bn4", out / 2)),
        conv5_(add<Conv2d>("conv5", pointwise(out / 2, out / 2, false))),
        bn5_(add<BatchNorm>("bn5", out / 2)) {}

  Halves halves(const Tensor& x) {
    const Tensor left = conv_bn_relu(conv2_, bn2_, conv_bn(conv1_, bn1_, x));
    const Tensor right = conv_bn(conv4_, bn4_, conv_bn_relu(conv3_, bn3_, x));
    return {left, conv_bn_relu(conv5_, bn5_, right)};
  }
  Tensor forward(const Tensor& x) override {
    const auto [first, second] = halves(x);
    return concat({first, second});
  }

 private:
  Conv2d& conv1_;
  BatchNorm& bn1_;
  Conv2d& conv2_;
  BatchNorm& bn2_;
  Conv2d& conv3_;
  BatchNorm& bn3_;
  Conv2d& conv4_;
  BatchNorm& bn4_;
  Conv2d& conv5_;
  BatchNorm& bn5_;
};

class CifarSplit : public Module {
 public:
  explicit CifarSplit(std::int64_t half)
      : conv1_(add<Conv2d>("conv1", pointwise(half, half, false))),
        bn1_(add<BatchNorm>("bn1", half)),
        conv2_(add<Conv2d>("conv2", depthwise(half, 1, false))),
        bn2_(add<BatchNorm>("bn2", half)),
        conv3_(add<Conv2d>("conv3", pointwise(half, half, false))),
        bn3_(add<BatchNorm>("bn3", half)) {}

  Tensor forward(const Tensor& x) override { return forward(x, nullptr); }
  Tensor forward(const Tensor& x, Tensor* before_relu) {
    const Tensor y = conv_bn(conv2_, bn2_, conv_bn_relu(conv1_, bn1_, x));
    return conv_bn_relu(conv3_, bn3_, y, before_relu);
  }

 private:
  Conv2d& conv1_;
  BatchNorm& bn1_;
  Conv2d& conv2_;
  BatchNorm& bn2_;
  Conv2d& conv3_;
  BatchNorm& bn3_;
};

class CifarForm : public Network {
 public:
  explicit CifarForm(const ModelOptions& options)
      : conv1_(add<Conv2d>("conv1", pointwise(options.image[2], stem, false))),
        bn1_(add<BatchNorm>("bn1", stem)),
        layers_{&add<CifarStage>("layer1", stem, 116, 4), &add<CifarStage>("layer2", 116, 232, 8),
                &add<CifarStage>("layer3", 232, 464, 4)},
        conv2_(add<Conv2d>("conv2", pointwise(464, 1024, false))),
        bn2_(add<BatchNorm>("bn2", 1024)),
        linear_(add<Linear>("linear", 1024, options.classes)) {}

  Tensor forward(const Tensor& x, Features* features) override {
    Tensor y = conv_bn_relu(conv1_, bn1_, x);
    StageTap(features).add_stem(y);
    for (CifarStage* layer : layers_) {
      StageTap tap(features);
      y = layer->forward(y, tap.before_relu());
      tap.add(y, nullptr);
    }
    y = global_avg_pool(conv_bn_relu(conv2_, bn2_, y));
    if (features != nullptr) features->pooled = y;
    return linear_(y);
  }

 private:
  using CifarStage = ShuffleStage<CifarDown, CifarSplit>;

  Conv2d& conv1_;
  BatchNorm& bn1_;
  std::array<CifarStage*, 3> layers_;
  Conv2d& conv2_;
  BatchNorm& bn2_;
  Linear& linear_;
};

}  // namespace

std::unique_ptr<Network> make_shufflenetv2(double ratio, const ModelOptions& options) {
  return std::make_unique<PaperForm>(widths_of(ratio), options);
}

std::unique_ptr<ModelFamily> make_shufflenetv2_family() { return std::make_unique<PaperFamily>(); }

std::unique_ptr<Network> make_shufflev2(const ModelOptions& options) {
  return std::make_unique<CifarForm>(options);
}

}  // namespace generous
