// Handles, descriptors and error strings of the emulated cuDNN. What a descriptor takes, and with which
// status it refuses, is what the real library was seen to do.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cudnn_objects.h"
#include "libraries.h"

namespace generous::emulation {
namespace {

thread_local std::string last_error;

/// All that were made and not destroyed.
std::set<const void*>& living() {
  static std::set<const void*> descriptors;
  return descriptors;
}

BackendDescriptor* find(cudnnBackendDescriptor_t descriptor) {
  return living().contains(descriptor) ? static_cast<BackendDescriptor*>(descriptor) : nullptr;
}

/// An attribute that a descriptor has.
struct Rule {
  cudnnBackendDescriptorType_t descriptor;
  cudnnBackendAttributeName_t name;
  cudnnBackendAttributeType_t type;
  std::int64_t most = 1;
};

constexpr std::int64_t axes = 8;
constexpr std::int64_t many = 1000;

const std::vector<Rule>& rules() {
  static const std::vector<Rule> all = [] {
    const auto tensor = CUDNN_BACKEND_TENSOR_DESCRIPTOR;
    const auto convolution = CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR;
    const auto pointwise = CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR;
    const auto sums = CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR;
    const auto heuristics = CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR;
    const auto engine = CUDNN_BACKEND_ENGINE_DESCRIPTOR;
    const auto plan = CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR;
    const auto pack = CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR;
    const auto graph = CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR;
    const auto of_descriptors = CUDNN_TYPE_BACKEND_DESCRIPTOR;
    std::vector<Rule> list{
        {tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64},
        {tensor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE},
        {tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, axes},
        {tensor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, axes},
        {tensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64},
        {tensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN},
        {convolution, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE},
        {convolution, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE},
        {convolution, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64},
        {convolution, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, axes},
        {convolution, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, axes},
        {convolution, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, axes},
        {convolution, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, axes},
        {CUDNN_BACKEND_POINTWISE_DESCRIPTOR, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE},
        {CUDNN_BACKEND_POINTWISE_DESCRIPTOR, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE},
        {CUDNN_BACKEND_POINTWISE_DESCRIPTOR, CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, CUDNN_TYPE_DOUBLE},
        {pointwise, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, of_descriptors},
        {pointwise, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, of_descriptors},
        {pointwise, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, of_descriptors},
        {pointwise, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, of_descriptors},
        {sums, CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_TYPE_GENSTATS_MODE},
        {sums, CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, CUDNN_TYPE_DATA_TYPE},
        {sums, CUDNN_ATTR_OPERATION_GENSTATS_XDESC, of_descriptors},
        {sums, CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, of_descriptors},
        {sums, CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, of_descriptors},
        {graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE},
        {graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, of_descriptors, many},
        {heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE},
        {heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, of_descriptors},
        {heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, of_descriptors, many},
        {CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, CUDNN_ATTR_ENGINECFG_ENGINE, of_descriptors},
        {engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64},
        {engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, many},
        {engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, many},
        {plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE},
        {plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, of_descriptors},
        {plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64},
        {pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, many},
        {pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, many},
        {pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR}};
    // The three convolutions name their attributes in the same order: alpha, beta and four descriptors.
    const std::pair<cudnnBackendDescriptorType_t, int> convolutions[] = {
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA},
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA},
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA}};
    for (const auto& [type, first] : convolutions)
      for (int i = 0; i < 6; ++i)
        list.push_back({type, static_cast<cudnnBackendAttributeName_t>(first + i),
                        i < 2 ? CUDNN_TYPE_FLOAT : of_descriptors});
    return list;
  }();
  return all;
}

const Rule* rule_of(const BackendDescriptor& descriptor, cudnnBackendAttributeName_t name) {
  for (const Rule& rule : rules())
    if (rule.descriptor == descriptor.type && rule.name == name) return &rule;
  return nullptr;
}

std::size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return 8;
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    default:
      return 4;  // floats and enumerations
  }
}

cudnnStatus_t bad(const char* call, std::string_view what) {
  return refuse(CUDNN_STATUS_BAD_PARAM, fmt::format("{}: {}", call, what));
}

/// Which of the library's parts finalises it, for tests that want it to fail.
std::string part_of(cudnnBackendDescriptorType_t type) {
  switch (type) {
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
      return "graph";
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
      return "heuristics";
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
      return "plan";
    default:
      return "part";
  }
}

/// Whether descriptor and attribute are there; `rule` is what the attribute has to be.
cudnnStatus_t check_attribute(const char* call, const BackendDescriptor* descriptor,
                              cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                              const Rule*& rule) {
  if (descriptor == nullptr) return bad(call, "no such descriptor");
  rule = rule_of(*descriptor, name);
  if (rule == nullptr) return bad(call, fmt::format("no attribute {} here", static_cast<int>(name)));
  if (rule->type != type)
    return refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE,
                  fmt::format("{}: type {}", call, static_cast<int>(type)));
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

cudnnStatus_t refuse(cudnnStatus_t status, std::string message) {
  last_error = std::move(message);
  return status;
}

const BackendDescriptor* finalized(cudnnBackendDescriptor_t descriptor) {
  const BackendDescriptor* found = find(descriptor);
  return found != nullptr && found->finalized ? found : nullptr;
}

const BackendDescriptor* finalized(cudnnBackendDescriptor_t descriptor, cudnnBackendDescriptorType_t type) {
  const BackendDescriptor* found = finalized(descriptor);
  return found != nullptr && found->type == type ? found : nullptr;
}

