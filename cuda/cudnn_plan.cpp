#include "cuda/cudnn_plan.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <vector>

#include "core/error.h"
#include "cuda/cudnn_directions.h"

namespace generous::cuda {
namespace {

/// What a performance record says, for any direction.
struct Candidate {
  int algorithm;
  cudnnMathType_t math;
  std::size_t workspace;
  bool deterministic;
  bool transforms;
};

int extent(std::int64_t size) {
  require(size <= std::numeric_limits<int>::max(), "conv2d: an extent of {} is more than cuDNN takes", size);
  return static_cast<int>(size);
}

cudnnDataType_t type_of(DType dtype) { return dtype == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT; }

void describe(const ImagesDescriptor& images, DType dtype, const Shape& shape) {
  check(cudnnSetTensor4dDescriptor(images.get(), CUDNN_TENSOR_NHWC, type_of(dtype), extent(shape[0]),
                                   extent(shape[3]), extent(shape[1]), extent(shape[2])),
        "conv2d", "cudnnSetTensor4dDescriptor");
}

/// f32 factors that are not to be rounded: no tensor cores.
bool exact(const ConvolutionProblem& problem, const AlgorithmChoice& choice) {
  return problem.dtype == DType::f32 && !choice.tf32;
}

/// The math type to ask with. It is asked for before the algorithms are: the library predicts only what it
/// allows.
cudnnMathType_t wanted_math(const ConvolutionProblem& problem, const AlgorithmChoice& choice) {
  if (exact(problem, choice)) return CUDNN_FMA_MATH;
  return problem.dtype == DType::bf16 ? CUDNN_TENSOR_OP_MATH : CUDNN_DEFAULT_MATH;
}

void set_math(const ConvolutionDescriptors& descriptors, cudnnMathType_t math) {
  check(cudnnSetConvolutionMathType(descriptors.convolution.get(), math), "conv2d",
        "cudnnSetConvolutionMathType");
}

bool allowed(const Candidate& candidate, const ConvolutionProblem& problem, const AlgorithmChoice& choice,
             const WorkspaceLimit& limit) {
  if (choice.deterministic && !candidate.deterministic) return false;
  if (choice.convolutions == ConvolutionChoice::direct && candidate.transforms) return false;
  if (candidate.workspace > limit.bytes) return false;
  if (exact(problem, choice)) return candidate.math == CUDNN_FMA_MATH || candidate.math == CUDNN_DEFAULT_MATH;
  return candidate.math != CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION;  // which rounds f32 to f16
}

template <class Calls>
std::vector<Candidate> candidates_of(const std::array<typename Calls::Record, 2 * Calls::algorithms>& records,
                                     int count) {
  std::vector<Candidate> candidates;
  for (const auto& record : std::span(records).first(static_cast<std::size_t>(count)))
    if (record.status == CUDNN_STATUS_SUCCESS)
      candidates.push_back({.algorithm = record.algo,
                            .math = record.mathType,
                            .workspace = record.memory,
                            .deterministic = record.determinism == CUDNN_DETERMINISTIC,
                            .transforms = Calls::transforms(record.algo)});
  return candidates;
}

/// Best first, by the library's rules of thumb; none where it does not take the problem at all.
template <class Calls>
std::vector<Candidate> predicted(cudnnHandle_t library, const ConvolutionDescriptors& descriptors) {
  std::array<typename Calls::Record, 2 * Calls::algorithms> records{};
  int count = 0;
  const cudnnStatus_t status =
      Calls::predict(library, descriptors, static_cast<int>(records.size()), &count, records.data());
  if (status == CUDNN_STATUS_NOT_SUPPORTED) return {};
  check(status, "conv2d", "cudnnGetConvolution...Algorithm_v7");
  return candidates_of<Calls>(records, count);
}

/// Best first, by the clock, on zeros.
template <class Calls>
std::vector<Candidate> measured(cudnnHandle_t library, cudaStream_t stream,
                                const ConvolutionDescriptors& descriptors, const ConvolutionProblem& problem,
                                std::size_t workspace_bytes) {
  const auto zeros = [&](const Shape& shape) {
    Tensor scratch = Tensor::empty(shape, problem.dtype, Device::cuda);
    check(cudaMemsetAsync(scratch.raw(), 0, scratch.bytes(), stream), "conv2d", "cudaMemsetAsync");
    return scratch;
  };
  const Tensor x = zeros(problem.x);
  const Tensor weight = zeros(problem.weight);
  const Tensor y = zeros(problem.y);
  const Tensor workspace =
      Tensor::empty({static_cast<std::int64_t>(workspace_bytes)}, DType::u8, Device::cuda);
  std::array<typename Calls::Record, 2 * Calls::algorithms> records{};
  int count = 0;
  check(Calls::measure(library, descriptors, {.x = x.raw(), .weight = weight.raw(), .y = y.raw()},
                       static_cast<int>(records.size()), &count, records.data(), workspace.raw(),
                       workspace_bytes),
        "conv2d", "cudnnFindConvolution...AlgorithmEx");
  return candidates_of<Calls>(records, count);
}

}  // namespace

ConvolutionDescriptors::ConvolutionDescriptors(const ConvolutionProblem& problem)
    : x(make<ImagesDescriptor>(cudnnCreateTensorDescriptor)),
      weight(make<FilterDescriptor>(cudnnCreateFilterDescriptor)),
      y(make<ImagesDescriptor>(cudnnCreateTensorDescriptor)),
      convolution(make<ConvolutionDescriptor>(cudnnCreateConvolutionDescriptor)) {
  const Conv2dParams& p = problem.params;
  const Shape& w = problem.weight;
  describe(x, problem.dtype, problem.x);
  describe(y, problem.dtype, problem.y);
  check(cudnnSetFilter4dDescriptor(weight.get(), type_of(problem.dtype), CUDNN_TENSOR_NHWC, extent(w[0]),
                                   extent(w[3]), extent(w[1]), extent(w[2])),
        "conv2d", "cudnnSetFilter4dDescriptor");
  check(cudnnSetConvolution2dDescriptor(convolution.get(), extent(p.padding), extent(p.padding),
                                        extent(p.stride), extent(p.stride), 1, 1, CUDNN_CROSS_CORRELATION,
                                        CUDNN_DATA_FLOAT),
        "conv2d", "cudnnSetConvolution2dDescriptor");
  check(cudnnSetConvolutionGroupCount(convolution.get(), extent(p.groups)), "conv2d",
        "cudnnSetConvolutionGroupCount");
}

std::optional<ConvolutionPlan> plan(cudnnHandle_t library, cudaStream_t stream,
                                    const ConvolutionProblem& problem, const AlgorithmChoice& choice,
                                    const WorkspaceLimit& limit) {
  return visit(problem.direction, [&]<class Calls>(Calls) -> std::optional<ConvolutionPlan> {
    ConvolutionPlan plan{.descriptors = ConvolutionDescriptors(problem)};
    set_math(plan.descriptors, wanted_math(problem, choice));
    const auto is_allowed = [&](const Candidate& c) { return allowed(c, problem, choice, limit); };

    std::vector<Candidate> candidates = predicted<Calls>(library, plan.descriptors);
    if (choice.convolutions == ConvolutionChoice::measured) {
      std::size_t most = 0;
      for (const Candidate& candidate : candidates)
        if (is_allowed(candidate)) most = std::max(most, candidate.workspace);
      candidates = measured<Calls>(library, stream, plan.descriptors, problem, most);
    }
    for (const Candidate& candidate : candidates) {
      if (!is_allowed(candidate)) continue;
      // The record's math type, not the one that was asked for: with another one the same algorithm is
      // another kernel. "Default" lets f32 be rounded to TF32; where that is not wanted, the question for the
      // workspace tells whether there is a kernel that does not round.
      set_math(plan.descriptors, exact(problem, choice) ? CUDNN_FMA_MATH : candidate.math);
      plan.algorithm = candidate.algorithm;
      const auto algorithm = static_cast<typename Calls::Algorithm>(candidate.algorithm);
      if (Calls::workspace(library, plan.descriptors, algorithm, &plan.workspace) == CUDNN_STATUS_SUCCESS &&
          plan.workspace <= limit.bytes)
        return plan;
    }
    return std::nullopt;
  });
}

void execute(cudnnHandle_t library, const ConvolutionPlan& plan, Direction direction,
             const ConvolutionOperands& operands, void* workspace) {
  visit(direction, [&]<class Calls>(Calls) {
    const auto algorithm = static_cast<typename Calls::Algorithm>(plan.algorithm);
    check(Calls::run(library, plan.descriptors, algorithm, operands, workspace, plan.workspace),
          name_of(direction), "cudnnConvolution...");
  });
}

}  // namespace generous::cuda
