#include "nn/network.h"

namespace generous {

Classifier Network::classifier() const {
  const std::vector<StateEntry> all = state();
  const Tensor& weight = all.at(all.size() - 2).tensor;  // {classes, C}, or of a 1x1 convolution
  return {.weight = reshape(weight, {weight.size(0), weight.size(-1)}), .bias = all.back().tensor};
}

void StageTap::add(const Tensor& output, const BatchNorm* norm) {
  if (features_ == nullptr) return;
  features_->stages.push_back(output);
  features_->norms.push_back(norm);
  if (before_relu_.defined()) features_->before_relu.push_back(before_relu_);
}

void StageTap::add_stem(const Tensor& output) {
  if (before_relu() != nullptr) before_relu_ = output;
  add(output, nullptr);
}

}  // namespace generous
