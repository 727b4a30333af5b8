#include "cuda/device.h"

#include <cuda_runtime.h>

#include <array>

#include "core/backend.h"
#include "core/error.h"
#include "cuda/check.h"

namespace generous {
namespace cuda {
namespace {

constexpr int oldest_major = 8;  // bf16 and TF32 on tensor cores

/// CUDA numbers its versions 1000 * major + 10 * minor.
std::string version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

cudaDeviceProp properties_of(int number) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, number), "no CUDA backend", "cudaGetDeviceProperties");
  return properties;
}

/// "cuda:0 (NVIDIA H100), cuda:1 (NVIDIA H100)"
std::string list_of_gpus(int count) {
  std::string list;
  for (int number = 0; number < count; ++number)
    list += fmt::format("{}cuda:{} ({})", number == 0 ? "" : ", ", number, properties_of(number).name);
  return list;
}

}  // namespace

Gpu choose_gpu(int number) {
  int driver = 0;  // the newest CUDA that it knows; stays 0 without a driver
  int runtime = 0;
  check(cudaDriverGetVersion(&driver), "no CUDA backend", "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "no CUDA backend", "cudaRuntimeGetVersion");
  const std::string built_for = version(runtime);
  if (driver == 0)
    fail(
        "no CUDA backend: there is no NVIDIA driver on this machine (this build needs one for CUDA {}); "
        "the device cpu is available",
        built_for);
  const std::string known = version(driver);
  // Within a major version, a program runs with an older driver than it was built for.
  if (driver / 1000 < runtime / 1000)
    fail(
        "no CUDA backend: the NVIDIA driver is for CUDA {} and too old for this build, which needs one for "
        "CUDA {}; the device cpu is available",
        known, built_for);

  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    cudaGetLastError();
    fail(
        "no CUDA backend: the driver finds no GPU: {} (driver for CUDA {}, this build for CUDA {}); is one "
        "hidden by CUDA_VISIBLE_DEVICES? the device cpu is available",
        cudaGetErrorString(status == cudaSuccess ? cudaErrorNoDevice : status), known, built_for);
  }
  if (number >= count)
    fail(
        "no CUDA backend: there is no cuda:{}; there {} {} (is one hidden by CUDA_VISIBLE_DEVICES?), and the "
        "device cpu is available",
        number, count == 1 ? "is" : "are", list_of_gpus(count));
  check(cudaSetDevice(number), "no CUDA backend", "cudaSetDevice");
  const cudaDeviceProp properties = properties_of(number);
  const std::string name = properties.name;
  std::array<char, 32> bus{};
  check(cudaDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), number), "no CUDA backend",
        "cudaDeviceGetPCIBusId");
  if (properties.major < oldest_major)
    fail(
        "no CUDA backend: {} has compute capability {}.{}, and this build needs {}.0 or more; the device cpu "
        "is available",
        name, properties.major, properties.minor, oldest_major);
  return {.name = name,
          .major = properties.major,
          .minor = properties.minor,
          .multiprocessors = properties.multiProcessorCount,
          .runtime = built_for,
          .pci_bus_id = bus.data()};
}

}  // namespace cuda

int visible_gpus() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

}  // namespace generous
