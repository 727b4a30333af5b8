// Where a limit on the address space (ulimit -v) leaves too little for oneDNN.
#pragma once

#include <cstdint>

namespace generous {

/// What oneDNN's just-in-time compiler takes at a time, and more: it does not look whether it got it.
inline constexpr std::int64_t compiler_bytes = std::int64_t{32} << 20;

/// Throws Error that names the limit where it leaves less than `bytes`. Without a limit it costs nothing.
void require_address_space(std::int64_t bytes = compiler_bytes);

}  // namespace generous
