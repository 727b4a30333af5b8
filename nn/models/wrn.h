// Wide residual networks (Zagoruyko & Komodakis 2016).
#pragma once

#include "nn/models/registry.h"

namespace generous {

struct WrnShape {
  std::int64_t depth = 0;         ///< 6n + 4
  std::int64_t widen_factor = 0;  ///< K
};

/// Reads "wrn_D_K", such as "wrn_40_2". Throws Error unless D is 6n + 4 in 10..1000 and K in 1..100, in plain
/// digits.
WrnShape parse_wrn(const std::string& name);

/// Stem 16, three stages 16K/32K/64K of (depth - 4) / 6 pre-activation blocks; final batch norm + ReLU.
std::unique_ptr<Network> make_wrn(const WrnShape& shape, const ModelOptions& options);

}  // namespace generous
