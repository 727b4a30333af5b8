// What torch.save writes, without PyTorch and without running what is in it: the zip form (since PyTorch 1.6)
// and the stream of pickles before it. The file's name says nothing: .pth, .pt and .tar are both.
#pragma once

#include <string>
#include <string_view>

#include "core/safetensors.h"

namespace generous {

/// Whether a file of this content is one of torch.save's, by its first bytes.
bool is_torch_checkpoint(std::string_view content);

/// The tensors of the state dict in a checkpoint, in its order: of the dictionary itself if it has nothing
/// but tensors, otherwise of its `state_dict`, `model`, `model_state_dict` or `net`. The prefix `module.` of
/// DataParallel is taken off where all names have it. Numbers with a fraction (f64, f32, f16, bf16) become
/// f32, integers and bools i64; views and shared storages are copied out. Throws Error that names `file` for
/// anything damaged, for Python objects other than tensors and plain data (such as a whole model), and where
/// there is no state dict.
NamedTensors parse_torch_checkpoint(std::string_view content, const std::string& file);

}  // namespace generous
