// Captures of streams, and the graphs that come of them.
#include "runtime.h"

namespace generous::emulation {
namespace {

/// What captures are to this thread.
cudaStreamCaptureMode& mode_of_thread() {
  thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  return mode;
}

/// Whether every node comes before something in `frontier`, or is in it.
bool all_joined(const Nodes& nodes, const Frontier& frontier) {
  Frontier joined = frontier;
  for (std::size_t i = nodes.size(); i-- > 0;) {  // what a node waits for has a smaller number
    if (!joined.contains(i)) return false;
    joined.insert(nodes[i].after.begin(), nodes[i].after.end());
  }
  return true;
}

}  // namespace

cudaError_t Runtime::refuse(Capture& capture, cudaError_t error) {
  capture.invalid = true;
  return error;
}

std::set<std::shared_ptr<Capture>> Runtime::captures() const {
  std::set<std::shared_ptr<Capture>> found;
  for (const auto& [handle, stream] : streams)
    if (stream->capture != nullptr) found.insert(stream->capture);
  return found;
}

cudaError_t Runtime::refuse_unsafe_call() {
  const cudaStreamCaptureMode mode = mode_of_thread();
  if (mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  bool refused = false;
  for (const auto& capture : captures()) {
    const bool own =
        capture->thread == std::this_thread::get_id() && capture->mode != cudaStreamCaptureModeRelaxed;
    const bool of_all = mode == cudaStreamCaptureModeGlobal && capture->mode == cudaStreamCaptureModeGlobal;
    if (!own && !of_all) continue;
    capture->invalid = true;
    refused = true;
  }
  return refused ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

/// In random order, each node after those that it waits for.
void Runtime::run_graph(const Nodes& nodes) {
  std::vector<std::size_t> missing(nodes.size());
  std::vector<std::vector<std::size_t>> followers(nodes.size());
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    missing[i] = nodes[i].after.size();
    for (const std::size_t before : nodes[i].after) followers[before].push_back(i);
    if (missing[i] == 0) ready.push_back(i);
  }
  while (!ready.empty() && error == cudaSuccess) {
    std::swap(ready[random.below(ready.size())], ready.back());
    const std::size_t next = ready.back();
    ready.pop_back();
    execute(nodes[next].work);
    for (const std::size_t follower : followers[next])
      if (--missing[follower] == 0) ready.push_back(follower);
  }
}

}  // namespace generous::emulation

using namespace generous::emulation;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call("cudaStreamBeginCapture", plain, [&] {
    CUstream_st* const found = runtime().find(stream);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    if (mode < cudaStreamCaptureModeGlobal || mode > cudaStreamCaptureModeRelaxed)
      return cudaErrorInvalidValue;
    if (found == &runtime().legacy) return cudaErrorStreamCaptureUnsupported;
    if (found->capture != nullptr) return cudaErrorIllegalState;
    found->capture = std::make_shared<Capture>();
    found->capture->id = ++runtime().captured;
    found->capture->mode = mode;
    found->capture->thread = std::this_thread::get_id();
    found->capture->origin = stream;
    found->frontier.clear();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return call("cudaStreamEndCapture", releases, [&] {
    if (graph == nullptr) return cudaErrorInvalidValue;
    *graph = nullptr;
    CUstream_st* const found = runtime().find(stream);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    if (found->capture == nullptr) return cudaErrorIllegalState;
    const std::shared_ptr<Capture> capture = found->capture;
    if (capture->origin != stream) return Runtime::refuse(*capture, cudaErrorStreamCaptureUnmatched);
    if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id())
      return Runtime::refuse(*capture, cudaErrorStreamCaptureWrongThread);
    const Frontier frontier = found->frontier;
    for (const auto& [joined, owner] : runtime().streams)
      if (joined->capture == capture) {
        joined->capture = nullptr;
        joined->frontier.clear();
      }
    if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
    if (!all_joined(capture->nodes, frontier)) return cudaErrorStreamCaptureUnjoined;
    auto made = std::make_unique<CUgraph_st>();
    made->nodes = std::make_shared<Nodes>(std::move(capture->nodes));
    runtime().last_graph = made->nodes;
    *graph = runtime().graphs.add(std::move(made));
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                     unsigned long long* id) {
  return call("cudaStreamGetCaptureInfo", plain, [&] {
    const CUstream_st* found = runtime().find(stream);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    if (status == nullptr) return cudaErrorInvalidValue;
    *status = cudaStreamCaptureStatusNone;
    if (found->capture == nullptr) return cudaSuccess;
    *status = found->capture->invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
    if (id != nullptr) *id = found->capture->id;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return cudaStreamGetCaptureInfo(stream, status, nullptr);
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return call("cudaThreadExchangeStreamCaptureMode", releases, [&] {
    if (mode == nullptr || *mode < cudaStreamCaptureModeGlobal || *mode > cudaStreamCaptureModeRelaxed)
      return cudaErrorInvalidValue;
    std::swap(*mode, mode_of_thread());
    return cudaSuccess;
  });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  return call("cudaGraphGetNodes", plain, [&] {
    if (!runtime().graphs.has(graph) || count == nullptr) return cudaErrorInvalidValue;
    if (nodes != nullptr)
      for (std::size_t i = 0; i < *count; ++i)
        nodes[i] = i < graph->nodes->size() ? &(*graph->nodes)[i] : nullptr;
    *count = graph->nodes->size();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  return call("cudaGraphInstantiate", plain, [&] {
    constexpr unsigned long long known = cudaGraphInstantiateFlagAutoFreeOnLaunch |
                                         cudaGraphInstantiateFlagUpload |
                                         cudaGraphInstantiateFlagUseNodePriority;
    if (executable == nullptr || !runtime().graphs.has(graph) || (flags & ~known) != 0)
      return cudaErrorInvalidValue;
    auto made = std::make_unique<CUgraphExec_st>();
    made->nodes = graph->nodes;
    *executable = runtime().executables.add(std::move(made));
    return cudaSuccess;
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream) {
  return call("cudaGraphUpload", plain, [&] {
    if (!runtime().executables.has(executable)) return cudaErrorInvalidValue;
    return runtime().find(stream) == nullptr ? cudaErrorInvalidResourceHandle : cudaSuccess;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return call("cudaGraphLaunch", plain, [&] {
    if (!runtime().executables.has(executable)) return cudaErrorInvalidValue;
    const auto nodes = executable->nodes;
    return runtime().submit(stream, {.name = "graph", .run = [nodes] { runtime().run_graph(*nodes); }});
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return call("cudaGraphExecDestroy", releases, [&] {
    if (!runtime().executables.has(executable)) return cudaErrorInvalidValue;
    runtime().executables.remove(executable);  // launches that wait keep what they need
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call("cudaGraphDestroy", releases, [&] {
    if (!runtime().graphs.has(graph)) return cudaErrorInvalidValue;
    runtime().graphs.remove(graph);
    return cudaSuccess;
  });
}
