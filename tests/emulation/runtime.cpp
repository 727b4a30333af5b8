#include "runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "enqueue.h"
#include "executor.h"
#include "fault.h"
#include "memory.h"

namespace generous::emulation {
namespace {

/// The real runtime takes itself down when the process ends, behind whatever became static after its first
/// call and before what did earlier; calls that come later do harm or crash. Here they end the process.
void forbid_calls_at_exit(const char* function) {
  static bool over = false;
  static const int registered = std::atexit([] { over = true; });
  (void)registered;
  if (!over) return;
  std::fprintf(stderr, "emulated CUDA: %s is called behind the end of the runtime\n", function);
  std::_Exit(exit_status_of_late_calls);
}

/// 0 where there is no such variable.
std::uint64_t number_in_environment(const char* variable) {
  const char* number = std::getenv(variable);
  return number == nullptr ? 0 : std::strtoull(number, nullptr, 10);
}

}  // namespace

Runtime::Runtime() : random(number_in_environment("GENEROUS_EMULATION_SEED")) {
  if (const std::uint64_t devices = number_in_environment("GENEROUS_EMULATION_DEVICES"))
    machine.devices = static_cast<int>(devices);
}

Runtime& runtime() {
  static Runtime* const instance = new Runtime;  // never destroyed: static objects may still hold handles
  return *instance;
}

CUstream_st* Runtime::find(cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy) return &legacy;
  return streams.has(handle) ? handle : nullptr;
}

std::vector<CUstream_st*> Runtime::all_streams() const {
  std::vector<CUstream_st*> all{const_cast<CUstream_st*>(&legacy)};
  for (const auto& [handle, stream] : streams) all.push_back(handle);
  for (const auto& stream : destroyed) all.push_back(stream.get());
  return all;
}

cudaError_t Runtime::submit(cudaStream_t handle, Work work) {
  CUstream_st* const stream = find(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture != nullptr) {
    Capture& capture = *stream->capture;
    if (capture.invalid) return cudaErrorStreamCaptureInvalidated;
    capture.nodes.push_back({std::move(work), stream->frontier});
    stream->frontier = {capture.nodes.size() - 1};
    return cudaSuccess;
  }
  if (stream == &legacy)
    for (const auto& [other, owner] : streams)
      if (other->blocking && other->capture != nullptr)
        return refuse(*other->capture, cudaErrorStreamCaptureImplicit);
  work.number = ++numbered;
  stream->queue.push_back(std::move(work));
  return cudaSuccess;
}

bool Runtime::is_ready(const CUstream_st& stream) const {
  if (stream.queue.empty()) return false;
  const Work& work = stream.queue.front();
  if (work.waits_for != nullptr && !work.waits_for->done) return false;
  if (!stream.blocking) return true;
  // The legacy stream and the blocking ones wait for what was put on the other side before.
  const auto is_later = [&](const CUstream_st& other) {
    return other.queue.empty() || other.queue.front().number > work.number;
  };
  if (&stream != &legacy) return is_later(legacy);
  return std::ranges::all_of(all_streams(), [&](const CUstream_st* other) {
    return other == &legacy || !other->blocking || is_later(*other);
  });
}

bool Runtime::advance() {
  std::vector<CUstream_st*> ready = all_streams();
  std::erase_if(ready, [&](const CUstream_st* stream) { return !is_ready(*stream); });
  if (ready.empty()) return false;
  CUstream_st& stream = *ready[random.below(ready.size())];
  const Work work = std::move(stream.queue.front());
  stream.queue.pop_front();
  execute(work);
  std::erase_if(destroyed, [](const auto& gone) { return gone->queue.empty(); });
  return true;
}

void Runtime::run_until(const std::function<bool()>& reached) {
  while (!reached() && advance()) {
  }
  memory().close_all();
}

void Runtime::run_all() {
  run_until([] { return false; });
}

