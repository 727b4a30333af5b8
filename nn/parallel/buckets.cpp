#include "nn/parallel/buckets.h"

#include <algorithm>

#include "core/ops.h"

namespace generous {

namespace {

/// Elements, 8 MB: large enough for a network's full speed, small enough that most of a large model's travel
/// during the backward pass.
constexpr std::size_t full = std::size_t{2} << 20;

}  // namespace

Buckets::Buckets(const std::vector<std::int64_t>& counts, Group& group, bool in_order)
    : group_(group), in_order_(in_order), places_(counts.size()) {
  std::size_t end = 0;
  for (std::size_t i = counts.size(); i-- > 0;) {
    const auto count = static_cast<std::size_t>(counts[i]);
    const bool fits = !buckets_.empty() && end + count - buckets_.back().begin <= full;
    if (!fits) buckets_.push_back({.begin = end, .transfer = {}});
    places_[i] = {.bucket = buckets_.size() - 1, .begin = end, .count = count};
    end += count;
    buckets_.back().end = end;
    buckets_.back().missing = ++buckets_.back().gradients;
  }
  values_.resize(end);
}

void Buckets::put(std::size_t index, const Tensor& gradient) {
  const Place& place = places_.at(index);
  const auto values = std::span(values_).subspan(place.begin, place.count);
  if (gradient.defined()) {
    const NoGrad no_grad;
    std::ranges::copy(cast(gradient, DType::f32).data<float>(), values.begin());
  } else {
    std::ranges::fill(values, 0.0F);
  }
  Bucket& filled = buckets_[place.bucket];
  require(filled.missing > 0, "buckets: gradient {} is there twice", index);
  --filled.missing;
  for (; started_ < buckets_.size() && buckets_[started_].missing == 0; ++started_) {
    Bucket& bucket = buckets_[started_];
    bucket.transfer =
        group_.start_sum(std::span(values_).subspan(bucket.begin, bucket.end - bucket.begin), in_order_);
  }
  for (std::size_t i = 0; i < started_; ++i) buckets_[i].transfer->progress();
}

void Buckets::finish() {
  require(started_ == buckets_.size(), "buckets: {} of {} have all of their gradients", started_,
          buckets_.size());
  for (Bucket& bucket : buckets_) {
    bucket.transfer->wait();
    bucket.transfer.reset();
    bucket.missing = bucket.gradients;
  }
  started_ = 0;
}

std::span<const float> Buckets::sum(std::size_t index) const {
  const Place& place = places_.at(index);
  return std::span(values_).subspan(place.begin, place.count);
}

}  // namespace generous
