// Convolution: by our own Winograd where it applies and is faster, by our own kernels where every channel is
// by itself or groups are narrow, by oneDNN otherwise. Images stay NHWC; filters are reordered from OHWI to
// whatever oneDNN runs fastest with. Filters in training are small and change with every step: they go into a
// buffer kept beside the primitive. A frozen filter is reordered once.

#include <chrono>
#include <limits>

#include "core/cpu/depthwise.h"
#include "core/cpu/grouped_pointwise.h"
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

/// What is prepared from `filter` so far: nothing at first.
PreparedConvolution& prepared(FrozenFilter& filter) {
  if (auto* found = dynamic_cast<PreparedConvolution*>(filter.prepared.get())) return *found;
  const auto fresh = std::make_shared<PreparedConvolution>();
  filter.prepared = fresh;
  return *fresh;
}

/// The filters as the primitive wants them, reordered at the first call alone.
memory weights_from(Convolution& planned, FrozenFilter& filter) {
  memory plain = wrap(planned.plain_weights, filter.weight);
  if (!planned.weights) return plain;
  std::vector<memory>& layouts = prepared(filter).layouts;
  const memory::desc wanted = planned.weights.get_desc();
  for (const memory& known : layouts)
    if (known.get_desc() == wanted) return known;
  layouts.emplace_back(wanted, engine());
  planned.reorder.execute(stream(), plain, layouts.back());
  return layouts.back();
}

/// The filter as Winograd's algorithm wants it, transformed at the first call alone.
const Tensor& winograd_form(FrozenFilter& filter) {
  Tensor& form = prepared(filter).winograd;
  if (!form.defined()) form = winograd_filter(filter.weight);
  return form;
}

/// Whether Winograd's algorithm wins; each is run once to warm up, then timed by its best of three.
bool is_faster(const Contest& contest) {
  const auto seconds = [](const std::function<void()>& algorithm) {
    algorithm();
    double best = std::numeric_limits<double>::infinity();
    for (int run = 0; run < 3; ++run) {
      const auto begin = std::chrono::steady_clock::now();
      algorithm();
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return best;
  };
  return seconds(contest.winograd) < seconds(contest.direct);
}

/// Runs a forward convolution; `bias` may be undefined.
void run_forward(const Convolution& planned, const ConvolutionGeometry& g, const memory& weights,
                 const Tensor& x, const Tensor& bias, Tensor& y) {
  std::unordered_map<int, memory> arguments{
      {DNNL_ARG_SRC, wrap(g.x, x)}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, wrap(g.y, y)}};
  if (bias.defined()) arguments.emplace(DNNL_ARG_BIAS, wrap(g.bias, bias));
  planned.primitive.execute(stream(), arguments);
  stream().wait();
}

}  // namespace
}  // namespace onednn

using onednn::ConvolutionGeometry;
using onednn::is_faster;
using onednn::key_of;
using onednn::run_forward;
using onednn::stream;
using onednn::weights_from;
using onednn::winograd_form;
using onednn::wrap;

onednn::Convolution& OneDnnBackend::convolution(const Key& key, const ConvolutionGeometry& geometry) {
  const auto found = convolutions_.find(key);
  if (found != convolutions_.end()) return found->second;
  return convolutions_.emplace(key, plan(static_cast<onednn::Direction>(key[0]), geometry)).first->second;
}

void OneDnnBackend::run(const onednn::Contest& contest, const Key& key) {
  bool winograd = contest.possible && choice_ != ConvolutionChoice::direct && contest.rule;
  if (contest.possible && choice_ == ConvolutionChoice::measured) {
    const auto found = measured_.find(key);
    winograd =
        found != measured_.end() ? found->second : measured_.emplace(key, is_faster(contest)).first->second;
  }
  winograd ? contest.winograd() : contest.direct();
}

void OneDnnBackend::conv2d(const Conv2dParams& params, const Tensor& x, const Tensor& weight,
                           const Tensor& bias, Tensor& y) {
  if (depthwise_applies(params, x, weight.shape()))
    return depthwise_convolve(params, x, weight, bias, Activation::none, y);
  const auto direction = bias.defined() ? onednn::inference_with_bias : onednn::inference;
  const Key key = key_of(direction, params, x, weight.shape());
  run({.possible = winograd_applies(params, x, weight.shape()),
       .rule = winograd_convolves_faster(x, weight.shape()),
       .winograd = [&] { winograd_convolve(x, winograd_filter(weight), bias, {}, y); },
       .direct =
           [&] {
             const ConvolutionGeometry g(params, x, weight.shape(), y);
             onednn::Convolution& planned = convolution(key, g);
             run_forward(planned, g, weights_from(planned, weight), x, bias, y);
           }},
      key);
}

