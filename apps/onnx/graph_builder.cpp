#include "apps/onnx/graph_builder.h"

#include <algorithm>

#include "core/error.h"

namespace generous {

namespace {

onnx::AttributeProto& attribute_of(onnx::NodeProto& node, const std::string& name,
                                   onnx::AttributeProto::AttributeType type) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(type);
  return attribute;
}

}  // namespace

std::string GraphBuilder::unique(const std::string& wanted) {
  std::string name = wanted;
  for (int number = 2; !names_.insert(name).second; ++number) name = wanted + "_" + std::to_string(number);
  return name;
}

onnx::NodeProto& GraphBuilder::add(const std::string& op, const std::vector<std::string>& inputs,
                                   const std::vector<std::string>& outputs) {
  onnx::NodeProto& node = *graph_.add_node();
  node.set_op_type(op);
  node.set_name(outputs.front());
  for (const std::string& input : inputs) node.add_input(input);
  for (const std::string& output : outputs) node.add_output(output);
  return node;
}

onnx::TensorProto& GraphBuilder::add_constant(const std::string& name, onnx::TensorProto::DataType type,
                                              std::span<const std::int64_t> dims) {
  onnx::TensorProto& tensor = *graph_.add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(type);
  for (const std::int64_t dim : dims) tensor.add_dims(dim);
  return tensor;
}

// The bytes of a constant are little-endian, as in memory on every machine that this runs on.

std::string GraphBuilder::constant(const std::string& wanted, const Tensor& values) {
  require(values.dtype() == DType::f32, "onnx: {} is {}, expected f32", wanted, name_of(values.dtype()));
  const std::string name = unique(wanted);
  add_constant(name, onnx::TensorProto::FLOAT, values.shape().dims())
      .set_raw_data(values.raw(), values.bytes());
  return name;
}

std::string GraphBuilder::constant(const std::string& wanted, const std::vector<std::int64_t>& values) {
  const std::string name = unique(wanted);
  const auto count = static_cast<std::int64_t>(values.size());
  add_constant(name, onnx::TensorProto::INT64, {&count, 1})
      .set_raw_data(values.data(), values.size() * sizeof(std::int64_t));
  return name;
}

void GraphBuilder::rename(const std::string& from, const std::string& to) {
  names_.erase(from);
  names_.insert(to);
  for (onnx::NodeProto& node : *graph_.mutable_node()) {
    std::ranges::replace(*node.mutable_input(), from, to);
    std::ranges::replace(*node.mutable_output(), from, to);
  }
}

void set(onnx::NodeProto& node, const std::string& attribute, std::int64_t value) {
  attribute_of(node, attribute, onnx::AttributeProto::INT).set_i(value);
}

void set(onnx::NodeProto& node, const std::string& attribute, float value) {
  attribute_of(node, attribute, onnx::AttributeProto::FLOAT).set_f(value);
}

void set(onnx::NodeProto& node, const std::string& attribute, const std::vector<std::int64_t>& values) {
  onnx::AttributeProto& list = attribute_of(node, attribute, onnx::AttributeProto::INTS);
  for (const std::int64_t value : values) list.add_ints(value);
}

void describe(onnx::ValueInfoProto& value, const std::string& name, std::span<const std::int64_t> dims) {
  value.set_name(name);
  onnx::TypeProto::Tensor& type = *value.mutable_type()->mutable_tensor_type();
  type.set_elem_type(onnx::TensorProto::FLOAT);
  onnx::TensorShapeProto& shape = *type.mutable_shape();
  shape.add_dim()->set_dim_param("batch");
  for (const std::int64_t dim : dims) shape.add_dim()->set_dim_value(dim);
}

}  // namespace generous
