#include "cuda/shadows.h"

#include <algorithm>
#include <utility>

#include "cuda/padding.h"

namespace generous::cuda {

Tensor Shadows::of(const Tensor& weight, std::int64_t channels) {
  std::shared_ptr<Companion>& companion = weight.companion();
  if (companion == nullptr || find(weight)->rounded.size(-1) != channels) {
    const auto fresh = std::make_shared<Shadow>();
    const Shape shape = channels == weight.size(-1) ? weight.shape() : with_padding(weight.shape());
    fresh->rounded = Tensor::empty(shape, DType::bf16, Device::cuda);
    companion = fresh;
    std::erase_if(all_, [](const std::weak_ptr<Shadow>& shadow) { return shadow.expired(); });
    all_.push_back(fresh);
  }
  const auto shadow = std::static_pointer_cast<Shadow>(companion);
  note(weight, shadow);
  if (!shadow->fresh) round_(weight, shadow->rounded);
  shadow->fresh = true;
  return shadow->rounded;
}

Tensor Shadows::to_write_with(const Tensor& weight) {
  const auto shadow = std::static_pointer_cast<Shadow>(weight.companion());
  if (shadow == nullptr) return {};
  note(weight, shadow);
  shadow->fresh = true;
  return shadow->rounded;
}

void Shadows::note(const Tensor& weight, const std::shared_ptr<Shadow>& shadow) {
  if (recording_ == nullptr) return;
  auto& [weights, shadows, fresh] = *recording_;
  if (std::find(shadows.begin(), shadows.end(), shadow) != shadows.end()) return;
  weights.push_back(weight.detach());
  shadows.push_back(shadow);
}

RecordedShadows Shadows::take_recording() {
  RecordedShadows recorded = std::exchange(*recording_, RecordedShadows());
  for (const auto& shadow : recorded.shadows) recorded.fresh.push_back(shadow->fresh);
  return recorded;
}

void Shadows::end_recording() {
  for (const auto& shadow : recording_->shadows) shadow->fresh = false;
  recording_ = nullptr;
}

void Shadows::before_replay(const RecordedShadows& recorded) {
  for (std::size_t i = 0; i < recorded.weights.size(); ++i)
    of(recorded.weights[i], recorded.shadows[i]->rounded.size(-1));
}

void Shadows::after_replay(const RecordedShadows& recorded) {
  for (const std::weak_ptr<Shadow>& any : all_)
    if (const auto shadow = any.lock()) shadow->fresh = false;
  for (std::size_t i = 0; i < recorded.shadows.size(); ++i) recorded.shadows[i]->fresh = recorded.fresh[i];
}

}  // namespace generous::cuda
