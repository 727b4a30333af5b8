#include "apps/onnx/kernel_writer.h"

#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/functors.h"
#include "core/pool_bins.h"
#include "nn/state_dict.h"

namespace generous {

namespace {

constexpr std::string_view only_these =
    "onnx: of elementwise functions only relu, relu6 and a sum have a form";

/// {pixels, bins}: column i averages over the i-th window.
Tensor averages(std::int64_t pixels, std::int64_t bins) {
  Tensor matrix = Tensor::zeros({pixels, bins});
  const std::span<float> elements = matrix.data<float>();
  for (std::int64_t i = 0; i < bins; ++i) {
    const PoolBin bin = pool_bin(i, pixels, bins);
    for (std::int64_t pixel = bin.begin; pixel < bin.end; ++pixel)
      elements[static_cast<std::size_t>(pixel * bins + i)] = 1.0F / static_cast<float>(bin.end - bin.begin);
  }
  return matrix;
}

/// {columns, rows}
Tensor transposed(const Tensor& matrix) {
  return to_disk_layout(matrix, DiskLayout::flattened_hwc({1, matrix.size(0), matrix.size(1)}))
      .view({matrix.size(1), matrix.size(0)});
}

}  // namespace

KernelWriter::KernelWriter(GraphBuilder& graph, const std::vector<StateEntry>& state) : graph_(graph) {
  for (const StateEntry& entry : state)
    constants_[entry.tensor.raw()] = {.tensor = entry.tensor, .wanted = entry.name, .layout = entry.layout};
}

void KernelWriter::add_input(const Tensor& images, const std::string& name) {
  keep(images, graph_.unique(name));
}

void KernelWriter::add(const TracedKernel& kernel) {
  std::visit([this](const auto& traced) { write(traced); }, kernel);
}

void KernelWriter::add_output(const Tensor& tensor, const std::string& name) {
  const std::string found = value(tensor);
  require(shown_.insert(found).second, "onnx: {} is an output already", found);
  graph_.rename(found, name);
  for (auto& [address, value] : values_)
    for (std::string* known : {&value.name, &value.rows})
      if (*known == found) *known = name;
  shown_.insert(name);
}

void KernelWriter::keep(const Tensor& tensor, std::string name) {
  values_[tensor.raw()] = {.name = std::move(name), .shape = tensor.shape()};
}

KernelWriter::Value& KernelWriter::value_of(const Tensor& tensor) {
  const auto found = values_.find(tensor.raw());
  require(found != values_.end(), "onnx: a tensor {} that no kernel has computed", tensor.shape().str());
  return found->second;
}

/// The name of the value that a tensor is, in the tensor's shape.
std::string KernelWriter::value(const Tensor& tensor) {
  Value& found = value_of(tensor);
  if (found.shape == tensor.shape()) return found.name;
  const Shape one_pixel{tensor.size(0), 1, 1, tensor.size(-1)};
  require(tensor.shape().rank() == 2 && found.shape == one_pixel, "onnx: a tensor {} is read as {}",
          found.shape.str(), tensor.shape().str());
  return flattened(found);
}

std::string KernelWriter::flattened(Value& value) {
  if (!value.rows.empty()) return value.rows;
  onnx::NodeProto* made = nullptr;
  value.rows = node("Flatten", {value.name}, value.name + ".flat", &made);
  set(*made, "axis", std::int64_t{1});
  return value.rows;
}

KernelWriter::Constant& KernelWriter::constant_of(const Tensor& tensor) {
  const auto found = constants_.find(tensor.raw());
  require(found != constants_.end(), "onnx: a tensor {} that is neither a weight nor made of one",
          tensor.shape().str());
  return found->second;
}

/// The name of a constant, called as it wants to be, or else like this.
std::string KernelWriter::constant(const Tensor& tensor, const std::string& wanted) {
  Constant& found = constant_of(tensor);
  if (found.name.empty())
    found.name = graph_.constant(found.wanted.empty() ? wanted : found.wanted,
                                 to_disk_layout(found.tensor, found.layout));
  return found.name;
}

/// The name of the layer that a weight belongs to.
std::string KernelWriter::stem_of(const Tensor& weight) {
  const std::string& name = constant_of(weight).wanted;
  return name.substr(0, name.rfind('.'));
}

/// A node of one output; returns the output's name.
std::string KernelWriter::node(const std::string& op, const std::vector<std::string>& inputs,
                               const std::string& wanted, onnx::NodeProto** made) {
  std::string name = graph_.unique(wanted);
  onnx::NodeProto& node = graph_.add(op, inputs, {name});
  if (made != nullptr) *made = &node;
  return name;
}

std::string KernelWriter::activated(const std::string& x, Activation activation) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return node("Relu", {x}, x + ".relu");
    case Activation::relu6:
      return node("Clip",
                  {x, graph_.constant(x + ".least", Tensor::full({}, 0.0F)),
                   graph_.constant(x + ".most", Tensor::full({}, ceiling_of(activation)))},
                  x + ".relu6");
  }
  fail("onnx: unknown activation");
}

