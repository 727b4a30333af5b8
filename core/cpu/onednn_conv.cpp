// Convolution by oneDNN. Images stay NHWC; filters are reordered from OHWI to whatever oneDNN runs fastest
// with, into a buffer kept beside the primitive: they are small, and change with every step anyway.

#include "core/cpu/onednn_backend.h"
#include "core/cpu/winograd.h"

namespace generous {
namespace onednn {

/// The descriptors of a convolution between x {N, H, W, C}, weight {K, R, S, C/groups} and y {N, P, Q, K}.
struct ConvolutionGeometry {
  memory::desc x, y;              ///< f32 or bf16
  memory::desc weights, bias;     ///< f32, weights OHWI
  memory::desc any_weights;       ///< of the dtype of x, in the layout that suits oneDNN
  memory::desc any_diff_weights;  ///< likewise, f32
  memory::dims strides, padding;

  ConvolutionGeometry(const Conv2dParams& p, const Tensor& images, const Shape& w, const Tensor& outputs)
      : x(image_desc(images)),
        y(image_desc(outputs)),
        bias({w[0]}, memory::data_type::f32, memory::format_tag::a),
        strides{p.stride, p.stride},
        padding{p.padding, p.padding} {
    // oneDNN's logical order is [groups,] o, i, h, w; the steps are those of OHWI.
    memory::dims dims{w[0] / p.groups, w[3], w[1], w[2]};
    memory::dims steps{w[1] * w[2] * w[3], 1, w[2] * w[3], w[3]};
    if (p.groups > 1) {
      dims.insert(dims.begin(), p.groups);
      steps.insert(steps.begin(), w.numel() / p.groups);
    }
    weights = memory::desc(dims, memory::data_type::f32, steps);
    any_weights = memory::desc(dims, data_type_of(images.dtype()), memory::format_tag::any);
    any_diff_weights = memory::desc(dims, memory::data_type::f32, memory::format_tag::any);
  }
};

namespace {

constexpr auto direct = dnnl::algorithm::convolution_direct;

enum Direction : std::int64_t { inference, inference_with_bias, backward_data, backward_weight };

std::array<std::int64_t, 13> key_of(Direction direction, const Conv2dParams& p, const Tensor& images,
                                    const Shape& w) {
  const Shape& x = images.shape();
  return {direction,
          x[0],
          x[1],
          x[2],
          x[3],
          w[0],
          w[1],
          w[2],
          w[3],
          p.stride,
          p.padding,
          p.groups,
          static_cast<std::int64_t>(images.dtype())};
}

dnnl::convolution_forward::primitive_desc forward_desc(const ConvolutionGeometry& g, dnnl::prop_kind kind) {
  return describe<dnnl::convolution_forward>(
      std::tuple(kind, direct, g.x, g.any_weights, g.y, g.strides, g.padding, g.padding));
}

/// Where the filters of `planned` go before it runs, or come from afterwards.
void plan_weights(Convolution& planned, const memory::desc& wanted, bool towards_onednn) {
  if (wanted == planned.plain_weights) return;
  planned.weights = memory(wanted, engine());
  const memory plain(planned.plain_weights, engine(), nullptr);
  planned.reorder =
      towards_onednn ? dnnl::reorder(plain, planned.weights) : dnnl::reorder(planned.weights, plain);
}

Convolution plan(Direction direction, const ConvolutionGeometry& g) {
  Convolution planned;
  planned.plain_weights = g.weights;
  if (direction == inference_with_bias) {
    const auto desc = describe<dnnl::convolution_forward>(std::tuple(dnnl::prop_kind::forward_inference,
                                                                     direct, g.x, g.any_weights, g.bias, g.y,
                                                                     g.strides, g.padding, g.padding));
    planned.primitive = dnnl::convolution_forward(desc);
    plan_weights(planned, desc.weights_desc(), true);
  } else if (direction == inference) {
    const auto desc = forward_desc(g, dnnl::prop_kind::forward_inference);
    planned.primitive = dnnl::convolution_forward(desc);
    plan_weights(planned, desc.weights_desc(), true);
  } else if (direction == backward_data) {
    const auto desc = describe<dnnl::convolution_backward_data>(
        std::tuple(direct, g.x, g.any_weights, g.y, g.strides, g.padding, g.padding),
        forward_desc(g, dnnl::prop_kind::forward_training));
    planned.primitive = dnnl::convolution_backward_data(desc);
    plan_weights(planned, desc.weights_desc(), true);
  } else {
    const auto desc = describe<dnnl::convolution_backward_weights>(
        std::tuple(direct, g.x, g.any_diff_weights, g.y, g.strides, g.padding, g.padding),
        forward_desc(g, dnnl::prop_kind::forward_training));
    planned.primitive = dnnl::convolution_backward_weights(desc);
    plan_weights(planned, desc.diff_weights_desc(), false);
  }
  return planned;
}

/// The filters as the primitive wants them, read from `weight`.
memory weights_from(Convolution& planned, const Tensor& weight) {
  memory plain = wrap(planned.plain_weights, weight);
  if (!planned.weights) return plain;
  planned.reorder.execute(stream(), plain, planned.weights);
  return planned.weights;
}

/// oneDNN writes past its own workspace in the backward-weights pass of strided 1x1 convolutions with fewer
/// input channels than a vector has lanes (its issue 6035; seen with 2.6.3, in f32 and bf16): wrong sums or a
/// crash.
bool overruns(const Conv2dParams& params, const Shape& weight) {
  return weight[1] == 1 && weight[2] == 1 && params.stride > 1 && weight[3] < 16;
}

}  // namespace
}  // namespace onednn

using onednn::ConvolutionGeometry;
using onednn::key_of;
using onednn::stream;
using onednn::weights_from;
using onednn::wrap;

onednn::Convolution& OneDnnBackend::convolution(const Key& key, const ConvolutionGeometry& geometry) {
  const auto found = convolutions_.find(key);
  if (found != convolutions_.end()) return found->second;
  return convolutions_.emplace(key, plan(static_cast<onednn::Direction>(key[0]), geometry)).first->second;
}

void OneDnnBackend::conv2d(const Conv2dParams& params, const Tensor& x, const Tensor& weight,
                           const Tensor& bias, Tensor& y) {
  if (winograd_convolves(params, x, weight.shape()))
    return winograd_convolve(x, winograd_filter(weight), {.bias = bias, .residual = {}}, y);
  const ConvolutionGeometry g(params, x, weight.shape(), y);
  const auto direction = bias.defined() ? onednn::inference_with_bias : onednn::inference;
  onednn::Convolution& planned = convolution(key_of(direction, params, x, weight.shape()), g);
  std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, wrap(g.x, x)},
                                                  {DNNL_ARG_WEIGHTS, weights_from(planned, weight)},
                                                  {DNNL_ARG_DST, wrap(g.y, y)}};
  if (bias.defined()) arguments.emplace(DNNL_ARG_BIAS, wrap(g.bias, bias));
  planned.primitive.execute(stream(), arguments);
  stream().wait();
}

