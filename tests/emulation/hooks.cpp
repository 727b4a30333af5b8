#include "emulation.h"
#include "memory.h"
#include "runtime.h"

namespace generous::emulation {

Machine& machine() { return runtime().machine; }

void reset() {
  Runtime& state = runtime();
  const std::lock_guard lock(state.mutex);
  state.machine = {};
  state.error = cudaSuccess;
  state.fault.clear();
  state.calls.clear();
  state.runs.clear();
  state.loaded.clear();
  state.failing_calls.clear();
  state.failing_work.clear();
  state.device_work = 0;
  state.destroyed.clear();
  state.legacy.queue.clear();
  for (const auto& [stream, owner] : state.streams) {
    stream->queue.clear();
    stream->capture.reset();
  }
  last_error() = cudaSuccess;
}

void set_seed(std::uint64_t seed) { runtime().random.start(seed); }

void fail_call(std::string_view function, std::int64_t nth, cudaError_t error) {
  runtime().failing_calls[std::string(function)][calls(function) + nth] = error;
}

void fail_work(std::int64_t nth, cudaError_t error) {
  runtime().failing_work[runtime().device_work + nth] = error;
}

std::int64_t calls(std::string_view function) {
  const auto found = runtime().calls.find(function);
  return found == runtime().calls.end() ? 0 : found->second;
}

std::int64_t runs(std::string_view work) {
  const auto found = runtime().runs.find(work);
  return found == runtime().runs.end() ? 0 : found->second;
}

std::vector<GraphNode> last_graph() {
  std::vector<GraphNode> found;
  if (runtime().last_graph == nullptr) return found;
  for (const CUgraphNode_st& node : *runtime().last_graph)
    found.push_back({.name = node.work.name, .function = node.work.function});
  return found;
}

std::int64_t pending() {
  std::size_t count = runtime().legacy.queue.size();
  for (const auto& [stream, owner] : runtime().streams) count += stream->queue.size();
  for (const auto& stream : runtime().destroyed) count += stream->queue.size();
  return static_cast<std::int64_t>(count);
}

std::string last_fault() { return runtime().fault; }

Usage device_memory() { return memory().usage(false); }
Usage pinned_memory() { return memory().usage(true); }

}  // namespace generous::emulation
