// What memory the process has taken.
#pragma once

#include <cstdint>

namespace generous {

/// The most resident memory that this program has had, in MiB, rounded up.
std::int64_t peak_memory_mib();

}  // namespace generous
