// The boundary between modules and files: PyTorch's names, order and layouts on disk, ours in memory.
#pragma once

#include <string>

#include "core/safetensors.h"
#include "nn/module.h"

namespace generous {

/// Host copies of every parameter and buffer in PyTorch's layout (OIHW, C-H-W columns), in state-dict order.
NamedTensors state_dict(const Module& module);
NamedTensors state_dict(const std::vector<StateEntry>& entries);

/// Copies `tensors` into the module. Names, shapes and dtypes must match exactly; throws Error that lists the
/// missing, the unexpected and the different ones (the first few of each, and how many more), and changes
/// nothing then; throws Error for a frozen module. `source` names the file in messages.
void load_state_dict(Module& module, const NamedTensors& tensors, const std::string& source);
void load_state_dict(const std::vector<StateEntry>& entries, const NamedTensors& tensors,
                     const std::string& source);

/// Whether load_state_dict would take these: they have the same names, shapes and dtypes.
bool have_same_form(const std::vector<StateEntry>& entries, const NamedTensors& tensors);

/// One entry's tensor or gradient in PyTorch's layout, a host copy; and back, into `entry.tensor`'s layout.
Tensor to_disk_layout(const Tensor& tensor, const DiskLayout& layout);
Tensor from_disk_layout(const Tensor& tensor, const DiskLayout& layout);

/// {N, H, W, C} -> {N, C, H, W} and back, host copies of f32 images.
Tensor nhwc_to_nchw(const Tensor& images);
Tensor nchw_to_nhwc(const Tensor& images);

}  // namespace generous
