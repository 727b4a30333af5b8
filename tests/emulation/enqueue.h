// How the emulated libraries (cuBLAS, cuDNN) put their arithmetic on a stream of the emulated runtime.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <string_view>

namespace generous::emulation {

/// Puts `work` on `stream` behind what is there, as device work: it runs when the stream gets to it, with
/// device memory open, and not before. While the stream is being captured it becomes a node of the graph
/// instead, and runs at every replay, so it has to hold copies of all that it needs. `name` says in errors
/// what it was.
void enqueue(cudaStream_t stream, std::string_view name, std::function<void()> work);

}  // namespace generous::emulation
