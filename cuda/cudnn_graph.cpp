#include "cuda/cudnn_graph.h"

#include <algorithm>
#include <array>

namespace generous::cuda {
namespace {

// Names of the tensors in a graph, by which a run says where each one lies; the sums on their way through the
// epilogue have no memory.
enum : std::int64_t { id_x = 1, id_weight, id_y, id_bias, id_residual, id_sum, id_square_sum, id_sums };

// Attributes for a GPU that is not there, by number: headers before cuDNN 9.8 do not name them.
constexpr auto heuristics_device = static_cast<cudnnBackendAttributeName_t>(204);
constexpr auto plan_device = static_cast<cudnnBackendAttributeName_t>(407);

cudnnDataType_t type_of(DType dtype) { return dtype == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT; }

/// `shape` {N, H, W, C} as cuDNN counts axes, {N, C, H, W}, with the strides of what it is in memory. Filters
/// {K, R, S, C} likewise.
Descriptor tensor(std::int64_t id, cudnnDataType_t type, const Shape& shape, bool in_memory = true) {
  const std::int64_t height = shape[1];
  const std::int64_t width = shape[2];
  const std::int64_t channels = shape[3];
  constexpr std::int64_t alignment = 16;  // bytes; the allocator's blocks are aligned to more
  Descriptor result(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  result.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::vector{shape[0], channels, height, width})
      .set(CUDNN_ATTR_TENSOR_STRIDES,
           std::vector{height * width * channels, std::int64_t{1}, width * channels, channels})
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment)
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, !in_memory);
  return result.finalize();
}

/// Sums in f32, padded alike on all sides, not turned.
Descriptor convolution(const Conv2dParams& params) {
  Descriptor result(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  result.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2})
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::vector<std::int64_t>{1, 1})
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, std::vector{params.stride, params.stride})
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, std::vector{params.padding, params.padding})
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, std::vector{params.padding, params.padding});
  return result.finalize();
}

/// The operation of a direction and the names of its attributes.
struct OperationNames {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t alpha, beta, convolution, x, weight, y;
};

OperationNames names_of(Direction direction) {
  switch (direction) {
    case Direction::backward_data:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY};
    case Direction::backward_weight:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY};
    default:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y};
  }
}

/// The operations of a problem: the convolution, then, in f32, y = activation(sums + residual + bias),
/// rounded to the type of y once.
std::vector<Descriptor> operations(const ConvolutionProblem& problem) {
  const cudnnDataType_t type = type_of(problem.dtype);
  const ConvolutionEpilogue& epilogue = problem.epilogue;
  int steps = int{epilogue.bias} + int{epilogue.residual} + int{epilogue.activation != Activation::none};
  std::int64_t next_id = id_sums;
  const auto result_of_step = [&] {  // y itself behind the last one
    return steps-- == 0 ? tensor(id_y, type, problem.y)
                        : tensor(next_id++, CUDNN_DATA_FLOAT, problem.y, /*in_memory=*/false);
  };

  Descriptor values = result_of_step();
  const OperationNames names = names_of(problem.direction);
  std::vector<Descriptor> result{Descriptor(names.operation)};
  result.back()
      .set(names.convolution, convolution(problem.params))
      .set(names.x, tensor(id_x, type, problem.x))
      .set(names.weight, tensor(id_weight, type, problem.weight))
      .set(names.y, values)
      .set(names.alpha, 1.0F)
      .set(names.beta, problem.adds ? 1.0F : 0.0F)
      .finalize();

  const auto pointwise = [&](cudnnPointwiseMode_t mode, const Descriptor* other) {
    Descriptor function(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    function.set(CUDNN_ATTR_POINTWISE_MODE, mode).set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
    if (mode == CUDNN_POINTWISE_RELU_FWD && epilogue.activation == Activation::relu6)
      function.set(CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, double{ceiling_of(epilogue.activation)});
    function.finalize();
    Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, values);
    if (other != nullptr) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *other);
    values = result_of_step();
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, values);
    result.push_back(operation.finalize());
  };
  // In this order, and with the bias in the type of the images, the library has kernels that are compiled
  // already; other graphs take it seconds each.
  if (epilogue.residual) {
    const Descriptor residual = tensor(id_residual, type, problem.y);
    pointwise(CUDNN_POINTWISE_ADD, &residual);
  }
  if (epilogue.bias) {
    const Descriptor bias = tensor(id_bias, type, {1, 1, 1, problem.y[3]});
    pointwise(CUDNN_POINTWISE_ADD, &bias);
  }
  if (epilogue.activation != Activation::none) pointwise(CUDNN_POINTWISE_RELU_FWD, nullptr);
  if (problem.sums) {
    const Shape channels{1, 1, 1, problem.y[3]};
    Descriptor operation(CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_GENSTATS_SUM_SQSUM)
        .set(CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, CUDNN_DATA_FLOAT)
        .set(CUDNN_ATTR_OPERATION_GENSTATS_XDESC, values)
        .set(CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, tensor(id_sum, CUDNN_DATA_FLOAT, channels))
        .set(CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, tensor(id_square_sum, CUDNN_DATA_FLOAT, channels));
    result.push_back(operation.finalize());
  }
  return result;
}

}  // namespace