void KernelWriter::write(const TracedConvolution& kernel) {
  const auto& [params, x, weight, bias, residual, activation, y] = kernel;
  const std::string stem = stem_of(weight);
  std::vector<std::string> inputs{value(x), constant(weight)};
  if (bias.defined()) inputs.push_back(constant(bias, stem + ".bias"));
  onnx::NodeProto* made = nullptr;
  std::string name = node("Conv", inputs, stem, &made);
  set(*made, "kernel_shape", {weight.size(1), weight.size(2)});
  set(*made, "strides", {params.stride, params.stride});
  set(*made, "pads", std::vector(4, params.padding));
  set(*made, "group", params.groups);
  if (residual.defined()) name = node("Add", {name, value(residual)}, stem + ".add");
  keep(y, activated(name, activation));
}

void KernelWriter::write(const TracedBatchNorm& kernel) {
  const auto& [params, in, running, y] = kernel;
  const std::string stem = stem_of(in.gamma);
  std::vector<std::string> parts;
  for (const BatchNormPart& part : in.parts) parts.push_back(value(part.x));
  onnx::NodeProto* made = nullptr;
  std::string x = parts.front();
  if (parts.size() > 1) {
    x = node("Concat", parts, stem + ".concat", &made);
    set(*made, "axis", std::int64_t{1});
  }
  std::string name =
      node("BatchNormalization",
           {x, constant(in.gamma), constant(in.beta), constant(running.mean), constant(running.variance)},
           stem, &made);
  set(*made, "epsilon", params.epsilon);
  if (in.residual.defined()) name = node("Add", {name, value(in.residual)}, stem + ".add");
  keep(y, activated(name, params.activation));
}

std::string KernelWriter::pool(const std::string& op, const Pool2dParams& params, const Tensor& x,
                               onnx::NodeProto** made) {
  const std::string input = value(x);
  std::string name = node(op, {input}, input + ".pool", made);
  set(**made, "kernel_shape", {params.kernel_h, params.kernel_w});
  set(**made, "strides", {params.stride, params.stride});
  set(**made, "pads", std::vector(4, params.padding));
  return name;
}

void KernelWriter::write(const TracedMaxPool& kernel) {
  onnx::NodeProto* made = nullptr;
  keep(kernel.y, pool("MaxPool", kernel.params, kernel.x, &made));
}

void KernelWriter::write(const TracedAveragePool& kernel) {
  const bool whole = kernel.params.padding == 0 && kernel.params.kernel_h == kernel.x.size(1) &&
                     kernel.params.kernel_w == kernel.x.size(2);
  if (whole) {
    const std::string x = value(kernel.x);
    keep(kernel.y, node("GlobalAveragePool", {x}, x + ".pool"));
    return;
  }
  onnx::NodeProto* made = nullptr;
  keep(kernel.y, pool("AveragePool", kernel.params, kernel.x, &made));
  set(*made, "count_include_pad", std::int64_t{1});
}

// Windows of unequal sizes have no operator; along each axis they are a product with a matrix.
void KernelWriter::write(const TracedAdaptivePool& kernel) {
  const std::string x = value(kernel.x);
  const std::string columns =
      graph_.constant(x + ".columns", averages(kernel.x.size(2), kernel.y.size(2)));  // {W, Q}
  const std::string rows =
      graph_.constant(x + ".rows", transposed(averages(kernel.x.size(1), kernel.y.size(1))));  // {P, H}
  const std::string narrow = node("MatMul", {x, columns}, x + ".narrow");                      // {N, C, H, Q}
  keep(kernel.y, node("MatMul", {rows, narrow}, x + ".pool"));                                 // {N, C, P, Q}
}

void KernelWriter::write(const TracedUnary& kernel) {
  require(kernel.op == Unary::relu || kernel.op == Unary::relu6, only_these);
  keep(kernel.y, activated(value(kernel.x), kernel.op == Unary::relu ? Activation::relu : Activation::relu6));
}

