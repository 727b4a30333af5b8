// What a profile shows: a table of time per kernel, and a trace for a viewer.
#pragma once

#include <string>
#include <vector>

#include "apps/benchmark/limit.h"
#include "core/profiling_backend.h"

namespace generous {

/// Milliseconds per step and share of every kernel (convolutions shape by shape), the costliest first; the
/// rest of `step_seconds` is outside kernels. `profile` is of one step.
std::string kernel_table(const Profile& profile, double step_seconds);

/// Milliseconds per step of every kind of convolution alone, the costliest first, with the microseconds that
/// one takes and its arithmetic in TFLOP/s.
std::string convolution_table(std::vector<TimedConvolution> timed);

/// The profile as JSON in Chrome's trace event format, complete events ("ph": "X") in microseconds.
std::string chrome_trace(const Profile& profile);

}  // namespace generous
