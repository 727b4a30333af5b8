// Which tensors, operations and graphs the emulated cuDNN takes: a convolution in one direction, and behind a
// forward one any number of sums with other tensors and ReLUs, as the real library fuses them, at last the
// sums of each channel.
#include "cudnn_problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "libraries.h"

namespace generous::emulation {
namespace {

cudnnStatus_t bad(std::string_view what) {
  return refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("cudnnBackendFinalize: {}", what));
}

std::size_t bytes_of(cudnnDataType_t type) {
  return type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_INT32     ? 4
         : type == CUDNN_DATA_DOUBLE || type == CUDNN_DATA_INT64  ? 8
         : type == CUDNN_DATA_BFLOAT16 || type == CUDNN_DATA_HALF ? 2
                                                                  : 1;
}

/// {n, c, h, w} with channels last.
std::array<std::int64_t, 4> channels_last(const std::vector<std::int64_t>& axes) {
  return {axes[0], axes[2], axes[3], axes[1]};
}

cudnnStatus_t finalize_tensor(const BackendDescriptor& d) {
  const auto dims = d.all<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
  const auto strides = d.all<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
  if (dims.size() != 4 || strides.size() != 4) return bad("only tensors of four axes are emulated");
  if (!d.has(CUDNN_ATTR_TENSOR_UNIQUE_ID) || !d.has(CUDNN_ATTR_TENSOR_DATA_TYPE))
    return bad("a tensor without id or type");
  if (std::ranges::min(dims) < 1 || std::ranges::min(strides) < 1) return bad("an extent or stride below 1");
  const auto alignment = d.one<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 0);
  const auto size = static_cast<std::int64_t>(bytes_of(d.one(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_DATA_FLOAT)));
  if (alignment < 1 || alignment % size != 0) return bad(fmt::format("an alignment to {} bytes", alignment));
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalize_convolution(const BackendDescriptor& d) {
  for (const auto name : {CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES,
                          CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS}) {
    const auto values = d.all<std::int64_t>(name);
    const bool paddings =
        name == CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS || name == CUDNN_ATTR_CONVOLUTION_POST_PADDINGS;
    if (values.size() != 2 || std::ranges::min(values) < (paddings ? 0 : 1))
      return bad(fmt::format("convolution: attribute {}", static_cast<int>(name)));
  }
  if (d.one<std::int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 0) != 2 ||
      !d.has(CUDNN_ATTR_CONVOLUTION_COMP_TYPE) || !d.has(CUDNN_ATTR_CONVOLUTION_CONV_MODE))
    return bad("convolution: two spatial axes, a type and a mode are needed");
  return CUDNN_STATUS_SUCCESS;
}

GraphTensor tensor_of(const BackendDescriptor& d) {
  const auto type = d.one(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_DATA_FLOAT);
  GraphTensor tensor{.id = d.one<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID, 0),
                     .in_memory = !d.one(CUDNN_ATTR_TENSOR_IS_VIRTUAL, false),
                     .element = std::nullopt,
                     .layout = {.extents = channels_last(d.all<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS)),
                                .strides = channels_last(d.all<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES))},
                     .alignment = d.one<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 0)};
  if (type == CUDNN_DATA_FLOAT) tensor.element = Element::f32;
  if (type == CUDNN_DATA_BFLOAT16) tensor.element = Element::bf16;
  return tensor;
}

/// Positions of a filter with `taps` taps, `dilation` apart, along a padded extent; 0 if it does not fit.
std::int64_t positions(std::int64_t extent, std::int64_t pads, std::int64_t taps, std::int64_t dilation,
                       std::int64_t stride) {
  const std::int64_t room = extent + pads - ((taps - 1) * dilation + 1);
  return room < 0 ? 0 : room / stride + 1;
}

/// The direction of a convolution's operation, and the name of its first attribute, alpha.
std::optional<std::pair<Direction, int>> direction_of(cudnnBackendDescriptorType_t type) {
  switch (type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
      return std::pair(Direction::forward, int{CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA});
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
      return std::pair(Direction::backward_data, int{CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA});
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
      return std::pair(Direction::backward_filter, int{CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA});
    default:
      return std::nullopt;
  }
}