void OneDnnBackend::conv2d_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                                         Tensor& dx) {
  if (winograd_convolves(params, dx, weight.shape()))
    return winograd_convolve(dy, winograd_filter_backward(weight), {}, dx);
  const ConvolutionGeometry g(params, dx, weight.shape(), dy);
  onednn::Convolution& planned = convolution(key_of(onednn::backward_data, params, dx, weight.shape()), g);
  planned.primitive.execute(stream(), {{DNNL_ARG_DIFF_DST, wrap(g.y, dy)},
                                       {DNNL_ARG_WEIGHTS, weights_from(planned, weight)},
                                       {DNNL_ARG_DIFF_SRC, wrap(g.x, dx)}});
  stream().wait();
}

void OneDnnBackend::conv2d_backward_weight(const Conv2dParams& params, const Tensor& x, const Tensor& dy,
                                           Tensor& dweight) {
  if (winograd_differentiates(params, x, dweight.shape())) return winograd_backward_weight(x, dy, dweight);
  if (onednn::overruns(params, dweight.shape()))
    return EigenBackend::conv2d_backward_weight(params, x, dy, dweight);
  const ConvolutionGeometry g(params, x, dweight.shape(), dy);
  onednn::Convolution& planned = convolution(key_of(onednn::backward_weight, params, x, dweight.shape()), g);
  dnnl::memory plain = wrap(g.weights, dweight);
  dnnl::memory result = planned.weights ? planned.weights : plain;
  planned.primitive.execute(
      stream(),
      {{DNNL_ARG_SRC, wrap(g.x, x)}, {DNNL_ARG_DIFF_DST, wrap(g.y, dy)}, {DNNL_ARG_DIFF_WEIGHTS, result}});
  if (planned.weights) planned.reorder.execute(stream(), result, plain);
  stream().wait();
}

}  // namespace generous
