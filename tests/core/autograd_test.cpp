// The engine: accumulation, order, freeing, deep graphs, NoGrad, and memory that does not grow.

#include "tests/core/gradcheck.h"

namespace generous {
namespace {

using testing::random_tensor;

TEST_CASE("a leaf accumulates over several backward passes until it is cleared") {
  Tensor x = Tensor::full({2}, 3.0F).require_grad();
  backward(sum(square(x)));
  CHECK(x.grad().data<float>()[0] == 6.0F);
  backward(sum(square(x)));
  CHECK(x.grad().data<float>()[0] == 12.0F);
  x.clear_grad();
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("a diamond adds the gradients of both paths") {
  Tensor x = Tensor::full({2}, 2.0F).require_grad();
  const Tensor a = square(x);  // 4, derivative 4
  const Tensor y = a * 3.0F + exp(a * 0.0F) + a * a;
  backward(sum(y));
  CHECK(x.grad().data<float>()[1] == doctest::Approx(4.0 * (3.0 + 2.0 * 4.0)));
}

TEST_CASE("gradients that share storage are not written through") {
  // The residual's gradient of a batch norm without ReLU is dy itself, which another path accumulates into.
  Tensor x = random_tensor({3, 4}, "x").require_grad();
  Tensor z = random_tensor({3, 4}, "z").require_grad();
  const Tensor sum_of_both = x + z;
  const Tensor y = reshape(sum_of_both, {12}) * 1.0F;
  backward(sum(y) + sum(x * 2.0F));
  CHECK(x.grad().data<float>()[5] == 3.0F);
  CHECK(z.grad().data<float>()[5] == 1.0F);
}

TEST_CASE("gradients that somebody holds stay as they were") {
  Tensor x = Tensor::full({2}, 1.0F).require_grad();
  backward(sum(x * 2.0F));
  const Tensor first = x.grad();
  backward(sum(x * 3.0F));  // the leaf's gradient is shared, the new one is not
  const Tensor second = x.grad();
  const Tensor dy = Tensor::full({2}, 7.0F);
  backward(x + x, dy);  // both are
  CHECK(first.data<float>()[1] == 2.0F);
  CHECK(second.data<float>()[1] == 5.0F);
  CHECK(dy.data<float>()[1] == 7.0F);
  CHECK(x.grad().data<float>()[1] == 19.0F);
}

TEST_CASE("a second backward over a freed graph is an error that says so") {
  Tensor x = Tensor::full({2}, 3.0F).require_grad();
  const Tensor a = square(x);
  const Tensor loss = sum(a);
  backward(loss);
  CHECK_THROWS_WITH_AS(backward(loss), doctest::Contains("already freed"), Error);
  CHECK_THROWS_WITH_AS(backward(sum(a)), doctest::Contains("already freed"), Error);
}

TEST_CASE("a kept graph takes another loss's pass through it") {
  Tensor x = Tensor::from(std::vector<float>{1.0F, -2.0F, 3.0F, 0.5F}, {2, 2}).require_grad();
  const std::vector<Tensor> halves = split_channels(square(x), {1, 1});  // an op with two outputs
  const Tensor both = sum(halves[0]) + 3.0F * sum(halves[1]);
  backward(both, Graph::kept);
  const std::vector<float> once(x.grad().data<float>().begin(), x.grad().data<float>().end());
  CHECK(once == std::vector<float>{2.0F, -12.0F, 6.0F, 3.0F});
  x.clear_grad();
  backward(sum(halves[1]), Graph::kept);
  CHECK(std::ranges::equal(x.grad().data<float>(), std::vector<float>{0.0F, -4.0F, 0.0F, 1.0F}));
  x.clear_grad();
  backward(both);
  CHECK(std::ranges::equal(x.grad().data<float>(), once));
  CHECK_THROWS_WITH_AS(backward(both), doctest::Contains("already freed"), Error);
}

TEST_CASE("backward refuses what has no gradient") {
  CHECK_THROWS_AS(backward(Tensor::full({}, 1.0F)), Error);
  Tensor x = Tensor::full({2}, 3.0F).require_grad();
  CHECK_THROWS_WITH_AS(backward(square(x)), doctest::Contains("{2}"), Error);
  CHECK_THROWS_AS(backward(square(x), Tensor::full({3}, 1.0F)), Error);
  CHECK_THROWS_AS(Tensor::zeros({2}, DType::i64).require_grad(), Error);
}

TEST_CASE("NoGrad records nothing, and nests") {
  Tensor x = Tensor::full({2}, 3.0F).require_grad();
  {
    const NoGrad outer;
    {
      const NoGrad inner;
      CHECK_FALSE(square(x).requires_grad());
    }
    CHECK_FALSE(square(x).requires_grad());
  }
  CHECK(square(x).requires_grad());
}

TEST_CASE("a graph of 200,000 nodes neither runs nor dies recursively") {
  Tensor x = Tensor::full({1}, 1.0F).require_grad();
  Tensor y = x;
  for (int i = 0; i < 200'000; ++i) y = y + 1.0F;
  backward(y);
  CHECK(x.grad().item() == 1.0F);
  y = x;
  for (int i = 0; i < 200'000; ++i) y = y + 1.0F;
  y = Tensor();  // freed without a backward pass
}

TEST_CASE("after the first step nothing comes from the system, and nothing leaks") {
  const auto statistics = [] { return host_allocator()->statistics(); };
  Tensor weight = random_tensor({8, 3, 3, 3}, "w").require_grad();
  const Tensor x = random_tensor({4, 9, 9, 3}, "x");
  const auto step = [&] {
    weight.clear_grad();
    backward(mean(square(relu(conv2d(x, weight, {}, {.stride = 1, .padding = 1})))));
  };
  step();
  step();
  const auto before = statistics();
  for (int i = 0; i < 20; ++i) step();
  CHECK(statistics().system_allocations == before.system_allocations);
  CHECK(statistics().in_use_bytes == before.in_use_bytes);
}

}  // namespace
}  // namespace generous
