// Builds without MPI.
#include "nn/parallel/mpi_group.h"

namespace generous {

bool has_mpi() { return false; }
std::string mpi_version() { fail("built without MPI"); }
std::unique_ptr<Group> join_mpi_group() { fail("built without MPI"); }

}  // namespace generous
