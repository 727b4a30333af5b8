// Calls about the device, and the launch of kernels.
#include <dlfcn.h>
#include <fmt/format.h>

#include <memory>
#include <span>
#include <string>
#include <utility>

#include "executor.h"
#include "memory.h"
#include "runtime.h"

using namespace generous::emulation;

namespace {

constexpr int multiprocessors = 132;
constexpr int threads_per_multiprocessor = 2048;
constexpr int threads_per_block = 1024;
constexpr int blocks_in_x = 2147483647;
constexpr int blocks_in_y = 65535;
constexpr int threads_in_z = 64;
constexpr std::size_t shared_bytes = 48 * 1024;

/// Every thread has its own.
thread_local int current_device = 0;

bool is_device(int number) { return number >= 0 && number < runtime().machine.devices; }

bool fits(const dim3& grid, const dim3& block) {
  const auto in_range = [](unsigned extent, int most) {
    return extent >= 1 && extent <= static_cast<unsigned>(most);
  };
  return in_range(grid.x, blocks_in_x) && in_range(grid.y, blocks_in_y) && in_range(grid.z, blocks_in_y) &&
         in_range(block.x, threads_per_block) && in_range(block.y, threads_per_block) &&
         in_range(block.z, threads_in_z) && block.x * block.y * block.z <= unsigned{threads_per_block};
}

/// "kernel (a.out+0x1234)": what addr2line wants, since kernels in unnamed namespaces have no symbol at run
/// time.
std::string name_of(const void* function) {
  Dl_info info{};
  if (dladdr(function, &info) == 0) return "kernel";
  std::string file = info.dli_fname;
  file.erase(0, file.find_last_of('/') + 1);
  const auto offset = static_cast<const char*>(function) - static_cast<const char*>(info.dli_fbase);
  return fmt::format("kernel ({}+{:#x})", file, offset);
}

/// A GPU would only find out when the pointer is followed; here the kernel would get away with it.
void check_pointers(const Kernel& kernel) {
  for (std::size_t i = 0; i < kernel.pointers.size(); ++i) {
    const void* pointer = const_cast<const void*>(kernel.pointers[i]);
    if (pointer != nullptr && !memory().owns(pointer))
      throw IllegalArgument("pointer " + std::to_string(i) + " of its arguments is the host's");
  }
}

/// Loads a kernel that is launched for the first time.
cudaError_t load(cudaStream_t handle, const void* function) {
  const CUstream_st* const stream = runtime().find(handle);
  if (stream == nullptr || stream->capture == nullptr) {
    runtime().loaded.insert(function);
    return cudaSuccess;
  }
  if (!runtime().machine.lazy_loading || runtime().loaded.contains(function)) return cudaSuccess;
  return Runtime::refuse(*stream->capture, cudaErrorStreamCaptureUnsupported);
}

/// Of a launch that may overlap with the kernel before.
cudaError_t check_overlap(cudaStream_t handle) {
  if (runtime().machine.major < 9) return cudaErrorNotSupported;
  const CUstream_st* const stream = runtime().find(handle);
  const bool captured = stream != nullptr && stream->capture != nullptr;
  return captured && !runtime().machine.records_overlap ? cudaErrorInvalidResourceHandle : cudaSuccess;
}

}  // namespace

cudaError_t generous::emulation::launch(const cudaLaunchConfig_t* config, Kernel kernel) {
  return call("cudaLaunchKernelEx", plain, [&] {
    if (config == nullptr) return cudaErrorInvalidValue;
    if (kernel.function == nullptr) return cudaErrorInvalidDeviceFunction;
    if (!fits(config->gridDim, config->blockDim)) return cudaErrorInvalidConfiguration;
    if (config->dynamicSmemBytes > shared_bytes) return cudaErrorInvalidValue;
    bool overlaps = false;
    for (const cudaLaunchAttribute& attribute : std::span(config->attrs, config->numAttrs)) {
      if (attribute.id != cudaLaunchAttributeProgrammaticStreamSerialization) return cudaErrorInvalidValue;
      overlaps = attribute.val.programmaticStreamSerializationAllowed != 0;
    }
    if (overlaps)
      if (const cudaError_t status = check_overlap(config->stream); status != cudaSuccess) return status;
    if (const cudaError_t status = load(config->stream, kernel.function); status != cudaSuccess)
      return status;
    const void* const kernel_function = kernel.function;
    const auto shared = std::make_shared<const Kernel>(std::move(kernel));
    Work work{.kind = Work::Kind::device, .name = "kernel", .function = kernel_function};
    work.run = [shared, overlaps, grid = config->gridDim, block = config->blockDim] {
      check_pointers(*shared);
      run_grid(grid, block, overlaps, shared->thread, runtime().random);
    };
    work.describe = [shared] {
      const auto text = [](const uint3& index) {
        return fmt::format("({}, {}, {})", index.x, index.y, index.z);
      };
      return fmt::format("{}, thread {} of block {}", name_of(shared->function), text(threadIdx),
                         text(blockIdx));
    };
    return runtime().submit(config->stream, std::move(work));
  });
}

