// Samples of other classes for contrastive methods.

#include "core/ops.h"
#include "core/ops/check.h"

namespace generous {

Tensor draw_negatives(const Tensor& labels, const NegativeDraws& draws) {
  check_device("draw_negatives", {&labels, &draws.sorted, &draws.begin});
  const bool whole =
      labels.dtype() == DType::i64 && draws.sorted.dtype() == DType::i64 && draws.begin.dtype() == DType::i64;
  if (!whole || labels.shape().rank() != 1 || draws.sorted.shape().rank() != 1 ||
      draws.begin.shape().rank() != 1)
    fail("draw_negatives: needs labels {{B}}, images {{N}} and classes {{C + 1}} of i64, not {}, {} and {}",
         labels.shape().str(), draws.sorted.shape().str(), draws.begin.shape().str());
  require(draws.count >= 0, "draw_negatives: {} to draw", draws.count);
  Tensor y = Tensor::empty({labels.size(0), draws.sorted.size(0)}, DType::f32, labels.device());
  backend_of(labels).draw_negatives(labels, draws, y);
  return y;
}

}  // namespace generous
