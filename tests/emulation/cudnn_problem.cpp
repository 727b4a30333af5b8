// Which descriptors and algorithms the emulated cuDNN takes. Where the library's tables leave a choice (NHWC
// images with an NCHW filter), the stricter answer is given: cuda/ has no use for it.
#include "cudnn_problem.h"

#include <fmt/format.h>

#include <utility>

#include "libraries.h"

namespace generous::emulation {
namespace {

/// Refuses with a text that begins with the call.
template <class... Arguments>
cudnnStatus_t refuse_call(cudnnStatus_t status, std::string_view call, fmt::format_string<Arguments...> text,
                          Arguments&&... arguments) {
  return refuse(status,
                fmt::format("{}: {}", call, fmt::format(text, std::forward<Arguments>(arguments)...)));
}

/// Whether the strides of the axes, outermost first, are those of a packed array. The stride of an axis of
/// one element says nothing.
bool is_packed(const Layout4d& layout) {
  std::int64_t expected = 1;
  for (std::size_t axis = 4; axis-- > 0;) {
    if (layout.extents[axis] != 1 && layout.strides[axis] != expected) return false;
    expected *= layout.extents[axis];
  }
  return true;
}

/// Whether no axis steps over less than the axes inside it span.
bool is_ordered(const Layout4d& layout) {
  std::int64_t span = 1;
  for (std::size_t axis = 4; axis-- > 0;) {
    if (layout.extents[axis] == 1) continue;
    if (layout.strides[axis] < span) return false;
    span = layout.strides[axis] * layout.extents[axis];
  }
  return true;
}

Layout4d by_channel_last(const cudnnTensorStruct& t) {
  return {.extents = {t.n, t.h, t.w, t.c}, .strides = {t.n_stride, t.h_stride, t.w_stride, t.c_stride}};
}

Layout4d by_channel_second(const cudnnTensorStruct& t) {
  return {.extents = {t.n, t.c, t.h, t.w}, .strides = {t.n_stride, t.c_stride, t.h_stride, t.w_stride}};
}

/// Images beside an NHWC filter are packed NHWC; beside an NCHW filter rows and planes may be padded.
bool fits_format(const cudnnTensorStruct& images, cudnnTensorFormat_t filter_format) {
  return filter_format == CUDNN_TENSOR_NHWC ? is_packed(by_channel_last(images))
                                            : is_ordered(by_channel_second(images));
}

/// Always with the axes {k, r, s, c}, whichever of them is innermost in memory.
Layout4d layout_of(const cudnnFilterStruct& f) {
  const std::int64_t plane = std::int64_t{f.h} * f.w;
  const Layout4d axes{.extents = {f.k, f.h, f.w, f.c}};
  if (f.format == CUDNN_TENSOR_NHWC)
    return {.extents = axes.extents, .strides = {plane * f.c, std::int64_t{f.w} * f.c, f.c, 1}};
  return {.extents = axes.extents, .strides = {plane * f.c, f.w, 1, plane}};
}

/// Positions of a filter with `taps` taps, `dilation` apart, along a padded extent; 0 if it does not fit.
std::int64_t positions(std::int64_t extent, std::int64_t pad, std::int64_t taps, std::int64_t dilation,
                       std::int64_t stride) {
  const std::int64_t room = extent + 2 * pad - ((taps - 1) * dilation + 1);
  return room < 0 ? 0 : room / stride + 1;
}

cudnnStatus_t check_types(std::string_view call, const Descriptors& d) {
  if (d.x->type != d.filter->type || d.x->type != d.y->type)
    return refuse_call(CUDNN_STATUS_BAD_PARAM, call, "the tensors differ in their type");
  if (d.x->type != CUDNN_DATA_FLOAT && d.x->type != CUDNN_DATA_BFLOAT16)
    return refuse_call(CUDNN_STATUS_NOT_SUPPORTED, call, "only f32 and bf16 are emulated");
  if (d.convolution->compute != CUDNN_DATA_FLOAT)
    return refuse_call(CUDNN_STATUS_NOT_SUPPORTED, call, "the compute type has to be f32");
  if (d.x->type == CUDNN_DATA_BFLOAT16 && d.convolution->math == CUDNN_FMA_MATH)
    return refuse_call(CUDNN_STATUS_NOT_SUPPORTED, call, "bf16 is multiplied by tensor cores only");
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

cudnnStatus_t output_extents(std::string_view call, cudnnConvolutionDescriptor_t convolution,
                             cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t filter,
                             std::span<int, 4> extents) {
  if (convolution == nullptr || x == nullptr || filter == nullptr)
    return refuse_call(CUDNN_STATUS_BAD_PARAM, call, "null descriptor");
  if (convolution->stride_h == 0 || x->n == 0 || filter->k == 0)
    return refuse_call(CUDNN_STATUS_BAD_PARAM, call, "a descriptor was never set");
  if (x->c != filter->c * convolution->groups)
    return refuse_call(CUDNN_STATUS_BAD_PARAM, call,
                       "{} channels of images, {} groups of {} channels of filters", x->c,
                       convolution->groups, filter->c);
  if (filter->k % convolution->groups != 0)
    return refuse_call(CUDNN_STATUS_BAD_PARAM, call, "{} filters do not divide into {} groups", filter->k,
                       convolution->groups);
  const std::int64_t p =
      positions(x->h, convolution->pad_h, filter->h, convolution->dilation_h, convolution->stride_h);
  const std::int64_t q =
      positions(x->w, convolution->pad_w, filter->w, convolution->dilation_w, convolution->stride_w);
  if (p == 0 || q == 0)
    return refuse_call(CUDNN_STATUS_BAD_PARAM, call, "the filter is larger than the padded images");
  extents[0] = x->n;
  extents[1] = filter->k;
  extents[2] = static_cast<int>(p);
  extents[3] = static_cast<int>(q);
  return CUDNN_STATUS_SUCCESS;
}

bool needs_other_math(const Problem& problem) {
  return problem.element == Element::bf16 && problem.math == CUDNN_DEFAULT_MATH;
}

cudnnStatus_t examine(std::string_view call, Direction direction, const Descriptors& d, Problem& problem) {
  if (const int status = planned_failure(call))
    return refuse_call(static_cast<cudnnStatus_t>(status), call, "a failure that a test asked for");
  int y[4] = {};
  if (const cudnnStatus_t status = output_extents(call, d.convolution, d.x, d.filter, y);
      status != CUDNN_STATUS_SUCCESS)
    return status;
  if (d.y == nullptr) return refuse_call(CUDNN_STATUS_BAD_PARAM, call, "null descriptor");
  if (d.y->n != y[0] || d.y->c != y[1] || d.y->h != y[2] || d.y->w != y[3])
    return refuse_call(CUDNN_STATUS_BAD_PARAM, call,
                       "y is {{{}, {}, {}, {}}} in NCHW, not {{{}, {}, {}, {}}}", y[0], y[1], y[2], y[3],
                       d.y->n, d.y->c, d.y->h, d.y->w);
  if (const cudnnStatus_t status = check_types(call, d); status != CUDNN_STATUS_SUCCESS) return status;
  if (!fits_format(*d.x, d.filter->format) || !fits_format(*d.y, d.filter->format))
    return refuse_call(CUDNN_STATUS_NOT_SUPPORTED, call, "images are not laid out as the filter is");

  if (!libraries().convolutions)
    return refuse_call(CUDNN_STATUS_NOT_SUPPORTED, call, "a test wants no convolution to be taken");

  const cudnnConvolutionStruct& conv = *d.convolution;
  problem = {.direction = direction,
             .n = d.x->n,
             .h = d.x->h,
             .w = d.x->w,
             .p = d.y->h,
             .q = d.y->w,
             .r = d.filter->h,
             .s = d.filter->w,
             .c = d.filter->c,
             .k = d.filter->k / conv.groups,
             .groups = conv.groups,
             .pad_h = conv.pad_h,
             .pad_w = conv.pad_w,
             .stride_h = conv.stride_h,
             .stride_w = conv.stride_w,
             .dilation_h = conv.dilation_h,
             .dilation_w = conv.dilation_w,
             .flipped = conv.mode == CUDNN_CONVOLUTION,
             .element = d.x->type == CUDNN_DATA_FLOAT ? Element::f32 : Element::bf16,
             .math = conv.math,
             .x = by_channel_last(*d.x),
             .filter = layout_of(*d.filter),
             .y = by_channel_last(*d.y)};
  return CUDNN_STATUS_SUCCESS;
}

int algorithm_count(Direction direction) {
  switch (direction) {
    case Direction::forward:
      return CUDNN_CONVOLUTION_FWD_ALGO_COUNT;
    case Direction::backward_data:
      return CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT;
    case Direction::backward_filter:
      return CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT;
  }
  return 0;
}

cudnnStatus_t examine_algorithm(std::string_view call, const Problem& problem, int algorithm) {
  if (algorithm < 0 || algorithm >= algorithm_count(problem.direction))
    return refuse_call(CUDNN_STATUS_BAD_PARAM, call, "no algorithm {}", algorithm);
  const bool third = problem.direction == Direction::backward_filter &&
                     algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3 && problem.dilation_h == 1 &&
                     problem.dilation_w == 1;
  if (algorithm > 1 && !third)
    return refuse_call(CUDNN_STATUS_NOT_SUPPORTED, call, "algorithm {} does not do this", algorithm);
  return CUDNN_STATUS_SUCCESS;
}

std::size_t workspace_bytes(const Problem& problem, int algorithm) {
  // As much as might be needed: offsets of pixels, sums in f32 beside a bf16 result, slices of a sum. Every
  // algorithm gets a size of its own, and tensor cores get more, so that no size serves for another one.
  std::int64_t bytes = 0;
  const bool bf16 = problem.element == Element::bf16;
  switch (problem.direction) {
    case Direction::forward:
      if (algorithm == 0) return 0;
      bytes = 8 * (problem.p * problem.q + problem.r * problem.s * problem.c);
      break;
    case Direction::backward_data:
      if (algorithm == 0 && !bf16) return 0;
      bytes = 4 * (algorithm == 0 ? problem.x.elements() : problem.filter.elements());
      break;
    case Direction::backward_filter:
      if (algorithm == 0 && !bf16) return 0;
      bytes = 4 * problem.filter.elements() * (algorithm + 1);
      break;
  }
  constexpr std::int64_t unit = 256;
  bytes = (bytes + unit - 1) / unit * unit + 16 * (algorithm + 1);
  return static_cast<std::size_t>(problem.math == CUDNN_FMA_MATH ? bytes : bytes + 2 * unit);
}

cudnnDeterminism_t determinism_of(Direction direction, int algorithm) {
  const bool varies =
      (direction == Direction::backward_data && algorithm == CUDNN_CONVOLUTION_BWD_DATA_ALGO_0) ||
      (direction == Direction::backward_filter && (algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 ||
                                                   algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3));
  return varies ? CUDNN_NON_DETERMINISTIC : CUDNN_DETERMINISTIC;
}

}  // namespace generous::emulation
