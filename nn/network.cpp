#include "nn/network.h"

namespace generous {

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
