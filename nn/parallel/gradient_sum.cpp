#include "nn/parallel/gradient_sum.h"

#include <utility>

namespace generous {

GradientSum::GradientSum(std::vector<StateEntry> parameters, std::size_t losses)
    : parameters_(std::move(parameters)), sums_(losses, std::vector<Tensor>(parameters_.size())) {}

void GradientSum::take(std::size_t loss) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Tensor& parameter = parameters_[i].tensor;
    Tensor gradient = parameter.grad_as_kept();
    parameter.clear_grad();
    if (gradient.defined()) add_gradient(sums_[loss][i], std::move(gradient));
  }
}

void GradientSum::give(std::size_t loss) {
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    parameters_[i].tensor.set_grad(std::exchange(sums_[loss][i], Tensor()));
}

}  // namespace generous
