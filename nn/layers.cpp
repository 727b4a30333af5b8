#include "nn/layers.h"

#include <cmath>

#include "core/backend.h"
#include "nn/parallel/group_sum.h"

namespace generous {
namespace {

/// The bound b of U(-b, b) for a weight whose outputs each sum over `fan_in` inputs, and for its bias.
Init uniform_fan_in(std::int64_t fan_in) {
  return Init::uniform(1.0F / std::sqrt(static_cast<float>(fan_in)));
}

Init weight_init(const Conv2dOptions& options, std::int64_t fan_in) {
  if (options.weights == Conv2dOptions::Weights::fan_in) return uniform_fan_in(fan_in);
  if (options.weights == Conv2dOptions::Weights::unit_gain)
    return Init::uniform(std::sqrt(3.0F / static_cast<float>(fan_in)));
  const std::int64_t fan_out = options.kernel * options.kernel * options.out;
  return Init::normal(std::sqrt(2.0F / static_cast<float>(fan_out)));
}

Tensor activate(const Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return relu(x);
    case Activation::relu6:
      return relu6(x);
  }
  fail("activate: unknown activation");
}

/// One op after the other.
Tensor finish(const Tensor& x, const Ending& ending) {
  const Tensor y = ending.residual.defined() ? x + ending.residual : x;
  if (ending.before_activation != nullptr) *ending.before_activation = y;
  return activate(y, ending.activation);
}

}  // namespace

Conv2dOptions conv3x3(std::int64_t in, std::int64_t out, std::int64_t stride,
                      Conv2dOptions::Weights weights) {
  return {.in = in, .out = out, .kernel = 3, .stride = stride, .padding = 1, .weights = weights};
}

Conv2dOptions conv1x1(std::int64_t in, std::int64_t out, std::int64_t stride,
                      Conv2dOptions::Weights weights) {
  return {.in = in, .out = out, .kernel = 1, .stride = stride, .weights = weights};
}

Conv2d::Conv2d(const Conv2dOptions& options)
    : params_{.stride = options.stride, .padding = options.padding, .groups = options.groups} {
  require(options.in > 0 && options.out > 0 && options.kernel > 0 && options.groups > 0,
          "Conv2d: in {}, out {}, kernel {} and groups {} must be positive", options.in, options.out,
          options.kernel, options.groups);
  require(options.in % options.groups == 0 && options.out % options.groups == 0,
          "Conv2d: {} groups do not divide {} input and {} output channels", options.groups, options.in,
          options.out);
  const std::int64_t group_in = options.in / options.groups;
  const std::int64_t fan_in = options.kernel * options.kernel * group_in;
  weight_ = add_parameter("weight", {options.out, options.kernel, options.kernel, group_in},
                          weight_init(options, fan_in), DiskLayout::ohwi());
  if (!options.bias) return;
  const bool zero = options.weights == Conv2dOptions::Weights::fan_out;
  bias_ = add_parameter("bias", {options.out}, zero ? Init::constant(0.0F) : uniform_fan_in(fan_in));
}

Tensor Conv2d::forward(const Tensor& x) {
  return frozen() ? forward_frozen(x, nullptr, {}) : conv2d(x, weight_, bias_, params_);
}

Tensor Conv2d::forward_add(const Tensor& x, const Tensor& residual) {
  return bias_.defined() ? conv2d(x, weight_, bias_, params_) + residual
                         : conv2d_add(x, weight_, residual, params_);
}

Tensor Conv2d::forward_frozen(const Tensor& x, const BatchNorm* bn, const Conv2dEpilogue& epilogue) {
  if (!filter_.has_value() || folded_ != bn) {
    filter_ = fold(bn);
    folded_ = bn;
  }
  return conv2d_inference(x, *filter_, params_, epilogue);
}

// scale (x * W + b) + shift = x * (scale W) + (scale b + shift), for every output channel
FrozenFilter Conv2d::fold(const BatchNorm* bn) const {
  if (bn == nullptr) return {weight_.detach(), bias_.detach(), nullptr};
  const ChannelMap map = bn->evaluation_map();
  const std::int64_t channels = weight_.size(0);
  require(static_cast<std::int64_t>(map.scale.size()) == channels,
          "Conv2d: a batch norm of {} channels does not fit {} output channels", map.scale.size(), channels);
  Tensor weight = weight_.to(Device::cpu).clone();
  Tensor bias = bias_.defined() ? bias_.to(Device::cpu).clone() : Tensor::zeros({channels});
  const auto filter_size = static_cast<std::size_t>(weight.numel() / channels);
  for (std::size_t k = 0; k < map.scale.size(); ++k) {
    for (float& w : weight.data<float>().subspan(k * filter_size, filter_size))
      w = static_cast<float>(map.scale[k] * static_cast<double>(w));
    float& b = bias.data<float>()[k];
    b = static_cast<float>(map.scale[k] * static_cast<double>(b) + map.shift[k]);
  }
  return {weight.to(weight_.device()), bias.to(weight_.device()), nullptr};
}

