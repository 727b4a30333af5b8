// Where the ops on channels put each of them, their errors, and the gradients of ops with several outputs.

#include "tests/core/op_cases.h"

namespace generous {
namespace {

/// {1, 2, channels}: element c of row r is 100 r + c.
Tensor numbered(std::int64_t channels, float first = 0.0F) {
  Tensor x = Tensor::empty({1, 2, channels});
  for (std::int64_t i = 0; i < x.numel(); ++i)
    x.data<float>()[static_cast<std::size_t>(i)] =
        first + static_cast<float>(100 * (i / channels) + i % channels);
  return x;
}

std::vector<float> values(const Tensor& x) { return {x.data<float>().begin(), x.data<float>().end()}; }
using Values = std::vector<float>;

TEST_CASE("channels end up where they should") {
  on_every_cpu_implementation([] {
    CHECK(values(concat({numbered(2), numbered(1, 7.0F)})) == Values{0, 1, 7, 100, 101, 107});
    CHECK(values(slice_channels(numbered(5), 1, 3)) == Values{1, 2, 3, 101, 102, 103});
    CHECK(values(channel_shuffle(numbered(6), 2)) == Values{0, 3, 1, 4, 2, 5, 100, 103, 101, 104, 102, 105});
    CHECK(values(channel_shuffle(numbered(6), 3)) == Values{0, 2, 4, 1, 3, 5, 100, 102, 104, 101, 103, 105});
    const std::vector<Tensor> parts = split_channels(numbered(4), {1, 3});
    CHECK(values(parts[0]) == Values{0, 100});
    CHECK(values(parts[1]) == Values{1, 2, 3, 101, 102, 103});
    const Tensor a = testing::random_tensor({3, 10}, "a");
    const Tensor b = testing::random_tensor({3, 10}, "b");
    const Tensor whole = channel_shuffle(concat({a, b}), 2);
    const auto [first, second] = shuffled_halves(a, b);
    CHECK(values(first) == values(slice_channels(whole, 0, 10)));
    CHECK(values(second) == values(slice_channels(whole, 10, 10)));
  });
}

TEST_CASE("an output that nothing depends on adds nothing to the gradient") {
  Tensor x = numbered(4);
  x.require_grad();
  const std::vector<Tensor> parts = split_channels(x, {1, 3});
  backward(sum(parts[0] * 5.0F));
  CHECK(values(x.grad()) == Values{5, 0, 0, 0, 5, 0, 0, 0});
  CHECK_THROWS_WITH_AS(backward(sum(parts[1])), doctest::Contains("already freed"), Error);
}

TEST_CASE("outputs of one op that are used more than once add up") {
  Tensor x = numbered(3);
  x.require_grad();
  const std::vector<Tensor> parts = split_channels(x, {2, 1});
  backward(sum(parts[0] * 2.0F) + sum(parts[0] * 3.0F) + sum(parts[1] * 7.0F) + sum(x));
  CHECK(values(x.grad()) == Values{6, 6, 8, 6, 6, 8});
}

TEST_CASE("what does not fit is said with the op's name and the shapes") {
  const auto says = [](const char* text) { return doctest::Contains(text); };
  CHECK_THROWS_WITH_AS(concat({}), "concat: no parts", Error);
  CHECK_THROWS_WITH_AS(concat({numbered(2), Tensor::zeros({2, 1, 2})}),
                       says("concat: parts {1, 2, 2} and {2, 1, 2} differ"), Error);
  CHECK_THROWS_WITH_AS(concat({numbered(2), Tensor::zeros({1, 2, 2}, DType::bf16)}),
                       says("concat: an argument is bf16"), Error);
  CHECK_THROWS_WITH_AS(slice_channels(numbered(5), 3, 3), says("x {1, 2, 5} has no 3 channels from 3 on"),
                       Error);
  CHECK_THROWS_WITH_AS(split_channels(numbered(5), {2, 2}),
                       says("counts {2, 2} have to be positive and to sum"), Error);
  CHECK_THROWS_WITH_AS(channel_shuffle(numbered(5), 2),
                       says("2 groups do not divide the channels of x {1, 2, 5}"), Error);
  CHECK_THROWS_WITH_AS(shuffled_halves(numbered(3), numbered(3)), says("shuffled_halves: a {1, 2, 3} and b"),
                       Error);
}

}  // namespace
}  // namespace generous
