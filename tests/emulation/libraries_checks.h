// What the tests of the emulated cuBLAS and cuDNN share: arrays in device memory and plain values to put
// there.
#pragma once

#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "core/dtype.h"

namespace generous::testing {

/// Numbers without a pattern, different for every `seed`, in [-1, 1); with `bits` of mantissa at most.
inline std::vector<float> scattered(std::size_t count, std::uint32_t seed, int bits = 23) {
  std::vector<float> values(count);
  std::uint32_t state = seed * 2654435761U + 12345U;
  for (float& value : values) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<float>((state >> (32 - bits)) & ((1U << bits) - 1)) /
                static_cast<float>(1U << (bits - 1)) -
            1;
  }
  return values;
}

/// Floating-point numbers in device memory, f32 or bf16.
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<float>& values, DType dtype = DType::f32)
      : dtype_(dtype), count_(values.size()) {
    REQUIRE(cudaMalloc(&data_, count_ * size_of(dtype)) == cudaSuccess);
    visit_floating(dtype, [&]<class T>(T) {
      std::vector<T> stored;
      for (const float value : values) stored.push_back(static_cast<T>(value));
      REQUIRE(cudaMemcpy(data_, stored.data(), count_ * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
    });
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  static DeviceArray of_nan(std::size_t count, DType dtype = DType::f32) {
    return DeviceArray(std::vector<float>(count, std::numeric_limits<float>::quiet_NaN()), dtype);
  }

  void* data() const { return data_; }
  float* floats() const { return static_cast<float*>(data_); }
  std::size_t bytes() const { return count_ * size_of(dtype_); }

  /// Waits for the device.
  std::vector<float> read() const {
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    std::vector<float> values;
    visit_floating(dtype_, [&]<class T>(T) {
      std::vector<T> stored(count_);
      REQUIRE(cudaMemcpy(stored.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
      for (const T value : stored) values.push_back(static_cast<float>(value));
    });
    return values;
  }

 private:
  DType dtype_;
  std::size_t count_;
  void* data_ = nullptr;
};

/// A library's handle or descriptor, destroyed with the scope.
template <class Object, auto create, auto destroy>
class Owned {
 public:
  Owned() { REQUIRE(static_cast<int>(create(&object_)) == 0); }
  ~Owned() { destroy(object_); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  operator Object() const { return object_; }  // NOLINT: stands for the pointer in calls

 private:
  Object object_ = nullptr;
};

using Stream = Owned<cudaStream_t, cudaStreamCreate, cudaStreamDestroy>;

}  // namespace generous::testing
