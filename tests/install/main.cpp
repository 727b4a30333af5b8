#include <generous/generous.h>

#include <cstdio>

#include "core/tensor.h"

int main() {
  using namespace generous;
  const auto network = make_model("resnet8", {.classes = users_own});
  const Tensor images = Tensor::full({2, 32, 32, 3}, 0.5F);
  const Tensor loss = cross_entropy((*network)(images), Tensor::from<std::int64_t>({0, 2}, {2}));
  backward(loss);
  const bool learns =
      make_sgd(*network, {}) != nullptr && network->parameters().front().tensor.grad().defined();
  std::printf("generous %s, %s, %s\n", std::string(version()).c_str(), learns ? "learns" : "does not learn",
              dataset_info("cifar10").name.c_str());
}
