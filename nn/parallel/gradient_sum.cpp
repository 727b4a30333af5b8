#include "nn/parallel/gradient_sum.h"

#include <algorithm>
#include <utility>

namespace generous {

GradientSum::GradientSum(std::vector<StateEntry> parameters, std::size_t losses, Group& group, bool in_order)
    : parameters_(std::move(parameters)), sums_(losses, std::vector<Tensor>(parameters_.size())) {
  if (group.size() == 1) return;
  std::vector<Tensor> tensors;
  for (const StateEntry& entry : parameters_) {
    numbers_.emplace(entry.tensor.node().get(), tensors.size());
    tensors.push_back(entry.tensor);
  }
  for (std::size_t loss = 0; loss < losses; ++loss) buckets_.emplace_back(tensors, group, in_order);
  sent_.assign(losses, std::vector<bool>(parameters_.size(), false));
}

LeafDone GradientSum::sender(std::size_t loss, bool last) {
  if (!last || buckets_.empty()) return {};
  return [this, loss](const Node& leaf) {
    if (const auto found = numbers_.find(&leaf); found != numbers_.end()) send(loss, found->second);
  };
}

void GradientSum::take(std::size_t loss, bool last) {
  const bool sends = last && !buckets_.empty();
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!sends)
      add(loss, i);
    else if (!sent_[loss][i])
      send(loss, i);
  }
}

void GradientSum::add(std::size_t loss, std::size_t parameter) {
  Tensor& leaf = parameters_[parameter].tensor;
  Tensor gradient = leaf.grad_as_kept();
  leaf.clear_grad();
  if (gradient.defined()) add_gradient(sums_[loss][parameter], std::move(gradient));
}

void GradientSum::send(std::size_t loss, std::size_t parameter) {
  add(loss, parameter);
  buckets_[loss].put(parameter, std::exchange(sums_[loss][parameter], Tensor()));
  sent_[loss][parameter] = true;
}

void GradientSum::give(std::size_t loss) {
  if (!buckets_.empty()) buckets_[loss].finish();
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Tensor sum = buckets_.empty() ? std::exchange(sums_[loss][i], Tensor()) : buckets_[loss].take_sum(i);
    parameters_[i].tensor.set_grad(std::move(sum));
  }
  if (!sent_.empty()) std::fill(sent_[loss].begin(), sent_[loss].end(), false);
}

}  // namespace generous
