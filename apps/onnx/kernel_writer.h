// Kernels of a traced forward pass as nodes of ONNX. Images are {N, H, W, C} in a trace and {N, C, H, W} in
// ONNX; the channel is axis 1 there, of rows {N, C} too, and weights are as PyTorch has them.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "apps/onnx/graph_builder.h"
#include "core/trace.h"
#include "nn/module.h"

namespace generous {

class KernelWriter {
 public:
  /// `state`: the network's, whose names constants get.
  KernelWriter(GraphBuilder& graph, const std::vector<StateEntry>& state);

  /// The graph's input `name` is this tensor of images.
  void add_input(const Tensor& images, const std::string& name);
  /// Throws Error for what has no form here, such as a tensor that neither a kernel nor the network's state
  /// accounts for.
  void add(const TracedKernel& kernel);
  /// The value that is this tensor, in its shape, becomes the graph's output `name`, which no value has. Each
  /// can be one output.
  void add_output(const Tensor& tensor, const std::string& name);

 private:
  /// A constant of the network. Its elements are read when it is first used.
  struct Constant {
    Tensor tensor;
    std::string wanted;  ///< name; empty: that of what it is used for
    DiskLayout layout;
    std::string name = {};  ///< in the graph; empty: not used so far
  };
  struct Value {
    std::string name;
    Shape shape;            ///< as it was made; of images {N, H, W, C}
    std::string rows = {};  ///< the name of the same as rows {N, elements}; empty: not made so far
  };

  void write(const TracedConvolution& kernel);
  void write(const TracedBatchNorm& kernel);
  void write(const TracedMaxPool& kernel);
  void write(const TracedAveragePool& kernel);
  void write(const TracedAdaptivePool& kernel);
  void write(const TracedUnary& kernel);
  void write(const TracedBinary& kernel);
  void write(const TracedGemm& kernel);
  void write(const TracedBroadcast& kernel);
  void write(const TracedChannels& kernel);
  void write(const TracedPreparation& kernel);

  Value& value_of(const Tensor& tensor);
  std::string value(const Tensor& tensor);
  std::string flattened(Value& value);
  Constant& constant_of(const Tensor& tensor);
  std::string constant(const Tensor& tensor, const std::string& wanted = {});
  std::string stem_of(const Tensor& weight);
  std::string node(const std::string& op, const std::vector<std::string>& inputs, const std::string& wanted,
                   onnx::NodeProto** made = nullptr);
  std::string pool(const std::string& op, const Pool2dParams& params, const Tensor& x,
                   onnx::NodeProto** made);
  std::string activated(const std::string& x, Activation activation);
  void keep(const Tensor& tensor, std::string name);

  GraphBuilder& graph_;
  // By the address of their elements.
  std::map<const void*, Constant> constants_;
  std::map<const void*, Value> values_;
  std::set<std::string> shown_;              ///< the graph's outputs
  std::map<const void*, Tensor> broadcast_;  ///< repeated constants, and what they repeat
};

}  // namespace generous
