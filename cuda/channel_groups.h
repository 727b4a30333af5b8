// How many neighbouring channels of {..., C} a thread takes at once: as many as are 16 bytes where C is a
// multiple of that, or one.
#pragma once

#include "cuda/vector_access.h"

namespace generous::cuda {

/// Calls f(T{}, Width<w>{}) for tensors of the floating `dtype`, whose element type is T, and C channels.
template <class F>
void visit_groups(DType dtype, std::int64_t channels, F&& f) {
  visit_floating(dtype, [&]<class T>(T type) {
    if (channels % vector_width<T> == 0)
      f(type, Width<vector_width<T>>{});
    else
      f(type, Width<1>{});
  });
}

}  // namespace generous::cuda
