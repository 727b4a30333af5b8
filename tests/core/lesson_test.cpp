// The lesson of core/README.md: its examples, and the answers to its exercises, under the same numbers.

#include "tests/core/gradcheck.h"

namespace generous {
namespace {

using testing::check_gradients;
using testing::random_tensor;
using testing::relative_difference;

using Values = std::vector<float>;

Values values_of(const Tensor& tensor) {
  const auto data = tensor.data<float>();
  return {data.begin(), data.end()};
}

std::vector<double> doubles_of(const Tensor& tensor) {
  const auto data = tensor.data<float>();
  return {data.begin(), data.end()};
}

Tensor scalar(float value) { return Tensor::full({}, value); }

TEST_CASE("1. one multiplication") {
  Tensor w = scalar(2.0F).require_grad();
  Tensor x = scalar(3.0F).require_grad();
  const Tensor y = w * x;
  backward(y);
  CHECK(y.item() == 6.0F);
  CHECK(w.grad().item() == 3.0F);
  CHECK(x.grad().item() == 2.0F);
}

TEST_CASE("exercise 1: the gradient of (w x - t)^2 is 2 (w x - t) x") {
  Tensor w = scalar(2.0F).require_grad();
  const Tensor x = scalar(3.0F);
  const Tensor t = scalar(5.0F);
  backward(square(w * x - t));
  CHECK(w.grad().item() == 2.0F * (2.0F * 3.0F - 5.0F) * 3.0F);
  CHECK_FALSE(x.requires_grad());  // not asked for
}

TEST_CASE("2. the graph: three nodes, the newest is visited first") {
  Tensor a = scalar(2.0F).require_grad();
  const Tensor b = a * a;
  const Tensor c = b + a;
  CHECK(a.node()->backward == nullptr);  // a leaf
  CHECK(b.node()->op == "multiply");
  CHECK(c.node()->inputs == std::vector{b.node(), a.node()});
  CHECK(a.node()->order < b.node()->order);
  CHECK(b.node()->order < c.node()->order);
  backward(c);
  CHECK(a.grad().item() == 2.0F * 2.0F + 1.0F);
  CHECK(c.node()->consumed);
}

TEST_CASE("exercise 2: a a a has the gradient 3 a^2, the sum of three paths") {
  Tensor a = scalar(2.0F).require_grad();
  const Tensor cube = a * a * a;
  // (a a) a: the outer product adds a a to a's gradient and hands 2 to the inner one, which adds 2 a twice.
  CHECK(cube.node()->inputs.size() == 2);
  CHECK(cube.node()->inputs[0]->inputs == std::vector{a.node(), a.node()});
  CHECK(cube.node()->inputs[1] == a.node());
  backward(cube);
  CHECK(a.grad().item() == 4.0F + 4.0F + 4.0F);
}

/// An op of its own: y = x^3, dx = 3 x^2 dy.
Tensor cube(const Tensor& x) {
  const Tensor y = (x * x * x).detach();
  return record("cube", y, {x},
                [x = x.detach()](const Tensor& dy) -> Gradients { return {3.0F * square(x) * dy}; });
}

TEST_CASE("exercise 3: an op is a value and a function from its gradient to its input's") {
  check_gradients("cube", [](const auto& in) { return cube(in[0]); }, {random_tensor({3, 5}, "cube")});
  Tensor x = Tensor::from(Values{1.0F, -2.0F, 0.5F}, {3}).require_grad();
  backward(sum(cube(x)));
  CHECK(values_of(x.grad()) == Values{3.0F, 12.0F, 0.75F});
}

TEST_CASE("exercise 4: what was repeated is summed on the way back") {
  const Tensor x = random_tensor({4, 3}, "x");
  Tensor bias = Tensor::zeros({3}).require_grad();
  backward(sum(x + bias));
  CHECK(values_of(bias.grad()) == Values{4.0F, 4.0F, 4.0F});  // each element went into four rows
  Tensor column = Tensor::zeros({4, 1}).require_grad();
  backward(sum(x + column));
  CHECK(values_of(column.grad()) == Values{3.0F, 3.0F, 3.0F, 3.0F});
}

TEST_CASE("exercise 5: C = A B has dA = dC B' and dB = A' dC") {
  Tensor a = random_tensor({2, 3}, "a").require_grad();
  Tensor b = random_tensor({3, 5}, "b").require_grad();
  const Tensor dc = random_tensor({2, 5}, "dc");
  backward(matmul(a, b), dc);
  const auto at = [](const Tensor& m, std::int64_t row, std::int64_t column) {
    return static_cast<double>(m.data<float>()[static_cast<std::size_t>(row * m.size(1) + column)]);
  };
  std::vector<double> da;
  for (std::int64_t i = 0; i < 2; ++i)
    for (std::int64_t j = 0; j < 3; ++j) {
      double total = 0.0;
      for (std::int64_t k = 0; k < 5; ++k) total += at(dc, i, k) * at(b, j, k);
      da.push_back(total);
    }
  std::vector<double> db;
  for (std::int64_t j = 0; j < 3; ++j)
    for (std::int64_t k = 0; k < 5; ++k) {
      double total = 0.0;
      for (std::int64_t i = 0; i < 2; ++i) total += at(a, i, j) * at(dc, i, k);
      db.push_back(total);
    }
  CHECK(relative_difference(a.grad(), da) < 1e-6);
  CHECK(relative_difference(b.grad(), db) < 1e-6);
}

TEST_CASE("exercise 6: cross-entropy of log_softmax and one_hot, and its gradient (H - onehot) / B") {
  Tensor logits = random_tensor({4, 7}, "logits").require_grad();
  const Tensor labels = Tensor::from(std::vector<std::int64_t>{6, 0, 3, 3}, {4});
  const Tensor composed = -1.0F * sum(one_hot(labels, 7) * log_softmax(logits)) / 4.0F;
  const Tensor fused = cross_entropy(logits, labels);
  CHECK(composed.item() == doctest::Approx(fused.item()).epsilon(1e-6));
  backward(composed);
  const std::vector<double> of_composed = doubles_of(logits.grad());
  logits.clear_grad();
  backward(fused);
  CHECK(relative_difference(logits.grad(), of_composed) < 1e-5);
  const Tensor by_hand = (exp(log_softmax(logits.detach())) - one_hot(labels, 7)) / 4.0F;
  CHECK(relative_difference(logits.grad(), doubles_of(by_hand)) < 1e-5);
}

TEST_CASE("7. a convolution by hand: one image of 3x3, one filter of 2x2") {
  Tensor x = Tensor::from(Values{1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 3, 3, 1}).require_grad();
  Tensor w = Tensor::full({1, 2, 2, 1}, 1.0F).require_grad();
  const Tensor y = conv2d(x, w, {}, {});
  CHECK(values_of(y) == Values{12, 16, 24, 28});  // the sums of the four windows
  backward(sum(y));
  CHECK(values_of(w.grad()) == Values{12, 16, 24, 28});             // each tap saw four pixels
  CHECK(values_of(x.grad()) == Values{1, 2, 1, 2, 4, 2, 1, 2, 1});  // each pixel was in so many windows
}

TEST_CASE("exercise 7: with a stride of 2 and a padding of 1") {
  Tensor x = Tensor::from(Values{1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 3, 3, 1}).require_grad();
  Tensor w = Tensor::full({1, 2, 2, 1}, 1.0F).require_grad();
  const Tensor y = conv2d(x, w, {}, {.stride = 2, .padding = 1});
  CHECK(values_of(y) == Values{1, 5, 11, 28});
  backward(sum(y));
  CHECK(values_of(w.grad()) == Values{5, 10, 10, 20});
  CHECK(values_of(x.grad()) == Values{1, 1, 1, 1, 1, 1, 1, 1, 1});
}

TEST_CASE("exercise 8: a convolution of 1x1 is a matrix product of pixels") {
  Tensor x = random_tensor({2, 3, 4, 5}, "x").require_grad();
  Tensor w = random_tensor({6, 1, 1, 5}, "w").require_grad();
  const Tensor dy = random_tensor({2, 3, 4, 6}, "dy");
  backward(conv2d(x, w, {}, {}), dy);
  const std::vector<double> dx = doubles_of(x.grad());
  const std::vector<double> dw = doubles_of(w.grad());
  x.clear_grad();
  w.clear_grad();
  const Tensor product = matmul(reshape(x, {2 * 3 * 4, 5}), reshape(w, {6, 5}), false, true);
  backward(reshape(product, {2, 3, 4, 6}), dy);
  CHECK(relative_difference(x.grad(), dx) < 1e-6);
  CHECK(relative_difference(w.grad(), dw) < 1e-6);
}

/// Convolution of x {H, W, C} by weight {K, R, S, C}, of three ops: {P, Q, K}.
Tensor convolution(const Tensor& x, const Tensor& weight, const Conv2dParams& p) {
  const std::int64_t h = x.size(0);
  const std::int64_t w = x.size(1);
  const std::int64_t c = x.size(2);
  const std::int64_t rows = (h + 2 * p.padding - weight.size(1)) / p.stride + 1;
  const std::int64_t columns = (w + 2 * p.padding - weight.size(2)) / p.stride + 1;
  // The pixels of every window, {P Q, R S}; those of the padding are one more row of zeros behind the image.
  std::vector<std::int64_t> pixels;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j)
      for (std::int64_t r = 0; r < weight.size(1); ++r)
        for (std::int64_t s = 0; s < weight.size(2); ++s) {
          const std::int64_t y = i * p.stride + r - p.padding;
          const std::int64_t z = j * p.stride + s - p.padding;
          const bool inside = y >= 0 && y < h && z >= 0 && z < w;
          pixels.push_back(inside ? y * w + z : h * w);
        }
  const std::int64_t taps = weight.size(1) * weight.size(2);
  // Rows side by side are what concat has: so the image is one row of H W C, and the zeros are C more.
  const Tensor padded = reshape(concat({reshape(x, {1, h * w * c}), Tensor::zeros({1, c})}), {h * w + 1, c});
  const Tensor windows = gather_rows(padded, Tensor::from(pixels, {rows * columns, taps}));  // {PQ, RS, C}
  const Tensor y = matmul(reshape(windows, {rows * columns, taps * c}),
                          reshape(weight, {weight.size(0), taps * c}), false, true);
  return reshape(y, {rows, columns, weight.size(0)});
}

TEST_CASE("exercise 9: a convolution of gather_rows and matmul has the values and gradients of conv2d") {
  for (const Conv2dParams& params : {Conv2dParams{}, {.stride = 2, .padding = 1}, {.padding = 2}}) {
    Tensor x = random_tensor({6, 5, 3}, "x").require_grad();
    Tensor w = random_tensor({4, 3, 2, 3}, "w").require_grad();
    const Tensor y = conv2d(reshape(x, {1, 6, 5, 3}), w, {}, params);
    const Tensor dy = random_tensor(y.shape(), "dy");
    backward(y, dy);
    const std::vector<double> dx = doubles_of(x.grad());
    const std::vector<double> dw = doubles_of(w.grad());
    x.clear_grad();
    w.clear_grad();
    const Tensor own = convolution(x, w, params);
    CHECK(own.shape() == Shape{y.size(1), y.size(2), 4});
    CHECK(relative_difference(own, doubles_of(y)) < 1e-6);
    backward(own, dy.view(own.shape()));
    CHECK(relative_difference(x.grad(), dx) < 1e-6);
    CHECK(relative_difference(w.grad(), dw) < 1e-6);
  }
}

TEST_CASE("exercise 10: a filter learns what another one does, by gradient descent alone") {
  const Tensor x = random_tensor({4, 7, 6, 2}, "x");
  const Tensor wanted = random_tensor({3, 3, 3, 2}, "wanted");
  const Tensor target = conv2d(x, wanted, {}, {.padding = 1});
  Tensor w = Tensor::zeros({3, 3, 3, 2}).require_grad();
  float loss = 0.0F;
  for (int step = 0; step < 100; ++step) {
    w.clear_grad();
    const Tensor error = mean(square(conv2d(x, w, {}, {.padding = 1}) - target));
    backward(error);
    loss = error.item();
    for (std::size_t i = 0; i < w.data<float>().size(); ++i)
      w.data<float>()[i] -= 0.8F * w.grad().data<float>()[i];
  }
  CHECK(loss < 1e-6F);
  CHECK(relative_difference(w, doubles_of(wanted)) < 1e-2);
}

}  // namespace
}  // namespace generous
