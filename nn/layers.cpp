#include "nn/layers.h"

#include <cmath>

namespace generous {
namespace {

/// The bound b of U(-b, b) for a weight whose outputs each sum over `fan_in` inputs, and for its bias.
Init uniform_fan_in(std::int64_t fan_in) {
  return Init::uniform(1.0F / std::sqrt(static_cast<float>(fan_in)));
}

Init weight_init(const Conv2dOptions& options, std::int64_t fan_in) {
  if (options.weights == Conv2dOptions::Weights::fan_in) return uniform_fan_in(fan_in);
  const std::int64_t fan_out = options.kernel * options.kernel * options.out;
  return Init::normal(std::sqrt(2.0F / static_cast<float>(fan_out)));
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
  if (options.bias) bias_ = add_parameter("bias", {options.out}, uniform_fan_in(fan_in));
}

Tensor Conv2d::forward(const Tensor& x) { return conv2d(x, weight_, bias_, params_); }

BatchNorm::BatchNorm(std::int64_t channels, float momentum)
    : momentum_(momentum),
      weight_(add_parameter("weight", {channels}, Init::constant(1.0F))),
      bias_(add_parameter("bias", {channels}, Init::constant(0.0F))),
      running_{.mean = add_buffer("running_mean", {channels}, DType::f32, Init::constant(0.0F)),
               .variance = add_buffer("running_var", {channels}, DType::f32, Init::constant(1.0F))},
      num_batches_tracked_(add_buffer("num_batches_tracked", {}, DType::i64, Init::constant(0.0F))) {}

Tensor BatchNorm::apply(const Tensor& x, const Tensor& residual, bool relu) {
  Tensor y = batch_norm({.x = x, .gamma = weight_, .beta = bias_, .residual = residual}, running_,
                        {.training = training(), .relu = relu, .momentum = momentum_});
  if (training()) ++num_batches_tracked_.data<std::int64_t>()[0];
  return y;
}

Linear::Linear(std::int64_t in, std::int64_t out, const DiskLayout& weight_layout)
    : weight_(add_parameter("weight", {out, in}, uniform_fan_in(in), weight_layout)),
      bias_(add_parameter("bias", {out}, uniform_fan_in(in))) {}

Tensor Linear::forward(const Tensor& x) { return linear(x, weight_, bias_); }

FlattenLinear::FlattenLinear(const Shape& image, std::int64_t out)
    : Linear(image.numel(), out, DiskLayout::flattened_hwc(image)), image_(image) {}

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
  return dropout(x, {.p = p_, .key = key(), .step = step()});
}

Tensor Sequential::forward(const Tensor& x) {
  Tensor y = x;
  for (Module* module : modules_) y = module->forward(y);
  return y;
}

}  // namespace generous
