// Where and with how many threads to compute.
#pragma once

#include <cstdint>
#include <string>

#include "core/backend.h"

namespace generous {

/// `choice` is auto (a GPU if built for one and one is there, else the CPU), cpu or cuda. Throws Error that
/// says what is missing if the choice is not there.
Device choose_device(const std::string& choice);

/// Computes with this many threads from now on; 0: as many as the process may use cores.
void set_threads(std::int64_t threads);

}  // namespace generous