// Not by oneDNN's post-operations: its ReLU turns NaN into 0, its sum wants the residual copied into y, which
// costs what a pass does, and with a binary addition 2.6 leaves its fast path.
void OneDnnBackend::conv2d_inference(const Conv2dParams& params, const Tensor& x, FrozenFilter& filter,
                                     const Conv2dEpilogue& epilogue, Tensor& y) {
  const Shape& w = filter.weight.shape();
  if (depthwise_applies(params, x, w)) {
    const bool fused = !epilogue.residual.defined();
    depthwise_convolve(params, x, filter.weight, filter.bias, fused ? epilogue.activation : Activation::none,
                       y);
    return fused ? void() : apply(epilogue, y);
  }
  const auto direction = filter.bias.defined() ? onednn::inference_with_bias : onednn::inference;
  const Key key = key_of(direction, params, x, w);
  run({.possible = winograd_applies(params, x, w),
       .rule = winograd_convolves_faster(x, w),
       .winograd = [&] { winograd_convolve(x, winograd_form(filter), filter.bias, epilogue, y); },
       .direct =
           [&] {
             const ConvolutionGeometry g(params, x, w, y);
             onednn::Convolution& planned = convolution(key, g);
             run_forward(planned, g, weights_from(planned, filter), x, filter.bias, y);
             apply(epilogue, y);
           }},
      key);
}

void OneDnnBackend::conv2d_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                                         Tensor& dx) {
  if (depthwise_applies(params, dx, weight.shape())) return depthwise_backward_data(params, dy, weight, dx);
  if (grouped_pointwise_data_applies(params, dx, weight.shape()))
    return grouped_pointwise_backward_data(params, dy, weight, dx);
  const Key key = key_of(onednn::backward_data, params, dx, weight.shape());
  run({.possible = winograd_applies(params, dx, weight.shape()),
       .rule = winograd_convolves_faster(dx, weight.shape()),
       .winograd = [&] { winograd_convolve(dy, winograd_filter_backward(weight), {}, {}, dx); },
       .direct =
           [&] {
             const ConvolutionGeometry g(params, dx, weight.shape(), dy);
             onednn::Convolution& planned = convolution(key, g);
             planned.primitive.execute(stream(), {{DNNL_ARG_DIFF_DST, wrap(g.y, dy)},
                                                  {DNNL_ARG_WEIGHTS, weights_from(planned, weight)},
                                                  {DNNL_ARG_DIFF_SRC, wrap(g.x, dx)}});
             stream().wait();
           }},
      key);
}

void OneDnnBackend::conv2d_backward_weight(const Conv2dParams& params, const Tensor& x, const Tensor& dy,
                                           Tensor& dweight) {
  if (depthwise_applies(params, x, dweight.shape()) && params.stride == 1)
    return depthwise_backward_weight(x, dy, dweight);
  if (grouped_pointwise_weight_applies(params, x, dweight.shape()))
    return grouped_pointwise_backward_weight(params, x, dy, dweight);
  if (onednn::overruns(params, dweight.shape()))
    return EigenBackend::conv2d_backward_weight(params, x, dy, dweight);
  const Key key = key_of(onednn::backward_weight, params, x, dweight.shape());
  run({.possible = winograd_applies(params, x, dweight.shape()),
       .rule = true,
       .winograd = [&] { winograd_backward_weight(x, dy, dweight); },
       .direct =
           [&] {
             const ConvolutionGeometry g(params, x, dweight.shape(), dy);
             onednn::Convolution& planned = convolution(key, g);
             dnnl::memory plain = wrap(g.weights, dweight);
             dnnl::memory result = planned.weights ? planned.weights : plain;
             planned.primitive.execute(stream(), {{DNNL_ARG_SRC, wrap(g.x, x)},
                                                  {DNNL_ARG_DIFF_DST, wrap(g.y, dy)},
                                                  {DNNL_ARG_DIFF_WEIGHTS, result}});
             if (planned.weights) planned.reorder.execute(stream(), result, plain);
             stream().wait();
           }},
      key);
}

}  // namespace generous
