// What the opaque pointers of the emulated cuDNN point to, and how its calls report what is wrong.
#pragma once

#include <cudnn.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

namespace generous::emulation {

struct Problem;

/// What was set as one attribute.
struct Attribute {
  std::int64_t count = 0;
  std::vector<std::byte> bytes{};
};

/// A backend descriptor of any type.
struct BackendDescriptor {
  cudnnBackendDescriptorType_t type;
  bool finalized = false;
  std::map<cudnnBackendAttributeName_t, Attribute> attributes{};
  std::shared_ptr<const Problem> problem{};  ///< of a graph, and of what was made for it
  std::vector<std::int64_t> engines{};  ///< of heuristics: their results; of what is made of one: that one

  bool has(cudnnBackendAttributeName_t name) const { return attributes.contains(name); }
  /// What was set; nothing if it was not.
  template <class T>
  std::vector<T> all(cudnnBackendAttributeName_t name) const {
    const auto found = attributes.find(name);
    if (found == attributes.end()) return {};
    std::vector<T> values(static_cast<std::size_t>(found->second.count));
    if (!values.empty()) std::memcpy(values.data(), found->second.bytes.data(), found->second.bytes.size());
    return values;
  }
  /// The first value.
  template <class T>
  T one(cudnnBackendAttributeName_t name, T otherwise) const {
    const auto found = attributes.find(name);
    if (found == attributes.end()) return otherwise;
    T value;
    std::memcpy(&value, found->second.bytes.data(), sizeof(T));
    return value;
  }
};

/// The descriptor, if there is one that is finalised, and of this type; null otherwise.
const BackendDescriptor* finalized(cudnnBackendDescriptor_t descriptor);
const BackendDescriptor* finalized(cudnnBackendDescriptor_t descriptor, cudnnBackendDescriptorType_t type);
/// The same for the descriptor that is an attribute of another.
const BackendDescriptor* part(const BackendDescriptor& whole, cudnnBackendAttributeName_t name,
                              cudnnBackendDescriptorType_t type);

/// Keeps `message` for cudnnGetLastErrorString and returns `status`.
cudnnStatus_t refuse(cudnnStatus_t status, std::string message);

/// Whether tensors, convolutions, operations and graphs fit together; a graph is given its problem
/// (cudnn_problem.cpp).
cudnnStatus_t finalize_graph_part(BackendDescriptor& descriptor);
/// The same for heuristics, engines and plans (cudnn_engines.cpp).
cudnnStatus_t finalize_engine_part(BackendDescriptor& descriptor);

/// For attributes that the library computes: fills `value`, or refuses.
cudnnStatus_t computed(const BackendDescriptor& descriptor, cudnnBackendAttributeName_t name,
                       Attribute& value);
/// Makes `places` the descriptors that are this attribute; `count` says how many there are.
cudnnStatus_t computed_descriptors(const BackendDescriptor& descriptor, cudnnBackendAttributeName_t name,
                                   std::int64_t requested, std::int64_t& count,
                                   cudnnBackendDescriptor_t* places);

}  // namespace generous::emulation
