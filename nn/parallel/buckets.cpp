#include "nn/parallel/buckets.h"

#include <utility>

#include "core/ops.h"

namespace generous {

namespace {

/// Elements, 8 MB: large enough for a network's full speed, small enough that most of a large model's travel
/// during the backward pass.
constexpr std::int64_t full = std::int64_t{2} << 20;

/// In f32, in memory that nobody else sees.
Tensor own(Tensor gradient) {
  if (gradient.dtype() == DType::f32) return gradient.unique() ? std::move(gradient) : gradient.clone();
  const NoGrad no_grad;
  return cast(gradient, DType::f32);
}

}  // namespace

Buckets::Buckets(const std::vector<Tensor>& parameters, Group& group, bool in_order)
    : group_(group), in_order_(in_order) {
  for (const Tensor& parameter : parameters)
    gradients_.push_back({.shape = parameter.shape(), .device = parameter.device(), .bucket = 0, .sum = {}});
  for (std::size_t i = gradients_.size(); i-- > 0;) {
    const std::int64_t count = gradients_[i].shape.numel();
    if (buckets_.empty() || buckets_.back().elements + count > full) buckets_.emplace_back();
    gradients_[i].bucket = buckets_.size() - 1;
    buckets_.back().gradients.push_back(i);
    buckets_.back().elements += count;
    ++buckets_.back().missing;
  }
}

void Buckets::put(std::size_t index, Tensor gradient) {
  Gradient& place = gradients_.at(index);
  Bucket& filled = buckets_[place.bucket];
  require(filled.missing > 0 && !place.sum.defined(), "buckets: gradient {} is there twice", index);
  place.undefined = !gradient.defined();
  place.sum =
      place.undefined ? Tensor::zeros(place.shape, DType::f32, place.device) : own(std::move(gradient));
  --filled.missing;
  for (; started_ < buckets_.size() && buckets_[started_].missing == 0; ++started_) {
    Bucket& bucket = buckets_[started_];
    std::vector<Tensor> values;
    for (const std::size_t i : bucket.gradients) values.push_back(gradients_[i].sum);
    bucket.transfer = group_.start_sum(std::move(values), in_order_);
  }
  for (std::size_t i = 0; i < started_; ++i) buckets_[i].transfer->progress();
}

void Buckets::finish() {
  require(started_ == buckets_.size(), "buckets: {} of {} have all of their gradients", started_,
          buckets_.size());
  for (Bucket& bucket : buckets_) {
    bucket.transfer->wait();
    bucket.transfer.reset();
    bucket.missing = bucket.gradients.size();
  }
  started_ = 0;
}

Tensor Buckets::take_sum(std::size_t index) {
  Gradient& place = gradients_.at(index);
  Tensor sum = std::exchange(place.sum, Tensor());
  return place.undefined ? Tensor() : sum;
}

}  // namespace generous
