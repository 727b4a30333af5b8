#include "nn/weight_average.h"

#include "core/backend.h"

namespace generous {

WeightAverage::WeightAverage(const Module& module, double decay)
    : decay_(decay), weights_(module.state()), averages_(weights_) {
  const NoGrad no_grad;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    weights_[i].tensor = weights_[i].tensor.detach();
    averages_[i].tensor = weights_[i].tensor.clone();
  }
}

void WeightAverage::update() {
  const NoGrad no_grad;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    const Tensor& weight = weights_[i].tensor;
    Tensor& average = averages_[i].tensor;
    Backend& on = backend(weight.device());
    if (!begun_ || weight.dtype() != DType::f32) {
      on.copy(weight, average);
      continue;
    }
    on.affine(average, static_cast<float>(decay_), 0.0F, average);
    on.accumulate(static_cast<float>(1.0 - decay_) * weight, average);
  }
  begun_ = true;
}

void WeightAverage::exchange() {
  const NoGrad no_grad;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    Backend& on = backend(weights_[i].tensor.device());
    const Tensor weight = weights_[i].tensor.clone();
    on.copy(averages_[i].tensor, weights_[i].tensor);
    on.copy(weight, averages_[i].tensor);
  }
}

void WeightAverage::load_state(const NamedTensors& tensors, const std::string& source) {
  load_state_dict(averages_, tensors, source);
  begun_ = true;
}

}  // namespace generous