ConvTranspose2d::ConvTranspose2d(const Conv2dOptions& options)
    : params_{.stride = options.stride, .padding = options.padding} {
  require(options.in > 0 && options.out > 0 && options.kernel > 0 && options.groups == 1,
          "ConvTranspose2d: in {}, out {} and kernel {} must be positive, groups 1", options.in, options.out,
          options.kernel);
  const Init init = uniform_fan_in(options.kernel * options.kernel * options.out);
  weight_ = add_parameter("weight", {options.in, options.kernel, options.kernel, options.out}, init,
                          DiskLayout::ohwi());
  if (options.bias) bias_ = add_parameter("bias", {options.out}, init);
}

Tensor ConvTranspose2d::forward(const Tensor& x) { return conv2d_transpose(x, weight_, bias_, params_); }

BatchNorm::BatchNorm(std::int64_t channels, float momentum)
    : momentum_(momentum),
      weight_(add_parameter("weight", {channels}, Init::constant(1.0F))),
      bias_(add_parameter("bias", {channels}, Init::constant(0.0F))),
      running_{.mean = add_buffer("running_mean", {channels}, DType::f32, Init::constant(0.0F)),
               .variance = add_buffer("running_var", {channels}, DType::f32, Init::constant(1.0F)),
               .batches = add_buffer("num_batches_tracked", {}, DType::i64, Init::constant(0.0F))} {}

Tensor BatchNorm::forward(const Parts& parts, const Ending& ending) {
  if (training() && group() != nullptr) return forward_with_group(parts, ending);
  const bool fused = ending.before_activation == nullptr;
  // Of a batch in slices the first one alone moves the running statistics: neither the number of the others
  // nor which process has them can be told from the weights.
  const bool moves = first_row() == 0;
  BatchNormStatistics running = running_;
  if (!moves) running.batches = {};
  const Tensor y =
      batch_norm({.parts = parts, .gamma = weight_, .beta = bias_, .residual = ending.residual}, running,
                 {.training = training(),
                  .activation = fused ? ending.activation : Activation::none,
                  .momentum = moves ? momentum_ : 0.0F});
  if (fused) return y;
  return finish(y, {.activation = ending.activation, .before_activation = ending.before_activation});
}

/// By ops of their own: statistics are on their way through the group between them.
Tensor BatchNorm::forward_with_group(const Parts& parts, const Ending& ending) {
  std::vector<Tensor> all;
  for (const BatchNormPart& part : parts) all.push_back(part.x);
  const GroupBatchNorm normalised = group_batch_norm(*group(), all.size() == 1 ? all[0] : concat(all),
                                                     weight_, bias_, BatchNormParams().epsilon);
  const auto move = [this](Tensor& old, const Tensor& value) {
    const NoGrad no_grad;
    Backend& on = backend(old.device());
    on.affine(old, 1.0F - momentum_, 0.0F, old);
    on.accumulate(momentum_ * value, old);
  };
  move(running_.mean, normalised.mean);
  move(running_.variance, normalised.variance);
  Tensor one = Tensor::empty({}, DType::i64, running_.batches.device());
  backend(one.device()).fill(one, 1.0);
  backend(one.device()).accumulate(one, running_.batches);
  return finish(normalised.y, ending);
}

Tensor BatchNorm::then_relu(const Parts& parts, Tensor* before_relu) {
  return forward(parts, {.activation = Activation::relu, .before_activation = before_relu});
}

ChannelMap BatchNorm::evaluation_map() const {
  const auto values = [](const Tensor& tensor) {
    const Tensor host = tensor.to(Device::cpu);
    return std::vector<double>(host.data<float>().begin(), host.data<float>().end());
  };
  const std::vector<double> mean = values(running_.mean);
  const std::vector<double> variance = values(running_.variance);
  ChannelMap map{.scale = values(weight_), .shift = values(bias_)};
  for (std::size_t c = 0; c < mean.size(); ++c) {
    map.scale[c] /= std::sqrt(variance[c] + static_cast<double>(BatchNormParams().epsilon));
    map.shift[c] -= map.scale[c] * mean[c];
  }
  return map;
}

