#include "apps/onnx/onnx_model.h"

#include <utility>

#include "apps/onnx/kernel_writer.h"
#include "core/error.h"
#include "core/trace.h"
#include "core/version.h"

namespace generous {

namespace {

constexpr std::int64_t ir_version = 7;  // of ONNX 1.8, the first with opset 13
constexpr std::int64_t opset = 13;

struct Output {
  std::string name;
  Tensor tensor;
};

/// A forward pass, and what is shown of it.
std::vector<Output> run(Network& network, const Tensor& images, bool with_features) {
  const NoGrad no_grad;
  Features features;
  std::vector<Output> outputs{{"logits", network.forward(images, with_features ? &features : nullptr)}};
  for (std::size_t i = 0; i < features.stages.size(); ++i)
    outputs.push_back({"stage_" + std::to_string(i), features.stages[i]});
  if (features.pooled.defined()) outputs.push_back({"pooled", features.pooled});
  return outputs;
}

/// {batch, ...} without the batch, with the channel in front.
std::vector<std::int64_t> dims_of(const Shape& shape) {
  if (shape.rank() == 2) return {shape[1]};
  return {shape[3], shape[1], shape[2]};
}

}  // namespace

std::string onnx_model(Network& network, const OnnxOptions& options) {
  require(!network.training(), "onnx: the network is in training mode");
  const Shape& image = options.image;
  const Tensor images =
      Tensor::zeros({2, image[0], image[1], image[2]});  // two: no axis is taken for the batch
  std::vector<Output> outputs;
  const std::vector<TracedKernel> kernels =
      trace(Device::cpu, [&] { outputs = run(network, images, options.features); });
  onnx::ModelProto model;
  model.set_ir_version(ir_version);
  model.add_opset_import()->set_version(opset);
  model.set_producer_name("generous");
  model.set_producer_version(std::string(version()));
  model.set_doc_string(options.description);
  for (const auto& [key, text] : options.metadata) {
    onnx::StringStringEntryProto& entry = *model.add_metadata_props();
    entry.set_key(key);
    entry.set_value(text);
  }
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name("network");
  graph.set_doc_string(options.description);
  onnx::ValueInfoProto& input = *graph.add_input();
  describe(input, "images", dims_of(images.shape()));
  input.set_doc_string(options.input);
  GraphBuilder builder(graph);
  KernelWriter writer(builder, network.state());
  writer.add_input(images, "images");
  for (const Output& output : outputs) builder.unique(output.name);
  for (const TracedKernel& kernel : kernels) writer.add(kernel);
  for (const auto& [name, tensor] : outputs) {
    writer.add_output(tensor, name);
    describe(*graph.add_output(), name, dims_of(tensor.shape()));
  }
  std::string bytes;
  require(model.SerializeToString(&bytes), "onnx: a file of more than 2 GiB, which ONNX does not have");
  return bytes;
}

}  // namespace generous
