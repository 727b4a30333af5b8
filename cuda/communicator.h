// Sums over the GPUs of several processes, by NCCL where the build has it.
#pragma once

#include <cuda_runtime.h>

#include <memory>

#include "core/backend.h"

namespace generous::cuda {

// Both throw Error in a build without NCCL.

CommunicatorId make_communicator_id();

/// Of the current GPU, whose `backend` computes on `stream`: sums are taken on a stream of their own, each
/// behind what is on `stream` when it is started, and before what is put there after its `wait`.
std::unique_ptr<Communicator> join_communicator(const CommunicatorId& id, int rank, int size,
                                                Backend& backend, cudaStream_t stream);

}  // namespace generous::cuda