/// Fills `problem` from a convolution's operation.
cudnnStatus_t examine_convolution(const BackendDescriptor& d, const std::pair<Direction, int>& operation,
                                  Problem& problem) {
  const auto& [direction, first] = operation;
  const auto name = [first = first](cudnnBackendAttributeName_t forward) {
    return static_cast<cudnnBackendAttributeName_t>(first + forward -
                                                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA);
  };
  const auto tensor = [&](cudnnBackendAttributeName_t forward) {
    return part(d, name(forward), CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  };
  const auto* convolution =
      part(d, name(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC), CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const auto* x = tensor(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X);
  const auto* filter = tensor(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W);
  const auto* y = tensor(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y);
  if (convolution == nullptr || x == nullptr || filter == nullptr || y == nullptr)
    return bad("a convolution lacks a descriptor, or one is not finalised");
  Problem& p = problem;
  p.direction = direction;
  p.x = tensor_of(*x);
  p.filter = tensor_of(*filter);
  p.y = tensor_of(*y);
  p.alpha = d.one(name(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA), 1.0F);
  p.beta = d.one(name(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA), 0.0F);
  const auto both = [&](cudnnBackendAttributeName_t of, std::int64_t& vertical, std::int64_t& horizontal) {
    const auto values = convolution->all<std::int64_t>(of);
    vertical = values[0];
    horizontal = values[1];
  };
  std::int64_t post_h = 0, post_w = 0;
  both(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, p.pad_h, p.pad_w);
  both(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, post_h, post_w);
  both(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, p.stride_h, p.stride_w);
  both(CUDNN_ATTR_CONVOLUTION_DILATIONS, p.dilation_h, p.dilation_w);
  p.flipped =
      convolution->one(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION) == CUDNN_CONVOLUTION;

  std::int64_t channels = 0, filters = 0;
  const auto& [n, h, w, all_c] = p.x.layout.extents;
  const auto& [k, r, s, c] = p.filter.layout.extents;
  p.n = n, p.h = h, p.w = w, channels = all_c;
  p.r = r, p.s = s, p.c = c, filters = k;
  if (channels % c != 0) return bad(fmt::format("{} channels for filters of {}", channels, c));
  p.groups = channels / c;
  if (filters % p.groups != 0) return bad(fmt::format("{} filters in {} groups", filters, p.groups));
  p.k = filters / p.groups;
  p.p = positions(h, p.pad_h + post_h, r, p.dilation_h, p.stride_h);
  p.q = positions(w, p.pad_w + post_w, s, p.dilation_w, p.stride_w);
  if (p.y.layout.extents != std::array{n, p.p, p.q, filters} || p.p * p.q == 0)
    return bad(fmt::format("y is not {{{}, {}, {}, {}}} (n, h, w, c)", n, p.p, p.q, filters));
  p.has_engines = convolution->one(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT) == CUDNN_DATA_FLOAT;
  return CUDNN_STATUS_SUCCESS;
}

/// Adds to `problem` a pointwise operation on what came out so far.
cudnnStatus_t examine_pointwise(const BackendDescriptor& d, Problem& problem) {
  const auto* function =
      part(d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  const auto* x = part(d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  const auto* y = part(d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  const auto* b = part(d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  if (function == nullptr || x == nullptr || y == nullptr)
    return bad("a pointwise operation lacks a descriptor, or one is not finalised");
  const auto mode = function->one(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_ADD);
  if (function->one(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_HALF) != CUDNN_DATA_FLOAT)
    problem.has_engines = false;
  const GraphTensor before = tensor_of(*x);
  if (before.id != problem.y.id || before.in_memory)
    return bad("a pointwise operation on something else than the sums on their way");
  if (before.element != Element::f32) problem.has_engines = false;
  problem.y = tensor_of(*y);
  if (problem.y.layout.extents != before.layout.extents)
    return bad("a pointwise operation changes the shape");
  if (mode == CUDNN_POINTWISE_RELU_FWD) {
    const double clip =
        function->one(CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, double{std::numeric_limits<float>::infinity()});
    problem.steps.push_back({.added = std::nullopt, .ceiling = static_cast<float>(clip)});
    return CUDNN_STATUS_SUCCESS;
  }
  if (mode != CUDNN_POINTWISE_ADD || b == nullptr)
    return refuse(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, "only sums of two and ReLU are emulated");
  const GraphTensor added = tensor_of(*b);
  const auto& extents = added.layout.extents;
  if (extents != before.layout.extents &&
      extents != std::array{std::int64_t{1}, std::int64_t{1}, std::int64_t{1}, before.layout.extents[3]})
    return bad("what is added fits neither the images nor their channels");
  problem.steps.push_back({.added = added, .ceiling = 0.0F});
  return CUDNN_STATUS_SUCCESS;
}

/// Adds to `problem` the sums of y's channels.
cudnnStatus_t examine_sums(const BackendDescriptor& d, Problem& problem) {
  const auto tensor = [&](cudnnBackendAttributeName_t name) {
    return part(d, name, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  };
  const auto* x = tensor(CUDNN_ATTR_OPERATION_GENSTATS_XDESC);
  const auto* sum = tensor(CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC);
  const auto* square_sum = tensor(CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC);
  if (x == nullptr || sum == nullptr || square_sum == nullptr || !d.has(CUDNN_ATTR_OPERATION_GENSTATS_MODE))
    return bad("sums of channels lack a descriptor, or one is not finalised");
  if (tensor_of(*x).id != problem.y.id || !problem.y.in_memory || problem.sum)
    return refuse(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, "sums of something else than what is kept");
  problem.sum = tensor_of(*sum);
  problem.square_sum = tensor_of(*square_sum);
  for (const auto& result : {*problem.sum, *problem.square_sum}) {
    if (!result.per_channel() || result.layout.extents[3] != problem.y.layout.extents[3])
      return bad("sums that do not fit the channels");
    if (result.element != Element::f32) problem.has_engines = false;
  }
  if (d.one(CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, CUDNN_DATA_HALF) != CUDNN_DATA_FLOAT)
    problem.has_engines = false;
  return CUDNN_STATUS_SUCCESS;
}

bool ids_differ(const Problem& problem) {
  const std::vector<GraphTensor> tensors = problem.tensors();
  std::set<std::int64_t> ids;
  for (const GraphTensor& tensor : tensors) ids.insert(tensor.id);
  return ids.size() == tensors.size();
}

/// Types and patterns for which the real library was seen to have no engine.
bool has_engines(const Problem& p) {
  if (!p.has_engines || !libraries().convolutions) return false;
  const Element element = p.element();
  const bool depthwise = p.groups > 1 && p.c == 1;
  if (p.sum && (element == Element::f32 || depthwise)) return false;
  bool one_type = p.x.element && p.filter.element == element && p.y.element == element;
  for (const Step& step : p.steps) {
    if (p.direction != Direction::forward) return false;
    if (!step.added) continue;
    // A bias of f32 is taken beside images of bf16, but not by a filter for each channel.
    one_type = one_type && (step.added->element == element ||
                            (step.added->per_channel() && step.added->element == Element::f32 && !depthwise));
  }
  return one_type;
}

cudnnStatus_t finalize_graph(BackendDescriptor& d) {
  const auto operations = d.all<cudnnBackendDescriptor_t>(CUDNN_ATTR_OPERATIONGRAPH_OPS);
  if (operations.empty()) return bad("a graph without operations");
  Problem problem;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    const BackendDescriptor* operation = finalized(operations[i]);
    if (operation == nullptr) return bad("an operation that is not finalised");
    const auto direction = direction_of(operation->type);
    const bool sums = operation->type == CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR;
    if (direction.has_value() != (i == 0) || problem.sum ||
        (i > 0 && !sums && operation->type != CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR))
      return refuse(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN,
                    "a graph that is no convolution and what follows it");
    const auto status = direction ? examine_convolution(*operation, *direction, problem)
                        : sums    ? examine_sums(*operation, problem)
                                  : examine_pointwise(*operation, problem);
    if (status != CUDNN_STATUS_SUCCESS) return status;
  }
  if (!problem.y.in_memory) return bad("nothing of the graph is kept in memory");
  if (!ids_differ(problem)) return bad("two tensors of one id");
  problem.has_engines = has_engines(problem);
  d.problem = std::make_shared<const Problem>(problem);
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

std::vector<GraphTensor> Problem::tensors() const {
  std::vector<GraphTensor> all{x, filter, y};
  for (const Step& step : steps)
    if (step.added) all.push_back(*step.added);
  for (const auto& result : {sum, square_sum})
    if (result) all.push_back(*result);
  return all;
}

cudnnStatus_t finalize_graph_part(BackendDescriptor& descriptor) {
  if (const auto direction = direction_of(descriptor.type)) {
    Problem problem;
    return examine_convolution(descriptor, *direction, problem);
  }
  switch (descriptor.type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
      return finalize_tensor(descriptor);
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR:
      return finalize_convolution(descriptor);
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
      return finalize_graph(descriptor);
    default:
      return CUDNN_STATUS_SUCCESS;
  }
}

}  // namespace generous::emulation
