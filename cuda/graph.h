// Calls on a stream, captured once as a graph that the GPU runs without the host.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <memory>

#include "core/allocator.h"
#include "core/backend.h"
#include "cuda/handles.h"
#include "cuda/shadows.h"

namespace generous::cuda {

/// Captures what `work` puts on `stream`, without running it. If `work` throws, or did what can't be
/// captured, the capture is ended, and the stream is as before.
Graph capture(cudaStream_t stream, const std::function<void()>& work);

class RecordedGraph final : public RecordedWork {
 public:
  /// Keeps `pool`, to whose blocks the graph writes, and what `shadows` noted while it was captured.
  RecordedGraph(Graph graph, std::shared_ptr<CachingAllocator> pool, cudaStream_t stream, Shadows& shadows);
  ~RecordedGraph() override;
  void replay() override;

 private:
  std::shared_ptr<CachingAllocator> pool_;
  cudaStream_t stream_;
  Shadows& shadows_;
  RecordedShadows known_shadows_;
  ExecutableGraph executable_;
};

}  // namespace generous::cuda
