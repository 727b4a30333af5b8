// Where the blocks of a kernel meet without a second kernel: the last one to come goes on with what all of
// them left in memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace generous::cuda {

/// Whether this block is the last of `blocks` to come here; all of its threads call, and may then read what
/// the others wrote before. `ticket` is 0 before and after.
inline __device__ bool is_last_block(unsigned* ticket, std::int64_t blocks) {
  __shared__ bool last;
  __syncthreads();  // this block has written all of its own
  if (threadIdx.x == 0) {
    const auto others = static_cast<unsigned>(blocks - 1);
    __threadfence();                             // what the block wrote is seen before its ticket is
    last = atomicInc(ticket, others) == others;  // the last one takes it back to 0
    __threadfence();                             // what is read from here on is no older than the ticket
  }
  __syncthreads();
  return last;
}

}  // namespace generous::cuda
