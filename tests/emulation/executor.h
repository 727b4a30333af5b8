// Runs the blocks of a kernel one after the other, in shuffled order, and the threads of a block in shuffled
// order on fibers: each thread until it has to meet others or ends.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>

#include "random.h"
#include "tests/emulation/include/vector_types.h"

namespace generous::emulation {

/// Threads that have to meet do not; says which.
class DivergentThreads : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Runs `thread` for every thread of the grid, as device work; of a kernel that may overlap with the one
/// before, each has to wait for that. Throws DivergentThreads.
void run_grid(dim3 grid, dim3 block, bool overlaps, const std::function<void()>& thread, Random& random);

/// After work that was ended from outside.
void abandon_block();

}  // namespace generous::emulation
