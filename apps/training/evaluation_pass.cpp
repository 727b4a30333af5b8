#include "apps/training/evaluation_pass.h"

#include <algorithm>
#include <array>

#include "core/ops.h"

namespace generous {
namespace {

constexpr int warm_up_batches = 2;

}  // namespace

EvaluationPass::EvaluationPass(Module& model, DType dtype, std::int64_t batch_size, bool record)
    : model_(model), dtype_(dtype), batch_size_(batch_size), record_(record) {}

EvaluationPass::Answer EvaluationPass::run(const Batch& batch) {
  const NoGrad no_grad;
  const Device device = batch.images.device();
  if (!count_.defined()) {
    count_ = Tensor::zeros({}, DType::i64, device);
    measured_ = Tensor::zeros({1, 3}, DType::f32, device);
  }
  const bool whole = batch.labels.size(0) == batch_size_;
  if (!record_ || device == Device::cpu || !whole || whole_batches_ < warm_up_batches) {
    if (whole) ++whole_batches_;
    return read(compute(cast(batch.images, dtype_), batch.labels));
  }
  keep(batch);
  if (recorded_ == nullptr)
    recorded_ = backend(device).record([this] { logits_ = compute(images_, labels_); });
  else
    recorded_->replay();
  return read(logits_);
}

void EvaluationPass::keep(const Batch& batch) {
  if (!images_.defined()) {
    images_ = Tensor::empty(batch.images.shape(), dtype_, batch.images.device());
    labels_ = batch.labels.clone();
  }
  Backend& device = backend(images_.device());
  device.copy(batch.labels, labels_);
  batch.images.dtype() == dtype_ ? device.copy(batch.images, images_) : device.cast(batch.images, images_);
}

/// The logits; what is measured of them is stored.
Tensor EvaluationPass::compute(const Tensor& images, const Tensor& labels) {
  Tensor logits = model_(images);
  const std::array scalars{cross_entropy(logits, labels), count_top_k(logits, labels, 1),
                           count_top_k(logits, labels, std::min<std::int64_t>(5, logits.size(1)))};
  backend(logits.device()).store_scalars(scalars, count_, measured_);
  return logits;
}

EvaluationPass::Answer EvaluationPass::read(const Tensor& logits) const {
  const Tensor measured = measured_.to(Device::cpu);
  const std::span<const float> values = measured.data<float>();
  return {.logits = logits.to(Device::cpu), .loss = values[0], .correct = values[1], .correct5 = values[2]};
}

}  // namespace generous
