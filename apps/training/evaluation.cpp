#include "apps/training/evaluation.h"

#include <algorithm>

namespace generous {

std::optional<Evaluation> evaluate(Module& model, Loader& loader, DType dtype,
                                   const std::function<bool(std::int64_t images)>& go_on) {
  const NoGrad no_grad;
  model.eval();
  Evaluation result;
  loader.start_epoch(0);
  while (const auto batch = loader.next()) {
    const Tensor logits = model(cast(batch->images, dtype));
    const std::int64_t count = batch->labels.numel();
    result.loss +=
        static_cast<double>(cross_entropy(logits, batch->labels).item()) * static_cast<double>(count);
    result.correct += static_cast<std::int64_t>(count_top_k(logits, batch->labels, 1).item());
    result.correct5 += static_cast<std::int64_t>(
        count_top_k(logits, batch->labels, std::min<std::int64_t>(5, logits.size(1))).item());
    result.images += count;
    if (!go_on(result.images)) return std::nullopt;
  }
  result.loss /= static_cast<double>(result.images);
  return result;
}

}  // namespace generous
