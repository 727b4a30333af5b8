// The layers. State names, shapes and default initialisation are those of PyTorch's layers of the same name.
#pragma once

#include <optional>
#include <type_traits>

#include "nn/module.h"

namespace generous {

struct Conv2dOptions {
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t kernel = 3;
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  std::int64_t groups = 1;
  bool bias = false;
  /// How weight and bias start. fan_in: both U(-b, b), b = 1 / sqrt(kernel^2 in / groups), the default of
  /// common frameworks. unit_gain: the same with b = sqrt(3 / (kernel^2 in / groups)) for the weight, which
  /// keeps the variance of what it is applied to. fan_out: N(0, 2 / (kernel^2 out)) and 0, He et al. 2015.
  enum class Weights { fan_in, unit_gain, fan_out } weights = Weights::fan_in;
};

/// The usual convolutions, without bias: 3x3 with padding 1, so that only the stride changes H and W; and
/// 1x1.
Conv2dOptions conv3x3(std::int64_t in, std::int64_t out, std::int64_t stride, Conv2dOptions::Weights weights);
Conv2dOptions conv1x1(std::int64_t in, std::int64_t out, std::int64_t stride, Conv2dOptions::Weights weights);

class BatchNorm;

/// x {N, H, W, in} -> {N, P, Q, out}, P = (H + 2 padding - kernel) / stride + 1. State: weight {out, kernel,
/// kernel, in / groups}, bias {out} if wanted. Throws Error unless groups divides in and
/// out.
class Conv2d : public Module {
 public:
  explicit Conv2d(const Conv2dOptions& options);
  Tensor forward(const Tensor& x) override;
  /// forward(x) + residual, unless the module is frozen.
  Tensor forward_add(const Tensor& x, const Tensor& residual);
  /// For a frozen module: activation(bn(forward(x)) [+ residual]) in one op, bn folded into the filter;
  /// nullptr for none.
  Tensor forward_frozen(const Tensor& x, const BatchNorm* bn, const Conv2dEpilogue& epilogue);

 private:
  FrozenFilter fold(const BatchNorm* bn) const;

  Conv2dParams params_;
  Tensor weight_;
  Tensor bias_;                         ///< undefined without
  std::optional<FrozenFilter> filter_;  ///< made by the first forward_frozen,
  const BatchNorm* folded_ = nullptr;   ///< for this batch norm
};

/// The transpose of a convolution, without groups: x {N, P, Q, in} -> {N, H, W, out}, H = (P - 1) stride -
/// 2 padding + kernel. State: weight {in, kernel, kernel, out}, bias {out} if wanted, both U(-b, b), b = 1 /
/// sqrt(kernel^2 out).
class ConvTranspose2d : public Module {
 public:
  explicit ConvTranspose2d(const Conv2dOptions& options);
  Tensor forward(const Tensor& x) override;

 private:
  Conv2dParams params_;
  Tensor weight_;
  Tensor bias_;  ///< undefined without
};

/// What follows a layer: y = activation(layer(x) [+ residual]).
struct Ending {
  Tensor residual{};  ///< shape of y, or undefined
  Activation activation = Activation::none;
  Tensor* before_activation =
      nullptr;  ///< if not nullptr, gets its argument; the activation is its own pass then
};

/// scale * x + shift, channel by channel.
struct ChannelMap {
  std::vector<double> scale;  ///< {C}
  std::vector<double> shift;  ///< {C}
};

/// Batch normalisation over all axes but the last: x {N, H, W, C} (2d) or {N, C} (1d), same shape out.
/// (Ioffe & Szegedy 2015.) State: weight, bias, running_mean, running_var
/// {C}, num_batches_tracked {} of i64, which counts the batches seen in training mode.
class BatchNorm : public Module {
 public:
  using Parts = std::vector<BatchNormPart>;

  /// `momentum`: how far a batch moves the running statistics towards its own.
  explicit BatchNorm(std::int64_t channels, float momentum = 0.1F);
  Tensor forward(const Tensor& x) override { return forward(x, {}); }
  /// With what follows; a residual and a ReLU are fused.
  Tensor forward(const Tensor& x, const Ending& ending) { return forward(Parts{x}, ending); }
  /// relu(forward(x)), fused. `before_relu`, if not nullptr, gets forward(x).
  Tensor then_relu(const Tensor& x, Tensor* before_relu = nullptr) {
    return then_relu(Parts{x}, before_relu);
  }
  /// The same of tensors {..., c_i} side by side, C = sum c_i, whose concatenation is never made.
  Tensor forward(const Parts& parts, const Ending& ending);
  Tensor then_relu(const Parts& parts, Tensor* before_relu = nullptr);
  /// What evaluation mode does to each channel.
  ChannelMap evaluation_map() const;

