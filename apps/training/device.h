// Where, in which precision and with how many threads to compute.
#pragma once

#include <cstdint>
#include <string>

#include "apps/training/config.h"
#include "core/backend.h"

namespace generous {

/// `choice` is auto (a GPU if built for one and one is there, else the CPU), cpu or cuda. Throws Error that
/// says what is missing if the choice is not there.
Device choose_device(const std::string& choice);

/// `choice` is f32 or bf16: the dtype of a model's input, which decides that of its activations. Throws Error
/// that says what is missing if `device` would not gain from bf16.
DType choose_dtype(const std::string& choice, Device device);

/// What --winograd, --tune, --deterministic and --tf32 ask for.
AlgorithmChoice chosen_algorithms(const Config& config);

/// Sets threads, device and the choice of algorithms as `config` has them; returns the device. Throws like
/// choose_device.
Device set_up_device(const Config& config);

}  // namespace generous
