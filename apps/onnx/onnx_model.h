// Networks in the form of ONNX, which other programs run.
#pragma once

#include <map>
#include <string>

#include "nn/network.h"

namespace generous {

struct OnnxOptions {
  Shape image = {};                                  ///< {H, W, C}
  bool features = false;                             ///< show them as outputs, too
  std::string description = {};                      ///< for people: of the network
  std::string input = {};                            ///< likewise: what its images are to be
  std::map<std::string, std::string> metadata = {};  ///< keys and values, for programs
};

/// The bytes of a file of ONNX (opset 13) that computes what the network, in evaluation mode on the CPU,
/// does, frozen or not. Its input `images` is f32 {batch, C, H, W} for any batch, its output `logits` f32
/// {batch, classes}; with features also `stage_0`, `stage_1`, ... {batch, C, H, W} and `pooled` {batch, C}.
/// Constants are called as in the network's state and have PyTorch's layouts; those of a frozen one are
/// folded. Throws Error for a network that is trained, and one that does what has no form in ONNX here.
std::string onnx_model(Network& network, const OnnxOptions& options);

}  // namespace generous