 private:
  Tensor forward_with_group(const Parts& parts, const Ending& ending);

  float momentum_;
  Tensor weight_;
  Tensor bias_;
  BatchNormStatistics running_;
};

// A convolution and what follows it: one op after the other, but all in one in a frozen module.
// `before_relu`, if not nullptr, gets the ReLU's argument.

/// With bn (nullptr: none) and `ending` after it.
Tensor conv_then(Conv2d& conv, BatchNorm* bn, const Tensor& x, const Ending& ending);
/// bn(conv(x))
Tensor conv_bn(Conv2d& conv, BatchNorm& bn, const Tensor& x);
/// relu(bn(conv(x)))
Tensor conv_bn_relu(Conv2d& conv, BatchNorm& bn, const Tensor& x, Tensor* before_relu = nullptr);
/// relu(bn(conv(x)) + residual)
Tensor conv_bn_add_relu(Conv2d& conv, BatchNorm& bn, const Tensor& x, const Tensor& residual,
                        Tensor* before_relu = nullptr);
/// conv(x) + residual
Tensor conv_add(Conv2d& conv, const Tensor& x, const Tensor& residual);

struct LinearOptions {
  DiskLayout weight_layout{};
  /// How weight and bias start; the default of both is U(-1 / sqrt(in), 1 / sqrt(in)).
  std::optional<Init> weight{};
  std::optional<Init> bias{};
};

/// x {B, in} -> {B, out}. State: weight {out, in}, bias {out}.
class Linear : public Module {
 public:
  Linear(std::int64_t in, std::int64_t out, const LinearOptions& options = {});
  Tensor forward(const Tensor& x) override;

 private:
  Tensor weight_;
  Tensor bias_;
};

/// Linear on flattened images: x {N, H, W, C} of the given `image` {H, W, C} -> {N, out}. On disk the
/// weight's columns are in C, H, W order. Throws Error for other images.
class FlattenLinear : public Linear {
 public:
  FlattenLinear(const Shape& image, std::int64_t out);
  Tensor forward(const Tensor& x) override;

 private:
  Shape image_;
};

/// Inverted dropout in training mode, the identity otherwise. A fresh mask for every step, the same for the
/// same seed, layer and step. Throws Error unless 0 <= p < 1. No state. (Srivastava et al. 2014)
class Dropout : public Module {
 public:
  explicit Dropout(float p);
  Tensor forward(const Tensor& x) override;

 private:
  float p_;
};

class ReLU : public Module {
 public:
  Tensor forward(const Tensor& x) override { return relu(x); }
};

class ReLU6 : public Module {
 public:
  Tensor forward(const Tensor& x) override { return relu6(x); }
};

/// Modules applied one after another; they are named "0", "1", ... in the order of `append`. A Conv2d or a
/// BatchNorm takes those that follow it along, where they can be fused: a Conv2d its BatchNorm, both their
/// ReLU or ReLU6.
class Sequential : public Module {
 public:
  template <class M, class... Args>
  M& append(Args&&... args) {
    M& module = add<M>(std::to_string(count_++), std::forward<Args>(args)...);
    if constexpr (std::is_same_v<M, Conv2d>)
      steps_.push_back({.conv = &module});
    else if constexpr (std::is_same_v<M, BatchNorm>)
      append_batch_norm(module);
    else if constexpr (std::is_same_v<M, ReLU>)
      append_activation(Activation::relu, module);
    else if constexpr (std::is_same_v<M, ReLU6>)
      append_activation(Activation::relu6, module);
    else
      steps_.push_back({.other = &module});
    return module;
  }
  Tensor forward(const Tensor& x) override { return forward(x, {}); }
  /// With what follows the last module, fused where it can be.
  Tensor forward(const Tensor& x, const Ending& ending);
  /// The last module if that is a batch norm, otherwise nullptr.
  const BatchNorm* last_norm() const;

 private:
  /// Modules that run as one.
  struct Step {
    Conv2d* conv = nullptr;
    BatchNorm* bn = nullptr;
    Module* other = nullptr;  ///< instead of both
    Activation activation = Activation::none;
  };
  void append_batch_norm(BatchNorm& bn);
  void append_activation(Activation activation, Module& module);
  static Tensor run(const Step& step, const Tensor& x, const Ending& ending);

  std::size_t count_ = 0;
  std::vector<Step> steps_;
};

}  // namespace generous
