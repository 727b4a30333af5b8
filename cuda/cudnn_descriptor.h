// cuDNN's backend descriptors: tensors, operations, graphs, engines and plans are all of this one kind, made
// of attributes that are set one by one and then finalised. Knows nothing of a GPU: plans can be made without
// one.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace generous::cuda {

/// What cuDNN answered instead of success.
class CudnnError : public Error {
 public:
  CudnnError(cudnnStatus_t status, std::string_view call);

  /// Whether it says no to what was asked (not supported, a parameter that this engine does not take, a
  /// kernel that does not compile), so that another engine may say yes; of thousands of numbers each kind has
  /// one.
  bool refusal() const { return status_ / 1000 >= 2 && status_ / 1000 <= 4; }
  cudnnStatus_t status() const { return status_; }

 private:
  cudnnStatus_t status_;
};

/// Throws CudnnError unless `status` is success.
inline void require_success(cudnnStatus_t status, std::string_view call) {
  if (status != CUDNN_STATUS_SUCCESS) [[unlikely]]
    throw CudnnError(status, call);
}

/// How cuDNN names the C++ types of attributes.
template <class T>
constexpr cudnnBackendAttributeType_t attribute_type = [] {
  static_assert(sizeof(T) == 0, "no attribute is of this type");
  return CUDNN_TYPE_INT64;
}();
template <>
inline constexpr auto attribute_type<std::int64_t> = CUDNN_TYPE_INT64;
template <>
inline constexpr auto attribute_type<float> = CUDNN_TYPE_FLOAT;
template <>
inline constexpr auto attribute_type<double> = CUDNN_TYPE_DOUBLE;
template <>
inline constexpr auto attribute_type<bool> = CUDNN_TYPE_BOOLEAN;
template <>
inline constexpr auto attribute_type<char> = CUDNN_TYPE_CHAR;
template <>
inline constexpr auto attribute_type<void*> = CUDNN_TYPE_VOID_PTR;
template <>
inline constexpr auto attribute_type<cudnnHandle_t> = CUDNN_TYPE_HANDLE;
template <>
inline constexpr auto attribute_type<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
inline constexpr auto attribute_type<cudnnConvolutionMode_t> = CUDNN_TYPE_CONVOLUTION_MODE;
template <>
inline constexpr auto attribute_type<cudnnPointwiseMode_t> = CUDNN_TYPE_POINTWISE_MODE;
template <>
inline constexpr auto attribute_type<cudnnGenStatsMode_t> = CUDNN_TYPE_GENSTATS_MODE;
template <>
inline constexpr auto attribute_type<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;
template <>
inline constexpr auto attribute_type<cudnnBackendNumericalNote_t> = CUDNN_TYPE_NUMERICAL_NOTE;
template <>
inline constexpr auto attribute_type<cudnnBackendBehaviorNote_t> = CUDNN_TYPE_BEHAVIOR_NOTE;

/// One descriptor, and what it was made of: cuDNN does not promise to keep that alive.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);

  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, std::span<const T> values) {
    set_raw(name, attribute_type<T>, static_cast<std::int64_t>(values.size()), values.data());
    return *this;
  }
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, const std::vector<T>& values) {
    return set(name, std::span<const T>(values));
  }
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, const T& value) {
    return set(name, std::span<const T>(&value, 1));
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value);
  Descriptor& set(cudnnBackendAttributeName_t name, const std::vector<Descriptor>& values);
  /// From here on it may be used and not be changed. Throws CudnnError: what was set does not fit together,
  /// or there is no such engine or plan.
  Descriptor& finalize();

  /// What there is of it, at most `most` values.
  template <class T>
  std::vector<T> get(cudnnBackendAttributeName_t name, std::int64_t most = 1) const {
    std::vector<T> values(static_cast<std::size_t>(most));
    values.resize(get_raw(name, attribute_type<T>, most, values.data()));
    return values;
  }
  /// The descriptors of `type` that it holds.
  std::vector<Descriptor> get_descriptors(cudnnBackendAttributeName_t name,
                                          cudnnBackendDescriptorType_t type) const;

  cudnnBackendDescriptor_t raw() const { return owned_->descriptor; }

 private:
  struct Owned {
    cudnnBackendDescriptor_t descriptor = nullptr;
    std::vector<std::shared_ptr<Owned>> parts{};

    Owned() = default;
    ~Owned() { cudnnBackendDestroyDescriptor(descriptor); }
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
  };

  void set_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
               const void* values);
  std::size_t get_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
                      void* values) const;

  std::shared_ptr<Owned> owned_;
};

}  // namespace generous::cuda
