// Copies and memsets. Pinned memory is read and written when the stream gets to it; pageable memory is read
// when the copy is asked for, and written before the call returns.
#include <cstring>
#include <optional>
#include <vector>

#include "memory.h"
#include "runtime.h"

using namespace generous::emulation;

namespace {

enum class Place { pageable, pinned, device };

/// Where all the bytes are; nothing if no memory holds them.
std::optional<Place> place_of(const void* pointer, std::size_t bytes) {
  if (pointer == nullptr) return std::nullopt;
  if (const Allocation* allocation = memory().containing(pointer, bytes))
    return allocation->pinned ? Place::pinned : Place::device;
  if (memory().owns(pointer)) return std::nullopt;
  return Place::pageable;
}

struct Copy {
  void* to = nullptr;
  const void* from = nullptr;
  std::size_t bytes = 0;
  Place target = Place::device, source = Place::device;

  bool has(Place place) const { return target == place || source == place; }
};

/// Checks the direction against the pointers.
cudaError_t describe(Copy& copy, cudaMemcpyKind kind) {
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
  const std::optional<Place> target = place_of(copy.to, copy.bytes), source = place_of(copy.from, copy.bytes);
  if (!target || !source) return cudaErrorInvalidValue;
  copy.target = *target;
  copy.source = *source;
  if (kind == cudaMemcpyDefault) return cudaSuccess;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool agrees = to_device == (target == Place::device) && from_device == (source == Place::device);
  return agrees ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t submit(const Copy& copy, cudaStream_t stream) {
  Work work{.kind = Work::Kind::device, .name = "copy"};
  if (copy.source == Place::pageable) {
    const auto* begin = static_cast<const unsigned char*>(copy.from);
    const auto staged = std::make_shared<const std::vector<unsigned char>>(begin, begin + copy.bytes);
    work.run = [to = copy.to, staged] { std::memcpy(to, staged->data(), staged->size()); };
  } else {
    work.run = [copy] { std::memmove(copy.to, copy.from, copy.bytes); };
  }
  return runtime().submit(stream, std::move(work));
}

cudaError_t submit_and_wait(const Copy& copy, cudaStream_t stream) {
  const cudaError_t submitted = submit(copy, stream);
  return submitted == cudaSuccess ? runtime().wait_for(stream) : submitted;
}

cudaError_t set(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  const std::optional<Place> target = place_of(to, bytes);
  if (!target || target == Place::pageable) return cudaErrorInvalidValue;
  return runtime().submit(
      stream, {.kind = Work::Kind::device, .name = "memset", .run = [=] { std::memset(to, value, bytes); }});
}

}  // namespace

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return call("cudaMemcpy", unsafe, [&] {
    if (bytes == 0) return cudaSuccess;
    Copy copy{.to = to, .from = from, .bytes = bytes};
    const cudaError_t described = describe(copy, kind);
    if (described != cudaSuccess) return described;
    if (copy.target == Place::device && copy.source == Place::device) return submit(copy, nullptr);
    if (copy.target != Place::device || copy.source == Place::pinned) return submit_and_wait(copy, nullptr);
    // From pageable memory: returns when that has been read, before the device has everything.
    const cudaError_t waited = runtime().wait_for(nullptr);
    return waited == cudaSuccess && runtime().error == cudaSuccess ? submit(copy, nullptr) : waited;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return call("cudaMemcpyAsync", plain, [&] {
    const CUstream_st* found = runtime().find(stream);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    if (bytes == 0) return cudaSuccess;
    Copy copy{.to = to, .from = from, .bytes = bytes};
    const cudaError_t described = describe(copy, kind);
    if (described != cudaSuccess) return described;
    if (found->capture != nullptr && copy.has(Place::pageable))
      return Runtime::refuse(*found->capture, cudaErrorStreamCaptureUnsupported);
    const bool returns_early =
        copy.target != Place::pageable && (copy.target == Place::device || !copy.has(Place::pageable));
    return returns_early ? submit(copy, stream) : submit_and_wait(copy, stream);
  });
}

cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  return call("cudaMemset", unsafe, [&] { return set(to, value, bytes, nullptr); });
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return call("cudaMemsetAsync", plain, [&] {
    return runtime().find(stream) == nullptr ? cudaErrorInvalidResourceHandle : set(to, value, bytes, stream);
  });
}
