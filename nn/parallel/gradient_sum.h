// Gradients of a batch that passes in slices, through one process or several: those of all slices, added up.
#pragma once

#include <unordered_map>
#include <vector>

#include "core/autograd.h"
#include "nn/module.h"
#include "nn/parallel/buckets.h"

namespace generous {

class GradientSum {
 public:
  /// Of these parameters, for each of so many losses whose gradients are kept apart, over the slices of all
  /// processes of the group, which must outlive it. `in_order`: Group::start_sum.
  GradientSum(std::vector<StateEntry> parameters, std::size_t losses, Group& group, bool in_order);

  /// For the backward pass behind which `take` is called: sends on what it is done with, if the slice is the
  /// last one of this process.
  LeafDone sender(std::size_t loss, bool last);
  /// Takes what the parameters have accumulated as the gradients of a slice, and adds them to those of loss
  /// `loss`. A single slice's stay as they are: in bf16, if the backend left them so; sums are f32.
  void take(std::size_t loss, bool last);
  /// Gives the sums of loss `loss` back to the parameters; those that no slice had a gradient of have none.
  /// Waits for the other processes.
  void give(std::size_t loss);

 private:
  void add(std::size_t loss, std::size_t parameter);
  void send(std::size_t loss, std::size_t parameter);

  std::vector<StateEntry> parameters_;
  std::vector<std::vector<Tensor>> sums_;  ///< of each loss, for each parameter: of this process's slices
  std::unordered_map<const Node*, std::size_t> numbers_;  ///< of the parameters
  std::vector<Buckets> buckets_;                          ///< of each loss; none in a group of one
  std::vector<std::vector<bool>> sent_;                   ///< likewise, for each parameter
};

}  // namespace generous
