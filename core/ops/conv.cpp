// Two-dimensional convolution (cross-correlation), images NHWC, weights OHWI.

#include "core/ops.h"
#include "core/ops/check.h"

namespace generous {
namespace {

/// {N, P, Q, K}; checks that x {N, H, W, C}, weight {K, R, S, C/groups} and bias {K} fit.
Shape output_shape(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dParams& p) {
  const auto complain = [&](std::string_view what) {
    fail("conv2d: {}: x {}, weight {}, stride {}, padding {}, groups {}", what, x.shape().str(),
         weight.shape().str(), p.stride, p.padding, p.groups);
  };
  if (x.shape().rank() != 4 || weight.shape().rank() != 4) complain("x and weight need four axes");
  if (p.stride < 1 || p.padding < 0 || p.groups < 1) complain("stride or groups below 1, or padding below 0");
  if (weight.size(3) * p.groups != x.size(3)) complain("the weight's input channels do not fit x");
  if (weight.size(0) % p.groups != 0) complain("the output channels are not a multiple of the groups");
  if (bias.defined() && bias.shape() != Shape{weight.size(0)}) complain("the bias does not fit");
  const std::int64_t height = x.size(1) + 2 * p.padding - weight.size(1);
  const std::int64_t width = x.size(2) + 2 * p.padding - weight.size(2);
  if (height < 0 || width < 0) complain("the kernel is larger than the padded image");
  return {x.size(0), height / p.stride + 1, width / p.stride + 1, weight.size(0)};
}

/// The dtype of a weight's gradient: what is cheapest for images like x, where the gradient goes no further.
DType gradient_dtype(const Tensor& weight, const Tensor& x) {
  const bool leaf = weight.requires_grad() && !weight.node()->backward;
  return leaf ? backend_of(x).weight_gradient_dtype(x.dtype()) : DType::f32;
}

/// dx = dy *' W (transposed), with what x's gradient has so far (if defined), and dW = x correlated with dy;
/// undefined where not needed.
class ConvolutionGradients {
 public:
  ConvolutionGradients(const Tensor& x, const Tensor& weight, const Conv2dParams& params)
      : params_(params),
        x_(x.detach()),
        weight_(weight.detach()),
        need_x_(needs_gradient(x)),
        need_weight_(needs_gradient(weight)),
        dweight_dtype_(gradient_dtype(weight, x)) {}

  Tensor of_x(const Tensor& dy, const Tensor& so_far) const {
    if (!need_x_) return {};
    Tensor dx = so_far.defined() ? so_far : empty_like(x_);
    if (so_far.defined())
      backend_of(x_).accumulate_conv2d_backward_data(params_, dy, weight_, dx);
    else
      backend_of(x_).conv2d_backward_data(params_, dy, weight_, dx);
    return dx;
  }
  Tensor of_weight(const Tensor& dy) const {
    if (!need_weight_) return {};
    Tensor dweight = Tensor::empty(weight_.shape(), dweight_dtype_, x_.device());
    backend_of(x_).conv2d_backward_weight(params_, x_, dy, dweight);
    return dweight;
  }

 private:
  Conv2dParams params_;
  Tensor x_;
  Tensor weight_;
  bool need_x_;
  bool need_weight_;
  DType dweight_dtype_;
};

}  // namespace

// y = x * W + b;  db = sum of dy over N, P, Q
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dParams& params) {
  check_device("conv2d", {&x, &weight});
  check_floating("conv2d", {&x});
  check_f32("conv2d", {&weight});
  if (bias.defined()) check_f32("conv2d", {&weight, &bias});
  Tensor y = empty_beside(x, output_shape(x, weight, bias, params));
  backend_of(x).conv2d(params, x, weight, bias, y);
  return record_adding("conv2d", y, {x, weight, bias}, 1,
                       [of = ConvolutionGradients(x, weight, params), need_bias = needs_gradient(bias)](
                           const Tensor& dy, const Gradients& so_far) -> Gradients {
                         Tensor dx = of.of_x(dy, so_far[0]);
                         Tensor dweight = of.of_weight(dy);
                         Tensor dbias =
                             need_bias ? Tensor::empty({dy.size(3)}, DType::f32, dy.device()) : Tensor();
                         if (need_bias) backend_of(dy).sum_to(dy, dbias);
                         return {dx, dweight, dbias};
                       });
}

