// The CUDA runtime's C++ interface for a machine without a GPU: the calls, what kernels are written with, and
// the launch of a kernel that is an ordinary function.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "cuda_runtime_api.h"
#include "device_code.h"

namespace generous::emulation {

/// A kernel with the arguments of one launch.
struct Kernel {
  const void* function = nullptr;
  std::function<void()> thread{};                   ///< what every thread of the grid runs
  std::array<const volatile void*, 32> pointers{};  ///< the arguments that are pointers to data, then null
};

cudaError_t launch(const cudaLaunchConfig_t* config, Kernel kernel);

}  // namespace generous::emulation

/// Copies the arguments, converted to the kernel's parameters, as the real launch does.
template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  static_assert((std::is_trivially_copyable_v<std::remove_cvref_t<Parameters>> && ...),
                "parameters of kernels are copied byte by byte");
  static_assert((!std::is_reference_v<Parameters> && ...), "a kernel cannot refer to the caller's variables");
  static_assert((std::size_t{0} + ... + sizeof(Parameters)) <= 32764,
                "more parameters than CUDA 12.1 passes to a kernel");
  static_assert(sizeof...(Parameters) < 32);
  generous::emulation::Kernel launched{.function = reinterpret_cast<const void*>(kernel)};
  const std::tuple<std::remove_cv_t<Parameters>...> values(
      static_cast<Parameters>(std::forward<Arguments>(arguments))...);
  std::size_t count = 0;
  const auto note = [&]<class T>(const T& value) {
    if constexpr (std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>)
      launched.pointers[count++] = value;
  };
  std::apply([&](const auto&... value) { (note(value), ...); }, values);
  launched.thread = [kernel, values] { std::apply(kernel, values); };
  return generous::emulation::launch(config, std::move(launched));
}

// The real header has these for pointers of every type.
template <class T>
cudaError_t cudaMalloc(T** pointer, std::size_t bytes) {
  return ::cudaMalloc(reinterpret_cast<void**>(pointer), bytes);
}
template <class T>
cudaError_t cudaMallocAsync(T** pointer, std::size_t bytes, cudaStream_t stream) {
  return ::cudaMallocAsync(reinterpret_cast<void**>(pointer), bytes, stream);
}
template <class T>
cudaError_t cudaHostAlloc(T** pointer, std::size_t bytes, unsigned flags) {
  return ::cudaHostAlloc(reinterpret_cast<void**>(pointer), bytes, flags);
}
template <class T>
cudaError_t cudaMallocHost(T** pointer, std::size_t bytes, unsigned flags = cudaHostAllocDefault) {
  return ::cudaHostAlloc(reinterpret_cast<void**>(pointer), bytes, flags);
}
template <class T>
cudaError_t cudaHostGetDevicePointer(T** device, void* host, unsigned flags) {
  return ::cudaHostGetDevicePointer(reinterpret_cast<void**>(device), host, flags);
}