bool Candidate::has(cudnnBackendNumericalNote_t note) const {
  return std::find(numerics.begin(), numerics.end(), note) != numerics.end();
}

bool allowed(const Candidate& candidate, DType dtype, const AlgorithmChoice& choice) {
  if (candidate.has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) return false;
  if (choice.deterministic && candidate.has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) return false;
  const bool transforms = candidate.has(CUDNN_NUMERICAL_NOTE_FFT) ||
                          candidate.has(CUDNN_NUMERICAL_NOTE_WINOGRAD) ||
                          candidate.has(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4) ||
                          candidate.has(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6) ||
                          candidate.has(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13);
  if (transforms && choice.convolutions == ConvolutionChoice::direct) return false;
  if (dtype != DType::f32) return true;
  if (candidate.has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) return false;
  return choice.tf32 || !(transforms || candidate.has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE));
}

ConvolutionGraph::ConvolutionGraph(const ConvolutionProblem& problem, const Target& target)
    : target_(target), graph_(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
  if (target.handle != nullptr) graph_.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, target.handle);
  graph_.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations(problem)).finalize();
}

std::vector<Candidate> ConvolutionGraph::candidates() const {
  std::vector<Candidate> found;
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph_).set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
    if (target_.device != nullptr) heuristics.set(heuristics_device, *target_.device);
    try {
      heuristics.finalize();
    } catch (const CudnnError& error) {
      if (!error.refusal()) throw;
      continue;  // no rule for such a graph
    }
    for (Descriptor& config :
         heuristics.get_descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)) {
      const Descriptor engine =
          config.get_descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR).at(0);
      found.push_back({.config = config,
                       .engine = engine.get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX).at(0),
                       .numerics = engine.get<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                                                           CUDNN_NUMERICAL_NOTE_TYPE_COUNT),
                       .behavior = engine.get<cudnnBackendBehaviorNote_t>(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                                                                          CUDNN_BEHAVIOR_NOTE_TYPE_COUNT)});
    }
  }
  return found;
}

Plan ConvolutionGraph::plan(const Candidate& candidate) const {
  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, candidate.config);
  if (target_.handle != nullptr) plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, target_.handle);
  if (target_.device != nullptr) plan.set(plan_device, *target_.device);
  plan.finalize();
  const auto workspace = plan.get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE).at(0);
  return {.descriptor = plan, .workspace = static_cast<std::size_t>(workspace), .engine = candidate.engine};
}

void execute(cudnnHandle_t handle, const Plan& plan, const ConvolutionOperands& operands, void* workspace) {
  std::vector<std::int64_t> ids;
  std::vector<void*> addresses;
  const auto add = [&](std::int64_t id, void* address) {
    if (address == nullptr) return;  // not part of the graph
    ids.push_back(id);
    addresses.push_back(address);
  };
  add(id_x, operands.x);
  add(id_weight, operands.weight);
  add(id_y, operands.y);
  add(id_bias, operands.bias);
  add(id_residual, operands.residual);
  add(id_sum, operands.sum);
  add(id_square_sum, operands.square_sum);
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, addresses)
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace)
      .finalize();
  require_success(cudnnBackendExecute(handle, plan.descriptor.raw(), pack.raw()), "cudnnBackendExecute");
}

}  // namespace generous::cuda
