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
                             LaunchLog& log)
    : pool_(std::move(pool)), stream_(stream), log_(log) {
  cudaGraphExec_t executable = nullptr;
  check(cudaGraphInstantiate(&executable, graph.get(), 0), "record", "cudaGraphInstantiate");
  executable_.reset(executable);
  check(cudaGraphUpload(executable, stream), "record", "cudaGraphUpload");
}

RecordedGraph::~RecordedGraph() {
  cudaStreamSynchronize(stream_);  // it may be running; what goes wrong is reported by whoever reads a result
}

void RecordedGraph::replay() {
  check(cudaGraphLaunch(executable_.get(), stream_), "replay", "cudaGraphLaunch");
  log_.note(LaunchLog::recorded_work);
}

}  // namespace generous::cuda
