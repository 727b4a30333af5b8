// A group on MPI, where the program is built with it.
#pragma once

#include <memory>
#include <string>

#include "nn/parallel/group.h"

namespace generous {

bool has_mpi();

/// "Open MPI 4.1.4". These throw Error without MPI.
std::string mpi_version();
/// Every process that was started together with this one. Finishes MPI when it goes, which waits for the
/// others.
std::unique_ptr<Group> join_mpi_group();

}  // namespace generous
