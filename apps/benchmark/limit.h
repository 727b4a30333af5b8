// How close a step is to the time of its convolutions alone.
#pragma once

#include "apps/benchmark/workload.h"

namespace generous {

/// Seconds that one step's convolutions take by themselves: each distinct one is run again alone, warm, by
/// the fastest algorithm there is (measured), and counted as often as the step has it. Leaves the backend's
/// choice of convolutions at `choice`.
double convolution_seconds(Workload& workload, const AlgorithmChoice& choice);

}  // namespace generous
