#include "nn/parallel/group_sum.h"

namespace generous {

namespace {

Tensor summed(Group& group, const Tensor& x) {
  Tensor y = x.clone();
  group.start_sum({y}, true)->wait();
  return y;
}

}  // namespace

Tensor group_sum(Group& group, const Tensor& x) {
  return record("group_sum", summed(group, x), {x},
                [&group](const Tensor& dy) -> Gradients { return {summed(group, dy)}; });
}

GroupBatchNorm group_batch_norm(Group& group, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                                float epsilon) {
  const std::int64_t channels = x.size(-1);
  const Tensor rows = reshape(cast(x, DType::f32), {x.numel() / channels, channels});
  // Every process has at least one.
  require(rows.size(0) > 1 || group.size() > 1,
          "batch_norm: training needs more than one value per channel, not shape {}", x.shape().str());
  // The number of rows goes with their sums.
  const Tensor count = Tensor::full({1, 1}, static_cast<float>(rows.size(0)), x.device());
  const Tensor sums = group_sum(group, concat({sum_to(rows, {1, channels}), count}));  // {1, C + 1}
  const Tensor n = slice_channels(sums, channels, 1).detach();                         // {1, 1}
  const Tensor mean = slice_channels(sums, 0, channels) / n;
  const Tensor centred = rows - mean;
  const Tensor variance = group_sum(group, sum_to(square(centred), {1, channels})) / n;
  const Tensor y = gamma * (centred / sqrt(variance + epsilon)) + beta;
  return {.y = cast(reshape(y, x.shape()), x.dtype()),
          .mean = mean.detach().view({channels}),
          .variance = (variance.detach() * (n / (n - 1.0F))).view({channels})};
}

}  // namespace generous
