// The exclusive or, learned by four hidden units: tensors, a loss and its gradients, and nothing else.
//
// A linear function cannot tell the four cases apart; one hidden layer with a bend (ReLU) can. Everything
// that larger networks do is here: a forward pass of differentiable ops, a loss, `backward`, a step down the
// gradient.
#include <generous/generous.h>

#include <cstdio>
#include <vector>

using namespace generous;

/// A parameter: numbers drawn from U(-1, 1), whose gradient `backward` accumulates.
Tensor parameter(const Shape& shape, const Random& random, std::uint32_t number) {
  Tensor p = Tensor::empty(shape);
  std::uint64_t element = 0;
  for (float& value : p.data<float>()) value = 2.0F * random.uniform(0, number, element++) - 1.0F;
  return p.require_grad();
}

int main() {
  const Tensor x = Tensor::from<float>({0, 0, 0, 1, 1, 0, 1, 1}, {4, 2});  // a row for each case
  const Tensor labels = Tensor::from<std::int64_t>({0, 1, 1, 0}, {4});

  const Random random(1, "xor");  // a seed, and what the numbers are for: the same in every run
  std::vector<Tensor> parameters = {
      parameter({4, 2}, random, 0), parameter({4}, random, 1),  // hidden: weight {out, in}, bias {out}
      parameter({2, 4}, random, 2), parameter({2}, random, 3)   // one logit for "same", one for "different"
  };

  const float learning_rate = 0.5F;
  for (int step = 0; step <= 200; ++step) {
    const Tensor hidden = relu(linear(x, parameters[0], parameters[1]));  // {4, 4}
    const Tensor logits = linear(hidden, parameters[2], parameters[3]);   // {4, 2}
    const Tensor loss = cross_entropy(logits, labels);                    // {}
    if (step % 40 == 0)
      std::printf("step %3d  loss %.4f  right %.0f of 4\n", step, static_cast<double>(loss.item()),
                  static_cast<double>(count_top_k(logits, labels, 1).item()));

    backward(loss);  // d loss / d p, for every parameter p that the loss depends on
    for (Tensor& p : parameters) {
      const std::span<const float> gradient = p.grad().data<float>();
      const std::span<float> values = p.data<float>();
      for (std::size_t i = 0; i < values.size(); ++i) values[i] -= learning_rate * gradient[i];
      p.clear_grad();  // gradients add up until they are forgotten
    }
  }
}
