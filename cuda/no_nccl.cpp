// Builds without NCCL.
#include "cuda/communicator.h"

namespace generous::cuda {
namespace {

[[noreturn]] void refuse() {
  fail(
      "several processes on GPUs need NCCL, and this build has none: -DGENEROUS_NCCL=ON says what is "
      "missing; "
      "the device cpu is available");
}

}  // namespace

CommunicatorId make_communicator_id() { refuse(); }

std::unique_ptr<Communicator> join_communicator(const CommunicatorId& /*id*/, int /*rank*/, int /*size*/,
                                                Backend& /*backend*/, cudaStream_t /*stream*/) {
  refuse();
}

}  // namespace generous::cuda
