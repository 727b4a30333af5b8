// Calls that take and give back memory.
#include <algorithm>

#include "memory.h"
#include "pool.h"
#include "runtime.h"

namespace generous::emulation {

bool Budget::take(std::size_t bytes) {
  if (rounded(bytes) > free()) trim_pool(0);
  if (rounded(bytes) > free()) return false;
  taken_ += rounded(bytes);
  return true;
}

bool Budget::take_from_pool(std::size_t bytes) {
  const std::size_t used = pool.used + rounded(bytes);
  if (used > pool.reserved && used - pool.reserved > free()) return false;
  pool.used = used;
  pool.reserved = std::max(pool.reserved, used);
  pool.most_used = std::max(pool.most_used, pool.used);
  pool.most_reserved = std::max(pool.most_reserved, pool.reserved);
  return true;
}

void Budget::trim_pool(std::size_t bytes_to_keep) {
  pool.reserved = std::max(pool.used, std::min(pool.reserved, bytes_to_keep));
}

std::size_t Budget::free() const {
  const std::size_t total = runtime().machine.memory;
  const std::size_t held = taken_ + pool.reserved;
  return total > held ? total - held : 0;
}

Budget& budget() {
  static Budget instance;
  return instance;
}

namespace {

/// The allocation that may be freed: it starts at `pointer` and nobody frees it yet.
Allocation* freeable(void* pointer, bool pinned) {
  Allocation* allocation = memory().starting_at(pointer);
  return allocation != nullptr && allocation->pinned == pinned && !allocation->freeing ? allocation : nullptr;
}

void release(const Allocation& allocation) {
  if (allocation.from_pool)
    budget().give_back_to_pool(allocation.bytes);
  else if (!allocation.pinned)
    budget().give_back(allocation.bytes);
  memory().free(allocation);
}

}  // namespace
}  // namespace generous::emulation

using namespace generous::emulation;

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  return call("cudaMalloc", unsafe, [&] {
    if (pointer == nullptr) return cudaErrorInvalidValue;
    *pointer = nullptr;
    if (bytes == 0) return cudaSuccess;
    if (!budget().take(bytes)) return cudaErrorMemoryAllocation;
    const Allocation* allocation = memory().allocate(bytes, false);
    *pointer = reinterpret_cast<void*>(allocation->base);
    return cudaSuccess;
  });
}

cudaError_t cudaFree(void* pointer) {
  return call("cudaFree", unsafe | releases, [&] {
    if (pointer == nullptr) return cudaSuccess;
    Allocation* allocation = freeable(pointer, false);
    if (allocation == nullptr) return cudaErrorInvalidValue;
    runtime().run_all();  // it waits for the device
    release(*allocation);
    return cudaSuccess;
  });
}

cudaError_t cudaMallocAsync(void** pointer, std::size_t bytes, cudaStream_t stream) {
  return call("cudaMallocAsync", plain, [&] {
    if (pointer == nullptr) return cudaErrorInvalidValue;
    *pointer = nullptr;
    const CUstream_st* found = runtime().find(stream);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    // On a GPU it becomes a node of the graph that takes memory anew with every launch. Not here.
    if (found->capture != nullptr) return Runtime::refuse(*found->capture, cudaErrorStreamCaptureUnsupported);
    if (bytes == 0) return cudaSuccess;
    if (!budget().take_from_pool(bytes)) {
      runtime().run_all();  // what is being freed
      if (!budget().take_from_pool(bytes)) return cudaErrorMemoryAllocation;
    }
    Allocation* allocation = memory().allocate(bytes, false);
    allocation->from_pool = true;
    allocation->exists = false;
    *pointer = reinterpret_cast<void*>(allocation->base);
    return runtime().submit(stream, {.run = [start = *pointer] {
                              if (Allocation* born = memory().starting_at(start)) born->exists = true;
                            }});
  });
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  return call("cudaFreeAsync", releases, [&] {
    const CUstream_st* found = runtime().find(stream);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    if (found->capture != nullptr) return Runtime::refuse(*found->capture, cudaErrorStreamCaptureUnsupported);
    if (pointer == nullptr) return cudaSuccess;
    Allocation* allocation = freeable(pointer, false);
    if (allocation == nullptr) return cudaErrorInvalidValue;
    if (!allocation->from_pool) return cudaErrorInvalidValue;
    allocation->freeing = true;
    if (runtime().error != cudaSuccess) return release(*allocation), runtime().error;
    return runtime().submit(stream, {.run = [pointer] {
                              if (const Allocation* dying = memory().starting_at(pointer)) release(*dying);
                            }});
  });
}

cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned flags) {
  return call("cudaHostAlloc", unsafe, [&] {
    constexpr unsigned known = cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined;
    if (pointer == nullptr || (flags & ~known) != 0) return cudaErrorInvalidValue;
    *pointer = nullptr;
    if (bytes == 0) return cudaSuccess;
    *pointer = reinterpret_cast<void*>(memory().allocate(bytes, true)->base);
    return cudaSuccess;
  });
}

cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
  return cudaHostAlloc(pointer, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void* pointer) {
  return call("cudaFreeHost", unsafe | releases, [&] {
    if (pointer == nullptr) return cudaSuccess;
    const Allocation* allocation = freeable(pointer, true);
    if (allocation == nullptr) return cudaErrorInvalidValue;
    runtime().run_all();
    release(*allocation);
    return cudaSuccess;
  });
}

cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned flags) {
  return call("cudaHostGetDevicePointer", plain, [&] {
    const Allocation* allocation = memory().containing(host);
    if (allocation == nullptr || !allocation->pinned || flags != 0) return cudaErrorInvalidValue;
    *device = host;  // one address for both
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return call("cudaPointerGetAttributes", plain, [&] {
    if (attributes == nullptr) return cudaErrorInvalidValue;
    const Allocation* allocation = memory().containing(pointer);
    void* const address = const_cast<void*>(pointer);
    *attributes = {
        .type = cudaMemoryTypeUnregistered, .device = -2, .devicePointer = nullptr, .hostPointer = address};
    if (allocation == nullptr) return cudaSuccess;
    *attributes = {.type = allocation->pinned ? cudaMemoryTypeHost : cudaMemoryTypeDevice,
                   .device = 0,
                   .devicePointer = address,
                   .hostPointer = allocation->pinned ? address : nullptr};
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return call("cudaMemGetInfo", plain, [&] {
    *free = budget().free();
    *total = runtime().machine.memory;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  return call("cudaDeviceGetDefaultMemPool", plain, [&] {
    if (device != 0) return cudaErrorInvalidDevice;
    *pool = &budget().pool;
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return call("cudaMemPoolSetAttribute", plain, [&] {
    if (pool != &budget().pool || value == nullptr) return cudaErrorInvalidValue;
    const auto is_zero = [&] { return *static_cast<std::uint64_t*>(value) == 0; };
    switch (attribute) {
      case cudaMemPoolReuseFollowEventDependencies:
      case cudaMemPoolReuseAllowOpportunistic:
      case cudaMemPoolReuseAllowInternalDependencies:
        return cudaSuccess;  // no address is reused here
      case cudaMemPoolAttrReleaseThreshold:
        pool->threshold = *static_cast<std::uint64_t*>(value);
        return cudaSuccess;
      case cudaMemPoolAttrReservedMemHigh:
        if (!is_zero()) return cudaErrorInvalidValue;
        pool->most_reserved = pool->reserved;
        return cudaSuccess;
      case cudaMemPoolAttrUsedMemHigh:
        if (!is_zero()) return cudaErrorInvalidValue;
        pool->most_used = pool->used;
        return cudaSuccess;
      default:
        return cudaErrorInvalidValue;
    }
  });
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return call("cudaMemPoolGetAttribute", plain, [&] {
    if (pool != &budget().pool || value == nullptr) return cudaErrorInvalidValue;
    const auto answer = [&](std::uint64_t number) {
      *static_cast<std::uint64_t*>(value) = number;
      return cudaSuccess;
    };
    switch (attribute) {
      case cudaMemPoolAttrReleaseThreshold:
        return answer(pool->threshold);
      case cudaMemPoolAttrReservedMemCurrent:
        return answer(pool->reserved);
      case cudaMemPoolAttrReservedMemHigh:
        return answer(pool->most_reserved);
      case cudaMemPoolAttrUsedMemCurrent:
        return answer(pool->used);
      case cudaMemPoolAttrUsedMemHigh:
        return answer(pool->most_used);
      default:
        return cudaErrorInvalidValue;
    }
  });
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, std::size_t bytes_to_keep) {
  return call("cudaMemPoolTrimTo", plain, [&] {
    if (pool != &budget().pool) return cudaErrorInvalidValue;
    budget().trim_pool(bytes_to_keep);
    return cudaSuccess;
  });
}
