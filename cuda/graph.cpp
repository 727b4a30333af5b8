#include "cuda/graph.h"

#include <utility>

#include "cuda/check.h"

namespace generous::cuda {
namespace {

/// Null if the capture was broken.
std::pair<Graph, cudaError_t> end_capture(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  const cudaError_t status = cudaStreamEndCapture(stream, &graph);
  return {Graph(graph), status};
}

}  // namespace

Graph capture(cudaStream_t stream, const std::function<void()>& work) {
  // Other threads, which load data for example, go on with what they do; this one is told if it does what a
  // replay would not repeat.
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "record", "cudaStreamBeginCapture");
  try {
    work();
  } catch (...) {
    end_capture(stream);
    cudaGetLastError();
    throw;
  }
  auto [graph, status] = end_capture(stream);
  check(status, "record", "cudaStreamEndCapture");
  return std::move(graph);
}

RecordedGraph::RecordedGraph(Graph graph, std::shared_ptr<CachingAllocator> pool, cudaStream_t stream,
                             Shadows& shadows)
    : pool_(std::move(pool)), stream_(stream), shadows_(shadows) {
  cudaGraphExec_t executable = nullptr;
  check(cudaGraphInstantiate(&executable, graph.get(), 0), "record", "cudaGraphInstantiate");
  executable_.reset(executable);
  check(cudaGraphUpload(executable, stream), "record", "cudaGraphUpload");
  known_shadows_ = shadows.take_recording();
}

RecordedGraph::~RecordedGraph() {
  cudaStreamSynchronize(stream_);  // it may be running; what goes wrong is reported by whoever reads a result
}

void RecordedGraph::replay() {
  shadows_.before_replay(known_shadows_);
  const cudaError_t status = cudaGraphLaunch(executable_.get(), stream_);
  // Where the first one failed, shadows that the graph makes are not there.
  for (const auto& shadow : known_shadows_.shadows) shadow->fresh = false;
  check(status, "replay", "cudaGraphLaunch");
  shadows_.after_replay(known_shadows_);
}

}  // namespace generous::cuda
