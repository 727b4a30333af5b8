// Streams and events.
#include <chrono>

#include "pool.h"
#include "runtime.h"

using namespace generous::emulation;

namespace {

double now() {
  using Milliseconds = std::chrono::duration<double, std::milli>;
  return Milliseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// What the pool gives back when somebody has waited.
void release_beyond_threshold() { budget().trim_pool(budget().pool.threshold); }

cudaError_t wait_for_event(CUstream_st& stream, cudaStream_t handle, const CUevent_st& event) {
  const std::shared_ptr<Capture> capture = event.capture.lock();
  if (capture == nullptr) {
    if (event.record == nullptr) return cudaSuccess;  // never recorded
    if (stream.capture != nullptr) return Runtime::refuse(*stream.capture, cudaErrorStreamCaptureIsolation);
    return runtime().submit(handle, {.waits_for = event.record});
  }
  if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (&stream == &runtime().legacy) return Runtime::refuse(*capture, cudaErrorStreamCaptureImplicit);
  if (stream.capture != nullptr && stream.capture != capture)
    return Runtime::refuse(*capture, cudaErrorStreamCaptureMerge);
  stream.capture = capture;
  stream.frontier.insert(event.frontier.begin(), event.frontier.end());
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return call("cudaStreamCreateWithFlags", plain, [&] {
    if (stream == nullptr || (flags & ~unsigned{cudaStreamNonBlocking}) != 0) return cudaErrorInvalidValue;
    auto created = std::make_unique<CUstream_st>();
    created->blocking = flags == cudaStreamDefault;
    *stream = runtime().streams.add(std::move(created));
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call("cudaStreamDestroy", releases, [&] {
    if (!runtime().streams.has(stream)) return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) Runtime::refuse(*stream->capture, cudaErrorStreamCaptureInvalidated);
    auto gone = runtime().streams.remove(stream);  // the work that is left runs all the same
    if (!gone->queue.empty()) runtime().destroyed.push_back(std::move(gone));
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call("cudaStreamSynchronize", plain, [&] {
    const cudaError_t waited = runtime().wait_for(stream);
    release_beyond_threshold();
    return waited;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return call("cudaStreamQuery", plain, [&] {
    CUstream_st* const found = runtime().find(stream);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    if (found->capture != nullptr) return Runtime::refuse(*found->capture, cudaErrorStreamCaptureUnsupported);
    if (found->queue.empty()) return cudaSuccess;
    bool advanced = false;  // by one step, so that who asks often enough gets there
    runtime().run_until([&] { return std::exchange(advanced, true); });
    return cudaErrorNotReady;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return call("cudaStreamWaitEvent", plain, [&] {
    CUstream_st* const found = runtime().find(stream);
    if (found == nullptr || !runtime().events.has(event)) return cudaErrorInvalidResourceHandle;
    if (flags != 0) return cudaErrorInvalidValue;
    return wait_for_event(*found, stream, *event);
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* argument) {
  return call("cudaLaunchHostFunc", plain, [&] {
    if (function == nullptr) return cudaErrorInvalidValue;
    return runtime().submit(
        stream, {.kind = Work::Kind::host, .name = "host function", .run = [=] { function(argument); }});
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call("cudaEventCreateWithFlags", plain, [&] {
    constexpr unsigned known = cudaEventBlockingSync | cudaEventDisableTiming;
    if (event == nullptr || (flags & ~known) != 0) return cudaErrorInvalidValue;
    auto created = std::make_unique<CUevent_st>();
    created->timed = (flags & cudaEventDisableTiming) == 0;
    *event = runtime().events.add(std::move(created));
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call("cudaEventDestroy", releases, [&] {
    if (!runtime().events.has(event)) return cudaErrorInvalidResourceHandle;
    runtime().events.remove(event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call("cudaEventRecord", plain, [&] {
    CUstream_st* const found = runtime().find(stream);
    if (found == nullptr || !runtime().events.has(event)) return cudaErrorInvalidResourceHandle;
    if (found->capture != nullptr) {
      if (found->capture->invalid) return cudaErrorStreamCaptureInvalidated;
      event->capture = found->capture;
      event->frontier = found->frontier;
      event->record = nullptr;
      return cudaSuccess;
    }
    const auto record = std::make_shared<Record>();
    const cudaError_t submitted = runtime().submit(stream, {.run = [record] {
                                                     record->done = true;
                                                     record->milliseconds = now();
                                                   }});
    if (submitted != cudaSuccess) return submitted;
    event->record = record;
    event->capture.reset();
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call("cudaEventSynchronize", unsafe, [&] {
    if (!runtime().events.has(event)) return cudaErrorInvalidResourceHandle;
    if (const auto capture = event->capture.lock()) return Runtime::refuse(*capture, cudaErrorCapturedEvent);
    const auto record = event->record;
    if (record != nullptr) runtime().run_until([&] { return record->done; });
    release_beyond_threshold();
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call("cudaEventQuery", unsafe, [&] {
    if (!runtime().events.has(event)) return cudaErrorInvalidResourceHandle;
    if (const auto capture = event->capture.lock()) return Runtime::refuse(*capture, cudaErrorCapturedEvent);
    if (event->record == nullptr || event->record->done) return cudaSuccess;
    bool advanced = false;
    runtime().run_until([&] { return std::exchange(advanced, true); });
    return cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return call("cudaEventElapsedTime", plain, [&] {
    if (!runtime().events.has(start) || !runtime().events.has(end)) return cudaErrorInvalidResourceHandle;
    if (!start->timed || !end->timed || start->record == nullptr || end->record == nullptr)
      return cudaErrorInvalidResourceHandle;
    if (!start->record->done || !end->record->done) return cudaErrorNotReady;
    *milliseconds = static_cast<float>(end->record->milliseconds - start->record->milliseconds);
    return cudaSuccess;
  });
}