cudaError_t Runtime::wait_for(cudaStream_t handle) {
  CUstream_st* const stream = find(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture != nullptr) return refuse(*stream->capture, cudaErrorStreamCaptureUnsupported);
  const auto reached = std::make_shared<Record>();
  const cudaError_t submitted = submit(handle, {.run = [reached] { reached->done = true; }});
  if (submitted == cudaSuccess) run_until([&] { return reached->done; });
  return submitted;
}

cudaError_t Runtime::wait_for_device() {
  const auto active = captures();
  for (const auto& capture : active) refuse(*capture, cudaErrorStreamCaptureUnsupported);
  if (!active.empty()) return cudaErrorStreamCaptureUnsupported;
  run_all();
  return cudaSuccess;
}

void Runtime::execute(const Work& work) {
  if (!work.name.empty()) ++runs[work.name];
  if (work.kind == Work::Kind::device) return run_device_work(work);
  if (work.kind == Work::Kind::host) {
    memory().close_all();
    in_host_function = true;
    work.run();
    in_host_function = false;
    return;
  }
  if (work.run) work.run();
}

void Runtime::run_device_work(const Work& work) {
  const auto describe = [&] { return work.describe ? work.describe() : work.name; };
  const auto failing = failing_work.find(++device_work);
  if (failing != failing_work.end())
    return fail(failing->second, describe() + ": a test asked for this error");
  try {
    const Fault found = run_guarded(work.run);
    if (found.happened) {
      const std::string what = describe() + ": touched " + memory().describe(found.address);
      abandon_block();
      return fail(cudaErrorIllegalAddress, what);
    }
    const std::string damage = memory().damage();
    if (!damage.empty()) fail(cudaErrorIllegalAddress, work.name + ": " + damage);
  } catch (const IllegalArgument& argument) {
    fail(cudaErrorIllegalAddress, describe() + ": " + argument.what());
  } catch (const DivergentThreads& divergence) {
    abandon_block();
    fail(cudaErrorLaunchFailure, describe() + ": " + divergence.what());
  } catch (const std::exception& exception) {
    fail(cudaErrorLaunchFailure, describe() + ": " + exception.what());
  }
}

void Runtime::fail(cudaError_t code, const std::string& what) {
  if (error != cudaSuccess) return;
  error = code;
  fault = what;
  std::fprintf(stderr, "emulated CUDA: %s: %s\n", cudaGetErrorName(code), what.c_str());
  for (CUstream_st* stream : all_streams()) stream->queue.clear();
}

void enqueue(cudaStream_t stream, std::string_view name, std::function<void()> work) {
  const std::lock_guard lock(runtime().mutex);
  watch_faults();
  cudaError_t result = runtime().error;
  if (result == cudaSuccess)
    result = runtime().submit(
        stream, {.kind = Work::Kind::device, .name = std::string(name), .run = std::move(work)});
  if (result != cudaSuccess) last_error() = result;
}

cudaError_t& last_error() {
  thread_local cudaError_t error = cudaSuccess;
  return error;
}

cudaError_t begin_call(const char* function, unsigned rules) {
  Runtime& state = runtime();
  forbid_calls_at_exit(function);
  watch_faults();
  const std::int64_t number = ++state.calls[function];
  if (state.in_host_function) return cudaErrorNotPermitted;
  if (const auto failing = state.failing_calls.find(function); failing != state.failing_calls.end())
    if (const auto found = failing->second.find(number); found != failing->second.end()) return found->second;
  if ((rules & without_device) == 0) {
    if (state.machine.driver_version / 1000 < CUDART_VERSION / 1000) return cudaErrorInsufficientDriver;
    if (state.machine.devices == 0) return cudaErrorNoDevice;
    if (state.error != cudaSuccess) return state.error;
  }
  return (rules & unsafe) != 0 ? state.refuse_unsafe_call() : cudaSuccess;
}

cudaError_t end_call(cudaError_t result) {
  if (result == cudaSuccess) result = runtime().error;
  if (result != cudaSuccess) last_error() = result;
  return result;
}

}  // namespace generous::emulation
