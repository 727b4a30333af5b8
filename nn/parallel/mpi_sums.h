// Sums of tensors on the host by MPI; included by what is built with it alone.
#pragma once

#include <mpi.h>

#include <deque>
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

/// Sums over all processes of MPI_COMM_WORLD, in the order of their ranks. Every process makes one, between
/// MPI_Init and MPI_Finalize.
class HostSums {
 public:
  HostSums();
  ~HostSums();
  HostSums(const HostSums&) = delete;
  HostSums& operator=(const HostSums&) = delete;

  /// As Communicator::start_sum.
  std::unique_ptr<Transfer> start(const std::vector<Tensor>& values);

  /// What sums have in common. What is begun on a communicator has to be begun in the same order in all
  /// processes: the second messages of sums, begun when the first ones have arrived, have one of their own,
  /// and take turns.
  struct Shared {
    int rank = 0;
    int size = 1;
    MPI_Comm first = MPI_COMM_NULL;
    MPI_Comm second = MPI_COMM_NULL;
    std::deque<Transfer*> waiting;  ///< sums that have not begun their second message, in their order
  };

 private:
  Shared shared_;
};

}  // namespace generous
