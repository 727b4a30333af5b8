#include "cuda/cudnn_descriptor.h"

#include <algorithm>
#include <array>

namespace generous::cuda {
namespace {

/// "cudnnBackendFinalize failed: CUDNN_STATUS_NOT_SUPPORTED (what the library adds in one line)"
std::string message(cudnnStatus_t status, std::string_view call) {
  std::array<char, 400> buffer{};
  cudnnGetLastErrorString(buffer.data(), buffer.size());
  std::string details = buffer.data();
  std::replace(details.begin(), details.end(), '\n', ' ');
  return fmt::format("{} failed: {}{}", call, cudnnGetErrorString(status),
                     details.empty() ? "" : fmt::format(" ({})", details));
}

}  // namespace

CudnnError::CudnnError(cudnnStatus_t status, std::string_view call)
    : Error(message(status, call)), status_(status) {}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) : owned_(std::make_shared<Owned>()) {
  require_success(cudnnBackendCreateDescriptor(type, &owned_->descriptor), "cudnnBackendCreateDescriptor");
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, const Descriptor& value) {
  return set(name, std::vector<Descriptor>{value});
}

Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, const std::vector<Descriptor>& values) {
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const Descriptor& value : values) {
    raw.push_back(value.raw());
    owned_->parts.push_back(value.owned_);
  }
  set_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(raw.size()), raw.data());
  return *this;
}

Descriptor& Descriptor::finalize() {
  require_success(cudnnBackendFinalize(raw()), "cudnnBackendFinalize");
  return *this;
}

std::vector<Descriptor> Descriptor::get_descriptors(cudnnBackendAttributeName_t name,
                                                    cudnnBackendDescriptorType_t type) const {
  std::int64_t count = 0;
  require_success(cudnnBackendGetAttribute(raw(), name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
                  "cudnnBackendGetAttribute");
  std::vector<Descriptor> held;
  std::vector<cudnnBackendDescriptor_t> places;  // the library fills descriptors that it is given
  for (std::int64_t i = 0; i < count; ++i) {
    held.emplace_back(type);
    held.back().owned_->parts.push_back(owned_);
    places.push_back(held.back().raw());
  }
  held.erase(held.begin() + static_cast<std::ptrdiff_t>(
                                get_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, places.data())),
             held.end());
  return held;
}

void Descriptor::set_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                         std::int64_t count, const void* values) {
  require_success(cudnnBackendSetAttribute(raw(), name, type, count, values), "cudnnBackendSetAttribute");
}

std::size_t Descriptor::get_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                                std::int64_t count, void* values) const {
  std::int64_t found = 0;
  require_success(cudnnBackendGetAttribute(raw(), name, type, count, &found, values),
                  "cudnnBackendGetAttribute");
  return static_cast<std::size_t>(std::min(found, count));
}

}  // namespace generous::cuda