cudaError_t cudaGetDeviceCount(int* count) {
  return call("cudaGetDeviceCount", without_device, [&] {
    *count = 0;
    if (runtime().machine.driver_version / 1000 < CUDART_VERSION / 1000) return cudaErrorInsufficientDriver;
    *count = runtime().machine.devices;
    return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return call("cudaGetDevice", plain, [&] {
    *device = current_device;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return call("cudaSetDevice", plain, [&] {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    current_device = device;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call("cudaGetDeviceProperties", plain, [&] {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    const Machine& machine = runtime().machine;
    *properties = {.name = {},
                   .totalGlobalMem = machine.memory,
                   .sharedMemPerBlock = shared_bytes,
                   .regsPerBlock = 65536,
                   .warpSize = warpSize,
                   .maxThreadsPerBlock = threads_per_block,
                   .maxThreadsDim = {threads_per_block, threads_per_block, threads_in_z},
                   .maxGridSize = {blocks_in_x, blocks_in_y, blocks_in_y},
                   .major = machine.major,
                   .minor = machine.minor,
                   .multiProcessorCount = multiprocessors,
                   .integrated = 0,
                   .canMapHostMemory = 1,
                   .concurrentKernels = 1,
                   .unifiedAddressing = 1,
                   .managedMemory = 0,
                   .maxThreadsPerMultiProcessor = threads_per_multiprocessor,
                   .l2CacheSize = 50 << 20,
                   .memoryBusWidth = 5120,
                   .memoryPoolsSupported = 1};
    const std::string name = device == 0 ? "CPU in the place of a GPU" : fmt::format("GPU number {}", device);
    name.copy(properties->name, sizeof(properties->name) - 1);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
  return call("cudaDeviceGetPCIBusId", plain, [&] {
    const std::string text = fmt::format("0000:{:02x}:00.0", 16 + device);
    if (id == nullptr || length <= static_cast<int>(text.size())) return cudaErrorInvalidValue;
    if (!is_device(device)) return cudaErrorInvalidDevice;
    id[text.copy(id, text.size())] = '\0';
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return call("cudaDeviceGetAttribute", plain, [&] {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    switch (attribute) {
      case cudaDevAttrMaxThreadsPerBlock:
      case cudaDevAttrMaxBlockDimX:
        *value = threads_per_block;
        return cudaSuccess;
      case cudaDevAttrMaxGridDimX:
        *value = blocks_in_x;
        return cudaSuccess;
      case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = static_cast<int>(shared_bytes);
        return cudaSuccess;
      case cudaDevAttrWarpSize:
        *value = warpSize;
        return cudaSuccess;
      case cudaDevAttrMultiProcessorCount:
        *value = multiprocessors;
        return cudaSuccess;
      case cudaDevAttrIntegrated:
      case cudaDevAttrManagedMemory:
        *value = 0;
        return cudaSuccess;
      case cudaDevAttrConcurrentKernels:
      case cudaDevAttrMemoryPoolsSupported:
        *value = 1;
        return cudaSuccess;
      case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = threads_per_multiprocessor;
        return cudaSuccess;
      case cudaDevAttrComputeCapabilityMajor:
        *value = runtime().machine.major;
        return cudaSuccess;
      case cudaDevAttrComputeCapabilityMinor:
        *value = runtime().machine.minor;
        return cudaSuccess;
    }
    return cudaErrorInvalidValue;
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  return call("cudaFuncGetAttributes", plain, [&] {
    if (attributes == nullptr) return cudaErrorInvalidValue;
    if (kernel == nullptr) return cudaErrorInvalidDeviceFunction;
    runtime().loaded.insert(kernel);
    const Machine& machine = runtime().machine;
    *attributes = {.ptxVersion = 10 * machine.code_major + machine.code_minor,
                   .binaryVersion = 10 * machine.major + machine.minor};
    return cudaSuccess;
  });
}

// Of a kernel whose registers and shared memory are no limit.
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads,
                                                          std::size_t shared) {
  return call("cudaOccupancyMaxActiveBlocksPerMultiprocessor", plain, [&] {
    if (blocks == nullptr || threads < 1 || shared > shared_bytes) return cudaErrorInvalidValue;
    if (kernel == nullptr) return cudaErrorInvalidDeviceFunction;
    *blocks = threads > threads_per_block ? 0 : threads_per_multiprocessor / threads;
    return cudaSuccess;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  return call("cudaDriverGetVersion", without_device, [&] {
    *version = runtime().machine.driver_version;
    return cudaSuccess;
  });
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  return call("cudaRuntimeGetVersion", without_device, [&] {
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call("cudaDeviceSynchronize", plain, [&] { return runtime().wait_for_device(); });
}
