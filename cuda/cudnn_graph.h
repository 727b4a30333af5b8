// A convolution and what follows it as a graph of cuDNN, and the plans by which the library could compute it.
// The GPU may be one that is described only: then plans can be made and not be run.
#pragma once

#include <vector>

#include "cuda/convolutions.h"
#include "cuda/cudnn_descriptor.h"

namespace generous::cuda {

/// For which GPU: that of a handle, or that of a CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR.
struct Target {
  cudnnHandle_t handle = nullptr;
  const Descriptor* device = nullptr;  ///< in place of a handle
};

/// An engine and how it is set up: one way to compute a graph, not yet known to work.
struct Candidate {
  Descriptor config;
  std::int64_t engine = 0;                              ///< its number within the library, for people
  std::vector<cudnnBackendNumericalNote_t> numerics{};  ///< what its arithmetic takes the liberty of
  std::vector<cudnnBackendBehaviorNote_t> behavior{};

  bool has(cudnnBackendNumericalNote_t note) const;
};

/// Whether the numbers of a candidate are what the choice asks for: never factors of f32 rounded to f16 nor
/// sums in less than f32; neither rounding on tensor cores nor transforms (Winograd, FFT) for f32 that is to
/// be exact.
bool allowed(const Candidate& candidate, DType dtype, const AlgorithmChoice& choice);

/// What can be run: a candidate's kernels, ready on the target.
struct Plan {
  Descriptor descriptor;
  std::size_t workspace = 0;  ///< bytes
  std::int64_t engine = 0;
};

class ConvolutionGraph {
 public:
  /// Throws CudnnError where the library does not take such a graph.
  ConvolutionGraph(const ConvolutionProblem& problem, const Target& target);

  /// The library's own order, best first, and behind them those that it falls back to; none where it has
  /// none.
  std::vector<Candidate> candidates() const;
  /// Makes a candidate ready, which may compile kernels. Throws CudnnError if it does not work out.
  Plan plan(const Candidate& candidate) const;

 private:
  Target target_;
  Descriptor graph_;
};

/// Puts a plan on the handle's stream. Throws CudnnError.
void execute(cudnnHandle_t handle, const Plan& plan, const ConvolutionOperands& operands, void* workspace);

}  // namespace generous::cuda