// y = x * W + r;  dr = dy
Tensor conv2d_add(const Tensor& x, const Tensor& weight, const Tensor& residual, const Conv2dParams& params) {
  check_device("conv2d_add", {&x, &weight});
  check_floating("conv2d_add", {&x, &residual});
  check_f32("conv2d_add", {&weight});
  const Shape shape = output_shape(x, weight, {}, params);
  require(residual.shape() == shape, "conv2d_add: the residual {} does not fit the output {}",
          residual.shape().str(), shape.str());
  Tensor y = empty_beside(x, shape);
  backend_of(x).conv2d_add(params, x, weight, residual, y);
  return record_adding(
      "conv2d_add", y, {x, weight, residual}, 1,
      [of = ConvolutionGradients(x, weight, params)](const Tensor& dy, const Gradients& so_far) -> Gradients {
        return {of.of_x(dy, so_far[0]), of.of_weight(dy), dy};
      });
}

// y = x *' W + b, x as the gradient of a convolution's output;  dx = dy * W,  dW = dy correlated with x
Tensor conv2d_transpose(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const Conv2dParams& params) {
  check_device("conv2d_transpose", {&x, &weight});
  check_floating("conv2d_transpose", {&x});
  check_f32("conv2d_transpose", {&weight});
  const bool four_axes = x.shape().rank() == 4 && weight.shape().rank() == 4;
  if (!four_axes || x.size(3) != weight.size(0))
    fail("conv2d_transpose: the weight {} does not fit x {}", weight.shape().str(), x.shape().str());
  const auto extent = [&](int axis) {
    return (x.size(axis) - 1) * params.stride - 2 * params.padding + weight.size(axis);
  };
  const std::int64_t channels = weight.size(3) * params.groups;
  if (extent(1) < 1 || extent(2) < 1)
    fail("conv2d_transpose: padding {} leaves nothing: x {}, weight {}", params.padding, x.shape().str(),
         weight.shape().str());
  Tensor y = empty_beside(x, {x.size(0), extent(1), extent(2), channels});
  require(output_shape(y, weight, {}, params) == x.shape(),
          "conv2d_transpose: no convolution of weight {} has the output {}", weight.shape().str(),
          x.shape().str());
  backend_of(x).conv2d_backward_data(params, x, weight, y);
  const bool need_x = needs_gradient(x);
  const bool need_weight = needs_gradient(weight);
  const DType dweight_dtype = gradient_dtype(weight, x);
  const Tensor transposed = record(
      "conv2d_transpose", y, {x, weight},
      [=, x = x.detach(), weight = weight.detach()](const Tensor& dy) -> Gradients {
        Tensor dx = need_x ? empty_like(x) : Tensor();
        Tensor dweight = need_weight ? Tensor::empty(weight.shape(), dweight_dtype, x.device()) : Tensor();
        if (need_x) backend_of(x).conv2d(params, dy, weight, {}, dx);
        if (need_weight) backend_of(x).conv2d_backward_weight(params, dy, x, dweight);
        return {dx, dweight};
      });
  if (!bias.defined()) return transposed;
  require(bias.shape() == Shape{channels}, "conv2d_transpose: the bias {} does not fit {} channels",
          bias.shape().str(), channels);
  return cast(cast(transposed, DType::f32) + bias, x.dtype());
}

Tensor conv2d_inference(const Tensor& x, FrozenFilter& filter, const Conv2dParams& params,
                        const Conv2dEpilogue& epilogue) {
  check_device("conv2d_inference", {&x, &filter.weight});
  check_floating("conv2d_inference", {&x});
  check_f32("conv2d_inference", {&filter.weight});
  if (filter.bias.defined()) check_f32("conv2d_inference", {&filter.weight, &filter.bias});
  const Shape shape = output_shape(x, filter.weight, filter.bias, params);
  const Tensor& residual = epilogue.residual;
  if (residual.defined()) {
    check_floating("conv2d_inference", {&x, &residual});
    require(residual.shape() == shape, "conv2d_inference: the residual {} does not fit the output {}",
            residual.shape().str(), shape.str());
  }
  if (needs_gradient(x) || needs_gradient(residual) || needs_gradient(filter.weight) ||
      needs_gradient(filter.bias))
    fail("conv2d_inference: an argument needs a gradient, and there is none through this op: use NoGrad");
  Tensor y = empty_beside(x, shape);
  backend_of(x).conv2d_inference(params, x, filter, epilogue, y);
  return y;
}

}  // namespace generous