void KernelWriter::write(const TracedBinary& kernel) {
  require(kernel.op == Binary::add, only_these);
  const std::string a = value(kernel.a);
  keep(kernel.y, node("Add", {a, value(kernel.b)}, a + ".add"));
}

// {N, H, W, C} flattened has another order of its elements than {N, C, H, W}: a weight whose columns are in
// the one order here has them in the other on disk.
void KernelWriter::write(const TracedGemm& kernel) {
  const auto& [params, a, weight, c] = kernel;
  require(!params.transpose_a, "onnx: a product with transposed images");
  const DiskLayout& layout = constant_of(weight).layout;
  std::string x;
  if (layout.kind == DiskLayout::Kind::flattened_hwc) {
    Value& images = value_of(a);
    const Shape expected{a.size(0), layout.image[0], layout.image[1], layout.image[2]};
    require(images.shape == expected && params.transpose_b, "onnx: a tensor {} is flattened, expected {}",
            images.shape.str(), expected.str());
    x = flattened(images);
  } else {
    x = value(a);
  }
  const std::string stem = stem_of(weight);
  std::vector<std::string> inputs{x, constant(weight)};
  if (params.beta != 0.0F) {
    const auto bias = broadcast_.find(c.raw());
    require(bias != broadcast_.end(), "onnx: a product is added to {} that is no bias", c.shape().str());
    inputs.push_back(constant(bias->second, stem + ".bias"));
  }
  onnx::NodeProto* made = nullptr;
  keep(c, node("Gemm", inputs, stem, &made));
  set(*made, "transB", std::int64_t{params.transpose_b});
  set(*made, "alpha", params.alpha);
  set(*made, "beta", params.beta);
}

// Gemm repeats its bias by itself.
void KernelWriter::write(const TracedBroadcast& kernel) {
  require(kernel.x.shape().rank() == 1 && kernel.y.shape().rank() == 2,
          "onnx: {} repeated to {}, expected a bias for rows", kernel.x.shape().str(),
          kernel.y.shape().str());
  constant_of(kernel.x);  // throws for what is none
  broadcast_[kernel.y.raw()] = kernel.x;
}

void KernelWriter::write(const TracedChannels& kernel) {
  std::vector<std::string> from;
  for (const ChannelPart& part : kernel.from) from.push_back(value(part.tensor));
  std::string x = from.front();
  onnx::NodeProto* made = nullptr;
  std::int64_t channels = 0;
  for (const ChannelPart& part : kernel.from) channels += part.channels;
  if (from.size() > 1) {
    x = node("Concat", from, x + ".concat", &made);
    set(*made, "axis", std::int64_t{1});
  }
  if (kernel.groups > 1) {  // {N, G, C / G, H, W} -> {N, C / G, G, H, W}
    const Shape& shape = kernel.from[0].tensor.shape();
    require(shape.rank() == 4, "onnx: the channels of {} are shuffled, expected images", shape.str());
    const std::string grouped =
        graph_.constant(x + ".groups", {0, kernel.groups, channels / kernel.groups, shape[1], shape[2]});
    const std::string flat = graph_.constant(x + ".channels", {0, channels, shape[1], shape[2]});
    const std::string apart = node("Reshape", {x, grouped}, x + ".grouped");
    const std::string swapped = node("Transpose", {apart}, x + ".swapped", &made);
    set(*made, "perm", {0, 2, 1, 3, 4});
    x = node("Reshape", {swapped, flat}, x + ".shuffled");
  }
  if (kernel.to.size() == 1) return keep(kernel.to[0].tensor, x);
  std::vector<std::string> to;
  std::vector<std::int64_t> counts;
  for (const ChannelPart& part : kernel.to) {
    to.push_back(graph_.unique(x + ".part"));
    counts.push_back(part.channels);
    if (part.tensor.defined()) keep(part.tensor, to.back());
  }
  set(graph_.add("Split", {x, graph_.constant(x + ".counts", counts)}, to), "axis", std::int64_t{1});
}

// A folded filter goes by the name of the weight that it is made of.
void KernelWriter::write(const TracedPreparation& kernel) {
  Constant made{.tensor = kernel.y, .wanted = {}, .layout = {}};
  if (kernel.of.defined()) {
    const Constant& of = constant_of(kernel.of);
    made.wanted = of.wanted;
    made.layout = of.layout;
  }
  constants_[kernel.y.raw()] = made;
}

}  // namespace generous
