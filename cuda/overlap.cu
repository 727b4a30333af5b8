#include "cuda/begin_kernel.h"
#include "cuda/graph.h"
#include "cuda/launch.h"
#include "cuda/overlap.h"

namespace generous::cuda {
namespace {

constexpr int oldest_major = 9;

__global__ void nothing_kernel() { begin_kernel(); }

/// Whether the code that the GPU takes of this build has the wait in it: code for older GPUs has not.
bool waits() {
  cudaFuncAttributes attributes{};
  check(cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(nothing_kernel)), "CUDA",
        "cudaFuncGetAttributes");
  return attributes.ptxVersion >= 10 * oldest_major;
}

/// Runs two kernels that may overlap, and records and runs them: what is recorded has to be loaded before.
void try_recording(cudaStream_t stream) {
  const auto run = [stream] {
    for (int i = 0; i < 2; ++i) launch("CUDA", stream, {.threads = 32, .overlaps = true}, nothing_kernel);
  };
  run();
  const Graph graph = capture(stream, run);
  cudaGraphExec_t executable = nullptr;
  check(cudaGraphInstantiate(&executable, graph.get(), 0), "CUDA", "cudaGraphInstantiate");
  const ExecutableGraph owned(executable);
  check(cudaGraphLaunch(executable, stream), "CUDA", "cudaGraphLaunch");
  check(cudaStreamSynchronize(stream), "CUDA", "cudaStreamSynchronize");
}

}  // namespace

bool kernels_may_overlap(int major, cudaStream_t stream) {
  if (major < oldest_major || !waits()) return false;
  try {
    try_recording(stream);
    return true;
  } catch (const Error&) {  // some drivers take such launches and do not record them
    cudaGetLastError();
    return false;
  }
}

}  // namespace generous::cuda
