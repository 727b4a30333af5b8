// How close a step is to the time of its convolutions alone.
#pragma once

#include <vector>

#include "apps/benchmark/workload.h"
#include "core/profiling_backend.h"

namespace generous {

/// A kind of convolution of a step.
struct TimedConvolution {
  ConvolutionCall call;
  std::int64_t calls = 0;  ///< of this kind in a step
  double seconds = 0.0;    ///< that one takes

  double all_seconds() const { return static_cast<double>(calls) * seconds; }
};

/// How long one step's convolutions take by themselves: each kind is run again alone, warm, by the fastest
/// algorithm there is (measured). Leaves the backend's choice of convolutions at `choice`.
std::vector<TimedConvolution> time_convolutions(Workload& workload, const AlgorithmChoice& choice);

}  // namespace generous
