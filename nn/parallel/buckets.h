// Gradients on their way through a group: side by side in buckets, each of which is summed over all processes
// as soon as the last gradient in it is there, while the backward pass goes on.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/tensor.h"
#include "nn/parallel/group.h"

namespace generous {

class Buckets {
 public:
  /// For gradients of these parameters: they come about in the reverse order, in which buckets are filled.
  /// `in_order`: Group::start_sum. The group must outlive it.
  Buckets(const std::vector<Tensor>& parameters, Group& group, bool in_order);

  /// Gradient `index`, once for each `finish`; an undefined one counts as zeros.
  void put(std::size_t index, Tensor gradient);
  /// Waits for all sums. Every gradient must have been put.
  void finish();
  /// Of gradient `index`, behind `finish`, in f32; undefined if this process has put it so. To be called
  /// once.
  Tensor take_sum(std::size_t index);

  std::size_t buckets() const { return buckets_.size(); }

 private:
  struct Bucket {
    std::vector<std::size_t> gradients;  ///< their indices
    std::int64_t elements = 0;
    std::size_t missing = 0;
    std::unique_ptr<Transfer> transfer;
  };
  struct Gradient {
    Shape shape;
    Device device{};
    std::size_t bucket = 0;
    Tensor sum;
    bool undefined = false;
  };

  Group& group_;
  bool in_order_;
  std::vector<Bucket> buckets_;
  std::vector<Gradient> gradients_;
  std::size_t started_ = 0;  ///< buckets: in their order, the same in every process
};

}  // namespace generous
