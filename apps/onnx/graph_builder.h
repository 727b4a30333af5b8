// A graph of ONNX under construction: nodes, and the constants that they read. Messages are protobuf's, as
// the schema of ONNX has them.
#pragma once

#include <onnx/onnx_pb.h>

#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace generous {

class GraphBuilder {
 public:
  explicit GraphBuilder(onnx::GraphProto& graph) : graph_(graph) {}

  /// `wanted`, or with a number behind it where that is the name of another value.
  std::string unique(const std::string& wanted);
  /// A node of an operator with values of these names, called as its first output. Attributes are set by the
  /// functions below.
  onnx::NodeProto& add(const std::string& op, const std::vector<std::string>& inputs,
                       const std::vector<std::string>& outputs);
  /// A constant of f32, on the host; returns its name.
  std::string constant(const std::string& wanted, const Tensor& values);
  /// The same of i64 {count}.
  std::string constant(const std::string& wanted, const std::vector<std::int64_t>& values);
  /// Calls a value otherwise, wherever it is written and read.
  void rename(const std::string& from, const std::string& to);

 private:
  onnx::TensorProto& add_constant(const std::string& name, onnx::TensorProto::DataType type,
                                  std::span<const std::int64_t> dims);

  onnx::GraphProto& graph_;
  std::set<std::string> names_;
};

void set(onnx::NodeProto& node, const std::string& attribute, std::int64_t value);
void set(onnx::NodeProto& node, const std::string& attribute, float value);
void set(onnx::NodeProto& node, const std::string& attribute, const std::vector<std::int64_t>& values);

/// Declares an input or output of f32 {batch, ...}, where `dims` follow.
void describe(onnx::ValueInfoProto& value, const std::string& name, std::span<const std::int64_t> dims);

}  // namespace generous
