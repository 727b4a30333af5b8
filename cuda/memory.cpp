#include "cuda/memory.h"

#include <algorithm>
#include <cstring>

#include "cuda/check.h"

namespace generous::cuda {
namespace {

/// Calls that would break a capture on this thread, because a replay does not repeat them, are allowed while
/// this lives: memory that is taken or given back stays so, whatever is captured.
class OutsideCapture {
 public:
  OutsideCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~OutsideCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  OutsideCapture(const OutsideCapture&) = delete;
  OutsideCapture& operator=(const OutsideCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

// Not the driver's own stream-ordered pool: inside a capture it would make allocations part of the graph.
class DeviceMemory final : public MemorySource {
 public:
  Device device() const override { return Device::cuda; }

  void* acquire(std::size_t bytes) override {
    const OutsideCapture outside;
    void* block = nullptr;
    const cudaError_t status = cudaMalloc(&block, bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // forgotten: the allocator tries again or reports it
      return nullptr;
    }
    check(status, "allocation", "cudaMalloc");
    return block;
  }

  // Waits for what runs on the device. An error of an earlier kernel shows here as well; it is reported where
  // something waits for a result.
  void release(void* block, std::size_t) override {
    const OutsideCapture outside;
    cudaFree(block);
  }

  std::optional<std::size_t> free_bytes() const override {
    std::size_t free = 0;
    std::size_t total = 0;
    if (cudaMemGetInfo(&free, &total) != cudaSuccess) return std::nullopt;
    return free;
  }
};

}  // namespace

std::shared_ptr<CachingAllocator> make_device_allocator() {
  return std::make_shared<CachingAllocator>(std::make_unique<DeviceMemory>());
}

Staging::Staging(cudaStream_t stream) : stream_(stream), ring_(buffer_count) {
  for (Buffer& buffer : ring_)
    buffer = {.memory = pinned_memory("the staging buffers", buffer_bytes), .copied = make_event()};
}

Staging::Buffer& Staging::next(std::string_view op) {
  Buffer& buffer = ring_[used_++ % ring_.size()];
  check(cudaEventSynchronize(buffer.copied.get()), op, "cudaEventSynchronize");
  return buffer;
}

void Staging::to_device(std::string_view op, const void* host, void* device, std::size_t bytes) {
  for (std::size_t begin = 0; begin < bytes; begin += buffer_bytes) {
    const std::size_t count = std::min(buffer_bytes, bytes - begin);
    Buffer& buffer = next(op);
    std::memcpy(buffer.memory.get(), static_cast<const char*>(host) + begin, count);
    check(cudaMemcpyAsync(static_cast<char*>(device) + begin, buffer.memory.get(), count,
                          cudaMemcpyHostToDevice, stream_),
          op, "cudaMemcpyAsync");
    check(cudaEventRecord(buffer.copied.get(), stream_), op, "cudaEventRecord");
  }
}

void Staging::to_host(std::string_view op, const void* device, void* host, std::size_t bytes) {
  for (std::size_t begin = 0; begin < bytes; begin += buffer_bytes) {
    const std::size_t count = std::min(buffer_bytes, bytes - begin);
    Buffer& buffer = next(op);
    check(cudaMemcpyAsync(buffer.memory.get(), static_cast<const char*>(device) + begin, count,
                          cudaMemcpyDeviceToHost, stream_),
          op, "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream_), op, "cudaStreamSynchronize");
    std::memcpy(static_cast<char*>(host) + begin, buffer.memory.get(), count);
  }
}

}  // namespace generous::cuda