const BackendDescriptor* part(const BackendDescriptor& whole, cudnnBackendAttributeName_t name,
                              cudnnBackendDescriptorType_t type) {
  return finalized(whole.one<cudnnBackendDescriptor_t>(name, nullptr), type);
}

}  // namespace generous::emulation

using namespace generous::emulation;

size_t cudnnGetVersion(void) { return libraries().cudnn_version; }

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (status / 1000) {
    case 0:
      return "CUDNN_STATUS_SUCCESS";
    case 1:
      return "CUDNN_STATUS_NOT_INITIALIZED";
    case 2:
      return "CUDNN_STATUS_BAD_PARAM";
    case 3:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case 4:
      return "CUDNN_STATUS_INTERNAL_ERROR";
    case 5:
      return "CUDNN_STATUS_EXECUTION_FAILED";
    default:
      return "CUDNN_UNKNOWN_STATUS";
  }
}

void cudnnGetLastErrorString(char* message, size_t max_size) {
  if (message == nullptr || max_size == 0) return;
  const size_t length = std::min(max_size - 1, last_error.size());
  std::memcpy(message, last_error.data(), length);
  message[length] = '\0';
  last_error.clear();
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  if (const int status = planned_failure("cudnnCreate"))
    return refuse(static_cast<cudnnStatus_t>(status), "cudnnCreate: a failure that a test asked for");
  if (handle == nullptr) return bad("cudnnCreate", "no place for the handle");
  if (!has_device()) return refuse(CUDNN_STATUS_NOT_INITIALIZED, "cudnnCreate: no device");
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  cudaDeviceSynchronize();  // an error of earlier work stays for whoever asks next
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t streamId) {
  if (handle == nullptr) return bad("cudnnSetStream", "null handle");
  handle->stream = streamId;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* streamId) {
  if (handle == nullptr || streamId == nullptr) return bad("cudnnGetStream", "null argument");
  *streamId = handle->stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t descriptorType,
                                           cudnnBackendDescriptor_t* descriptor) {
  if (descriptor == nullptr) return bad("cudnnBackendCreateDescriptor", "no place for the descriptor");
  *descriptor = new BackendDescriptor{.type = descriptorType};
  living().insert(*descriptor);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  delete find(descriptor);
  living().erase(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t attributeName,
                                       cudnnBackendAttributeType_t attributeType, int64_t elementCount,
                                       const void* arrayOfElements) {
  const char* call = "cudnnBackendSetAttribute";
  BackendDescriptor* const found = find(descriptor);
  const Rule* rule = nullptr;
  if (const cudnnStatus_t status = check_attribute(call, found, attributeName, attributeType, rule);
      status != CUDNN_STATUS_SUCCESS)
    return status;
  if (found->finalized) return bad(call, "the descriptor is finalised");
  if (elementCount < 1 || elementCount > rule->most || arrayOfElements == nullptr)
    return bad(call, fmt::format("{} values at {}", elementCount, arrayOfElements));
  Attribute& value = found->attributes[attributeName];
  const auto* bytes = static_cast<const std::byte*>(arrayOfElements);
  value = {.count = elementCount,
           .bytes = {bytes, bytes + static_cast<std::size_t>(elementCount) * size_of(attributeType)}};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(const cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t attributeName,
                                       cudnnBackendAttributeType_t attributeType,
                                       int64_t requestedElementCount, int64_t* elementCount,
                                       void* arrayOfElements) {
  const char* call = "cudnnBackendGetAttribute";
  const BackendDescriptor* const found = find(descriptor);
  const Rule* rule = nullptr;
  if (const cudnnStatus_t status = check_attribute(call, found, attributeName, attributeType, rule);
      status != CUDNN_STATUS_SUCCESS)
    return status;
  if (!found->finalized)
    return refuse(CUDNN_STATUS_NOT_INITIALIZED, fmt::format("{}: the descriptor is not finalised", call));
  if (elementCount == nullptr) return bad(call, "no place for the count");
  if (attributeType == CUDNN_TYPE_BACKEND_DESCRIPTOR)
    return computed_descriptors(*found, attributeName, requestedElementCount, *elementCount,
                                static_cast<cudnnBackendDescriptor_t*>(arrayOfElements));
  Attribute value;
  if (found->has(attributeName))
    value = found->attributes.at(attributeName);
  else if (const cudnnStatus_t status = computed(*found, attributeName, value);
           status != CUDNN_STATUS_SUCCESS)
    return status;
  *elementCount = value.count;
  const std::int64_t copied = std::min(value.count, requestedElementCount);
  if (copied > 0)
    std::memcpy(arrayOfElements, value.bytes.data(),
                static_cast<std::size_t>(copied) * size_of(attributeType));
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  const char* call = "cudnnBackendFinalize";
  BackendDescriptor* const found = find(descriptor);
  if (found == nullptr) return bad(call, "no such descriptor");
  if (found->finalized) return bad(call, "the descriptor is finalised already");
  if (const int status = planned_failure(fmt::format("{} {}", call, part_of(found->type))))
    return refuse(static_cast<cudnnStatus_t>(status),
                  fmt::format("{}: a failure that a test asked for", call));
  cudnnStatus_t status = finalize_graph_part(*found);
  if (status == CUDNN_STATUS_SUCCESS) status = finalize_engine_part(*found);
  found->finalized = status == CUDNN_STATUS_SUCCESS;
  return status;
}
