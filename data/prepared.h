// What a loader's background threads prepare of a batch: on the CPU all of it.
#pragma once

#include "core/tensor.h"

namespace generous {

/// One view of a batch's images.
struct PreparedView {
  /// f32 {B, H, W, C}, finished; for a GPU u8 {B, H, W, C}, to be placed and normalised there, or undefined:
  /// the dataset's images are.
  Tensor images;
  Tensor placements;  ///< i64 {B, placement_size} into these; only for a GPU
};

struct Prepared {
  PreparedView view;
  PreparedView second_view;
  Tensor labels;               ///< i64 {B}
  Tensor indices;              ///< i64 {B}
  std::int64_t first_row = 0;  ///< Batch::first_row
  std::int64_t whole = 0;      ///< Batch::whole
};

}  // namespace generous