Tensor conv_then(Conv2d& conv, BatchNorm* bn, const Tensor& x, const Ending& ending) {
  if (!conv.frozen() || (bn != nullptr && !bn->frozen())) {
    if (bn != nullptr) return bn->forward(conv(x), ending);
    if (!ending.residual.defined()) return finish(conv(x), ending);
    return finish(conv.forward_add(x, ending.residual),
                  {.activation = ending.activation, .before_activation = ending.before_activation});
  }
  if (ending.before_activation == nullptr)
    return conv.forward_frozen(x, bn, {.residual = ending.residual, .activation = ending.activation});
  const Tensor sums = conv.forward_frozen(x, bn, {.residual = ending.residual});
  return finish(sums, {.activation = ending.activation, .before_activation = ending.before_activation});
}

Tensor conv_bn(Conv2d& conv, BatchNorm& bn, const Tensor& x) { return conv_then(conv, &bn, x, {}); }

Tensor conv_bn_relu(Conv2d& conv, BatchNorm& bn, const Tensor& x, Tensor* before_relu) {
  return conv_then(conv, &bn, x, {.activation = Activation::relu, .before_activation = before_relu});
}

Tensor conv_bn_add_relu(Conv2d& conv, BatchNorm& bn, const Tensor& x, const Tensor& residual,
                        Tensor* before_relu) {
  return conv_then(conv, &bn, x,
                   {.residual = residual, .activation = Activation::relu, .before_activation = before_relu});
}

Tensor conv_add(Conv2d& conv, const Tensor& x, const Tensor& residual) {
  return conv_then(conv, nullptr, x, {.residual = residual});
}

Linear::Linear(std::int64_t in, std::int64_t out, const LinearOptions& options)
    : weight_(add_parameter("weight", {out, in}, options.weight.value_or(uniform_fan_in(in)),
                            options.weight_layout)),
      bias_(add_parameter("bias", {out}, options.bias.value_or(uniform_fan_in(in)))) {}

Tensor Linear::forward(const Tensor& x) { return linear(x, weight_, bias_); }

FlattenLinear::FlattenLinear(const Shape& image, std::int64_t out)
    : Linear(image.numel(), out, {.weight_layout = DiskLayout::flattened_hwc(image)}), image_(image) {}

Tensor FlattenLinear::forward(const Tensor& x) {
  const Shape& shape = x.shape();
  require(shape.rank() == 4 && Shape(shape.dims().subspan(1)) == image_,
          "FlattenLinear: x is {}, expected images of {}", shape.str(), image_.str());
  return Linear::forward(reshape(x, {x.size(0), image_.numel()}));
}

Dropout::Dropout(float p) : p_(p) {
  require(p >= 0.0F && p < 1.0F, "Dropout: p is {}, expected 0 <= p < 1", p);
}

Tensor Dropout::forward(const Tensor& x) {
  if (!training() || p_ == 0.0F) return x;
  return dropout(x, {.p = p_, .key = key(), .step = step(), .first = first_row() * (x.numel() / x.size(0))});
}

void Sequential::append_batch_norm(BatchNorm& bn) {
  const bool fits = !steps_.empty() && steps_.back().conv != nullptr && steps_.back().bn == nullptr &&
                    steps_.back().activation == Activation::none;
  if (!fits) steps_.emplace_back();
  steps_.back().bn = &bn;
}

void Sequential::append_activation(Activation activation, Module& module) {
  if (!steps_.empty() && steps_.back().other == nullptr && steps_.back().activation == Activation::none)
    steps_.back().activation = activation;
  else
    steps_.push_back({.other = &module});
}

const BatchNorm* Sequential::last_norm() const {
  return !steps_.empty() && steps_.back().activation == Activation::none ? steps_.back().bn : nullptr;
}

Tensor Sequential::run(const Step& step, const Tensor& x, const Ending& ending) {
  if (step.other != nullptr) return finish(step.other->forward(x), ending);
  if (step.activation != Activation::none)
    return finish(run({.conv = step.conv, .bn = step.bn}, x, {.activation = step.activation}), ending);
  return step.conv != nullptr ? conv_then(*step.conv, step.bn, x, ending) : step.bn->forward(x, ending);
}

Tensor Sequential::forward(const Tensor& x, const Ending& ending) {
  Tensor y = x;
  for (const Step& step : steps_) y = run(step, y, &step == &steps_.back() ? ending : Ending{});
  return y;
}

}  // namespace generous
