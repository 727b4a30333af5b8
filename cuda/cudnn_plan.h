// A convolution planned with cuDNN: descriptors, the algorithm, its math type and its workspace.
#pragma once

#include <cstddef>
#include <optional>

#include "cuda/convolutions.h"
#include "cuda/cudnn_check.h"

namespace generous::cuda {

struct ConvolutionDescriptors {
  ImagesDescriptor x;       ///< NHWC
  FilterDescriptor weight;  ///< OHWI
  ImagesDescriptor y;
  ConvolutionDescriptor convolution;

  explicit ConvolutionDescriptors(const ConvolutionProblem& problem);
};

struct ConvolutionPlan {
  ConvolutionDescriptors descriptors;  ///< with the math type of the algorithm
  int algorithm = 0;                   ///< as the enumeration of the direction numbers it
  std::size_t workspace = 0;           ///< bytes
};

/// Bytes of workspace that a plan may use.
struct WorkspaceLimit {
  std::size_t bytes = std::size_t{1} << 30U;
};

/// The best algorithm that the choice and the limit allow, or none. Measures it if so chosen, on memory of
/// its own: `stream` is waited for.
std::optional<ConvolutionPlan> plan(cudnnHandle_t library, cudaStream_t stream,
                                    const ConvolutionProblem& problem, const AlgorithmChoice& choice,
                                    const WorkspaceLimit& limit);

void execute(cudnnHandle_t library, const ConvolutionPlan& plan, Direction direction,
             const ConvolutionOperands& operands, void* workspace);

}  // namespace generous::cuda
