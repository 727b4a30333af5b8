// Gradients on their way through a group: side by side in buckets, each of which is summed over all processes
// as soon as the last gradient in it is there, while the backward pass goes on.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/tensor.h"
#include "nn/parallel/group.h"

namespace generous {

class Buckets {
 public:
  /// For gradients of so many elements, in the order of the parameters: they come about in the reverse order,
  /// in which buckets are filled. `in_order`: Group::start_sum. The group must outlive it.
  Buckets(const std::vector<std::int64_t>& counts, Group& group, bool in_order);

  /// Gradient `index`, once for each `finish`, on the host; an undefined one counts as zeros.
  void put(std::size_t index, const Tensor& gradient);
  /// Waits for all sums. Every gradient must have been put.
  void finish();
  /// Of gradient `index`, behind `finish`.
  std::span<const float> sum(std::size_t index) const;

  std::size_t buckets() const { return buckets_.size(); }

 private:
  struct Bucket {
    std::size_t begin = 0;  ///< of its values
    std::size_t end = 0;
    std::size_t gradients = 0;
    std::size_t missing = 0;
    std::unique_ptr<Transfer> transfer;
  };
  struct Place {
    std::size_t bucket = 0;
    std::size_t begin = 0;  ///< of its values
    std::size_t count = 0;
  };

  Group& group_;
  bool in_order_;
  std::vector<float> values_;
  std::vector<Bucket> buckets_;
  std::vector<Place> places_;  ///< of each gradient
  std::size_t started_ = 0;    ///< buckets: in their order, the same in every process
};

}  // namespace generous
