// Samples of other classes, drawn without replacement: one row of draw_negatives.
#pragma once

#include "core/permutation.h"

namespace generous {

/// The draw for one image of a batch among `images` images sorted by class, of which [begin, end) have its
/// own class. Of the M others each is drawn count / M times, and count % M of them, at random, once more.
struct NegativeRow {
  std::int64_t begin, end;
  std::int64_t whole;  ///< how often all of them
  std::int64_t rest;   ///< how many once more
  Permutation order;   ///< of the others

  GENEROUS_HOST_DEVICE NegativeRow(std::int64_t images, std::int64_t first, std::int64_t last,
                                   std::int64_t count, const PhiloxBlock& keys)
      : begin(first),
        end(last),
        whole(images > last - first ? count / (images - (last - first)) : 0),
        rest(images > last - first ? count % (images - (last - first)) : 0),
        order(images - (last - first), keys) {}
  /// How often the image of this rank among the sorted ones is drawn, but for those of `once_more`.
  GENEROUS_HOST_DEVICE float always(std::int64_t rank) const {
    return rank >= begin && rank < end ? 0.0F : static_cast<float>(whole);
  }
  /// The rank of the image number i < rest of those that are drawn once more.
  GENEROUS_HOST_DEVICE std::int64_t once_more(std::int64_t i) const {
    const std::int64_t other = order(i);
    return other < begin ? other : other + (end - begin);
  }
};

/// The round keys of row `row` in this step.
GENEROUS_HOST_DEVICE inline PhiloxBlock negative_keys(std::uint64_t key, std::int64_t step,
                                                      std::int64_t row) {
  return philox(key, {static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(row >> 32),
                      static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(step >> 32)});
}

}  // namespace generous
