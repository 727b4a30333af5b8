// Where, in which precision and with how many threads to compute.
#pragma once

#include <cstdint>
#include <string>

#include "core/backend.h"
#include "core/options.h"
#include "nn/parallel/group.h"

namespace generous {

/// Where to compute, with how many threads, and by which algorithms.
struct DeviceSettings {
  std::string device = "auto";
  bool winograd = true;
  bool tune = false;
  bool deterministic = false;
  bool tf32 = false;
  std::int64_t threads = 0;

  void declare(Options& options);
};

/// The type of activations.
struct DTypeSettings {
  std::string dtype = "f32";

  void declare(Options& options);
};

/// `choice` is auto (a GPU if built for one and one is there, else the CPU), cpu, cuda, or cuda:N for the
/// visible GPU of number N, from 0. Throws Error that says what is missing if the choice is not there.
Device choose_device(const std::string& choice);

/// What this process of a group takes for it, as choose_device has it: where all processes of a host may use
/// the same GPUs, each one takes another; of cuda:N,M,... the one of its place among them. Throws Error if
/// the list has none for it.
std::string own_device(const std::string& choice, const Group& group);

/// `choice` is f32 or bf16: the dtype of a model's input, which decides that of its activations. Throws Error
/// that says what is missing if `device` would not gain from bf16.
DType choose_dtype(const std::string& choice, Device device);

/// What --winograd, --tune, --deterministic and --tf32 ask for.
AlgorithmChoice chosen_algorithms(const DeviceSettings& settings);

/// Sets threads, device and the choice of algorithms as `settings` has them, in this process of a group;
/// returns the device. Throws like choose_device and own_device. `op_by_op`: AlgorithmChoice::op_by_op.
Device set_up_device(const DeviceSettings& settings, const Group& group, bool op_by_op = false);

}  // namespace generous
