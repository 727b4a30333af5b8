// Sums of tensors on the host by MPI; included by what is built with it alone.
#pragma once

#include <mpi.h>

#include <memory>
#include <vector>

#include "core/communicator.h"

namespace generous {

/// Waits by letting others have the core, where MPI itself spins. Who waits for as long as an evaluation or a
/// file takes sleeps.
void wait_for(MPI_Request& request);

/// Calls `begin` with where the request of what it begins is to be, and waits for that.
template <class Begin>
void completely(const Begin& begin) {
  MPI_Request request = MPI_REQUEST_NULL;
  begin(&request);
  wait_for(request);
}

/// Communicator::start_sum over all processes of MPI_COMM_WORLD, for tensors on the host.
std::unique_ptr<Transfer> start_host_sum(std::vector<Tensor> values, bool in_order);

}  // namespace generous
