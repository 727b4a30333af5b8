// Broadcasting between two shapes as a short list of axes: neighbouring axes that behave alike are folded
// into one, so that "shared" and "stretched" extents alternate.
#pragma once

#include <array>

#include "core/shape.h"

namespace generous {

struct Fold {
  struct Axis {
    std::int64_t extent;
    bool stretched;  ///< the smaller shape has extent 1 here
  };
  std::array<Axis, Shape::max_rank> axes{};  ///< from the outermost
  int rank = 0;
};

/// `smaller`, right-aligned, has extent 1 (or no axis) where `larger` varies. Axes of extent 1 are left out.
inline Fold fold(const Shape& smaller, const Shape& larger) {
  Fold result;
  for (int axis = 0; axis < larger.rank(); ++axis) {
    const std::int64_t extent = larger[axis];
    if (extent == 1) continue;
    const int own = axis - (larger.rank() - smaller.rank());
    const bool stretched = own < 0 || smaller[own] == 1;
    if (result.rank > 0 && result.axes[static_cast<std::size_t>(result.rank - 1)].stretched == stretched)
      result.axes[static_cast<std::size_t>(result.rank - 1)].extent *= extent;
    else
      result.axes[static_cast<std::size_t>(result.rank++)] = {extent, stretched};
  }
  return result;
}

}  // namespace generous
