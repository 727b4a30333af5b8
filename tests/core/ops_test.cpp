// Every elementwise, reduction, softmax and dense op: values against plain formulas, gradients by
// differences.

#include "tests/core/gradcheck.h"

namespace generous {
namespace {

using testing::check_gradients;
using testing::random_tensor;

Tensor labels_of(const std::vector<std::int64_t>& labels) {
  return Tensor::from(labels, {static_cast<std::int64_t>(labels.size())});
}

Tensor step_of(std::int64_t step) { return Tensor::from(std::vector<std::int64_t>{step}, {}); }

/// Values away from the kinks of relu and relu6, and positive ones for log and sqrt.
Tensor spread(const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  std::int64_t i = 0;
  for (float& value : x.data<float>()) value = -2.5F + 0.53F * static_cast<float>(i++ % 19);
  return x;
}

Tensor positive(const Shape& shape, const std::string& name) {
  return exp(random_tensor(shape, name) * 0.5F).detach();
}

struct UnaryCase {
  const char* name;
  Tensor (*op)(const Tensor&);
  double (*formula)(double);
  bool needs_positive;
};

const UnaryCase unary_cases[] = {
    {"relu", relu, [](double x) { return x > 0 ? x : 0; }, false},
    {"relu6", relu6, [](double x) { return x < 0   ? 0
                                           : x > 6 ? 6
                                                   : x; }, false},
    {"exp", exp, [](double x) { return std::exp(x); }, false},
    {"log", log, [](double x) { return std::log(x); }, true},
    {"sqrt", sqrt, [](double x) { return std::sqrt(x); }, true},
    {"square", square, [](double x) { return x * x; }, false},
    {"sigmoid", sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, false},
};

TEST_CASE("unary ops follow their formulas and derivatives") {
  on_every_cpu_implementation([] {
    for (const UnaryCase& test : unary_cases) {
      CAPTURE(test.name);
      const Tensor x = test.needs_positive ? positive({3, 5, 7}, test.name) : spread({3, 5, 7});
      const Tensor y = test.op(x);
      for (std::size_t i = 0; i < x.data<float>().size(); ++i)
        CHECK(static_cast<double>(y.data<float>()[i]) ==
              doctest::Approx(test.formula(static_cast<double>(x.data<float>()[i]))).epsilon(1e-6));
      check_gradients(test.name, [&](const auto& in) { return test.op(in[0]); }, {x});
    }
  });
}

TEST_CASE("relu keeps NaN and maps infinities") {
  const float infinity = std::numeric_limits<float>::infinity();
  const Tensor y = relu(Tensor::from(std::vector<float>{NAN, -infinity, infinity}, {3}));
  CHECK(std::isnan(y.data<float>()[0]));
  CHECK(y.data<float>()[1] == 0.0F);
  CHECK(y.data<float>()[2] == infinity);
}

TEST_CASE("step tells positive from the rest, keeps NaN and has no gradient") {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {-2.0F, -0.0F, 0.0F, 1e-38F, 3.0F, -infinity, infinity, NAN};
  const std::vector<float> expected = {0, 0, 0, 1, 1, 0, 1};
  on_every_cpu_implementation([&] {
    Tensor x = Tensor::from(values, {8});
    x.require_grad();
    const Tensor y = step(x);
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK(y.data<float>()[i] == expected[i]);
    CHECK(std::isnan(y.data<float>()[7]));
    backward(sum(y));
    for (const float gradient : x.grad().data<float>()) CHECK(gradient == 0.0F);
  });
}

TEST_CASE("binary ops broadcast in every direction") {
  struct Case {
    const char* name;
    Tensor (*op)(const Tensor&, const Tensor&);
    double (*formula)(double, double);
  };
  const Case cases[] = {
      {"add", operator+, [](double a, double b) { return a + b; }},
      {"subtract", operator-, [](double a, double b) { return a - b; }},
      {"multiply", operator*, [](double a, double b) { return a * b; }},
      {"divide", operator/, [](double a, double b) { return a / b; }},
  };
  const std::pair<Shape, Shape> shapes[] = {{{4, 3}, {4, 3}}, {{4, 3}, {4, 1}}, {{4, 1}, {1, 3}},
                                            {{3}, {4, 3}},    {{}, {2, 3}},     {{2, 1, 5}, {3, 1}}};
  on_every_cpu_implementation([&] {
    for (const Case& test : cases)
      for (const auto& [left, right] : shapes) {
        const std::string name = std::string(test.name) + left.str() + right.str();
        CAPTURE(name);
        const Tensor a = random_tensor(left, name + "a");
        const Tensor b = positive(right, name + "b") + 0.5F;
        const Tensor y = test.op(a, b);
        // Flat indices by the definition of broadcasting, from the last axis.
        for (std::int64_t flat = 0; flat < y.numel(); ++flat) {
          const auto pick = [&](const Tensor& x) {
            std::int64_t rest = flat;
            std::int64_t index = 0;
            std::int64_t stride = 1;
            for (int axis = 1; axis <= y.shape().rank(); ++axis) {
              const std::int64_t i = rest % y.size(-axis);
              rest /= y.size(-axis);
              if (axis > x.shape().rank()) continue;
              if (x.size(-axis) != 1) index += i * stride;
              stride *= x.size(-axis);
            }
            return static_cast<double>(x.data<float>()[static_cast<std::size_t>(index)]);
          };
          CHECK(static_cast<double>(y.data<float>()[static_cast<std::size_t>(flat)]) ==
                doctest::Approx(test.formula(pick(a), pick(b))).epsilon(1e-6));
        }
        check_gradients(name, [&](const auto& in) { return test.op(in[0], in[1]); }, {a, b.detach()});
      }
  });
}

TEST_CASE("an operand that is used twice receives both gradients") {
  Tensor x = random_tensor({2, 3}, "twice");
  check_gradients("x * x + x", [](const auto& in) { return in[0] * in[0] + in[0]; }, {x});
  check_gradients("x + x", [](const auto& in) { return in[0] + in[0]; }, {x});
}

TEST_CASE("scalar arithmetic") {
  const Tensor x = random_tensor({3, 4}, "scalar");
  check_gradients("scalar arithmetic",
                  [](const auto& in) { return -((2.0F * in[0] - 3.0F) / 4.0F + 1.0F) * 5.0F; }, {x});
  const Tensor y = -((2.0F * x - 3.0F) / 4.0F + 1.0F) * 5.0F;
  CHECK(y.data<float>()[7] == doctest::Approx(-((2 * x.data<float>()[7] - 3) / 4 + 1) * 5));
}

TEST_CASE("reductions and reshapes") {
  on_every_cpu_implementation([] {
    const Tensor x = random_tensor({4, 7}, "reductions");
    check_gradients("sum", [](const auto& in) { return sum(in[0]); }, {x});
    check_gradients("mean", [](const auto& in) { return mean(in[0]); }, {x});
    check_gradients("sum_rows", [](const auto& in) { return sum_rows(in[0]); }, {x});
    check_gradients("mean_rows", [](const auto& in) { return mean_rows(in[0]); }, {x});
    check_gradients("std_rows", [](const auto& in) { return std_rows(in[0]); }, {x});
    check_gradients("reshape", [](const auto& in) { return square(reshape(in[0], {2, 14})); }, {x});
    const Tensor images = random_tensor({2, 3, 5, 6}, "sum_to");
    check_gradients("sum_to channels", [](const auto& in) { return sum_to(in[0], {6}); }, {images});
    check_gradients("sum_to middle", [](const auto& in) { return sum_to(in[0], {2, 1, 1, 6}); }, {images});
    check_gradients("broadcast_to", [](const auto& in) { return broadcast_to(in[0], {5, 4, 7}); }, {x});

    const Tensor total = sum_to(images, {3, 1, 6});
    double wanted = 0.0;  // over n and the third axis, at [1, 0, 4]
    for (std::size_t n = 0; n < 2; ++n)
      for (std::size_t w = 0; w < 5; ++w)
        wanted += static_cast<double>(images.data<float>()[((n * 3 + 1) * 5 + w) * 6 + 4]);
    CHECK(static_cast<double>(total.data<float>()[10]) == doctest::Approx(wanted));
    // Of {1, 2, 3, 4}: mean 2.5, squared deviations 5, unbiased variance 5/3.
    const Tensor row = Tensor::from(std::vector<float>{1, 2, 3, 4}, {1, 4});
    CHECK(std_rows(row).item() == doctest::Approx(std::sqrt(5.0 / 3.0)));
  });
}

TEST_CASE("a long sum of columns is exact to single precision") {
  on_every_cpu_implementation([] {
    const std::int64_t rows = 100'003;
    Tensor x = Tensor::full({rows, 3}, 0.1F);
    const Tensor total = sum_to(x, {3});
    for (const float value : total.data<float>())
      CHECK(static_cast<double>(value) == doctest::Approx(static_cast<double>(0.1F) * rows).epsilon(1e-6));
  });
}

TEST_CASE("log_softmax and cross-entropy") {
  on_every_cpu_implementation([] {
    const Tensor x = random_tensor({5, 9}, "logits") * 3.0F;
    const Tensor labels = labels_of({3, 0, 8, 3, 5});
    check_gradients("log_softmax", [](const auto& in) { return log_softmax(in[0]); }, {x});
    check_gradients("cross_entropy", [&](const auto& in) { return cross_entropy(in[0], labels); }, {x},
                    {.step = 3e-2});
    const Tensor y = log_softmax(x);
    double loss = 0.0;
    for (std::size_t row = 0; row < 5; ++row) {
      double total = 0.0;
      for (std::size_t c = 0; c < 9; ++c)
        total += std::exp(static_cast<double>(x.data<float>()[row * 9 + c]));
      for (std::size_t c = 0; c < 9; ++c)
        CHECK(static_cast<double>(y.data<float>()[row * 9 + c]) ==
              doctest::Approx(static_cast<double>(x.data<float>()[row * 9 + c]) - std::log(total))
                  .epsilon(1e-5));
      const auto label = static_cast<std::size_t>(labels.data<std::int64_t>()[row]);
      loss += std::log(total) - static_cast<double>(x.data<float>()[row * 9 + label]);
    }
    CHECK(static_cast<double>(cross_entropy(x, labels).item()) == doctest::Approx(loss / 5).epsilon(1e-6));
    // Stable far from zero, and with a class masked out by -1000.
    const Tensor far = Tensor::from(std::vector<float>{1e4F, 1e4F, -1e4F, 9e3F}, {2, 2});
    CHECK(log_softmax(far).data<float>()[0] == doctest::Approx(std::log(0.5)));
    CHECK(std::isfinite(cross_entropy(far, labels_of({1, 0})).item()));
    CHECK_THROWS_WITH_AS(cross_entropy(x, labels_of({3, 0, 9, 3, 5})), doctest::Contains("label 9"), Error);
  });
}

TEST_CASE("one_hot and count_top_k") {
  const Tensor labels = labels_of({2, 0});
  const Tensor hot = one_hot(labels, 3);
  CHECK(std::vector<float>(hot.data<float>().begin(), hot.data<float>().end()) ==
        std::vector<float>{0, 0, 1, 1, 0, 0});
  const Tensor logits = Tensor::from(std::vector<float>{3, 2, 2, 0, 5, 6}, {2, 3});
  CHECK(count_top_k(logits, labels, 1).item() == 0.0F);
  CHECK(count_top_k(logits, labels, 2).item() == 0.0F);  // class 1 ties with label 2 and comes first
  CHECK(count_top_k(logits, labels, 3).item() == 2.0F);
  CHECK(count_top_k(logits, labels_of({1, 2}), 2).item() == 2.0F);
  const Tensor broken = Tensor::full({2, 3}, NAN);
  CHECK(count_top_k(broken, labels, 1).item() == 0.0F);
  CHECK_THROWS_AS(one_hot(labels_of({3}), 3), Error);
}

TEST_CASE("matmul and linear, every transpose") {
  on_every_cpu_implementation([] {
    for (const bool ta : {false, true})
      for (const bool tb : {false, true}) {
        const Tensor a = random_tensor(ta ? Shape{4, 3} : Shape{3, 4}, "a");
        const Tensor b = random_tensor(tb ? Shape{5, 4} : Shape{4, 5}, "b");
        const Tensor c = matmul(a, b, ta, tb);
        REQUIRE(c.shape() == Shape{3, 5});
        std::vector<double> wanted;
        for (std::size_t i = 0; i < 3; ++i)
          for (std::size_t j = 0; j < 5; ++j) {
            double total = 0.0;
            for (std::size_t k = 0; k < 4; ++k)
              total += static_cast<double>(a.data<float>()[ta ? k * 3 + i : i * 4 + k]) *
                       static_cast<double>(b.data<float>()[tb ? j * 4 + k : k * 5 + j]);
            wanted.push_back(total);
          }
        CHECK(testing::relative_difference(c, wanted) < 1e-6);
        check_gradients("matmul", [&](const auto& in) { return matmul(in[0], in[1], ta, tb); }, {a, b});
      }
    const Tensor x = random_tensor({3, 6}, "x");
    const Tensor weight = random_tensor({4, 6}, "weight");
    const Tensor bias = random_tensor({4}, "bias");
    check_gradients("linear", [](const auto& in) { return linear(in[0], in[1], in[2]); }, {x, weight, bias});
    check_gradients("linear without bias", [](const auto& in) { return linear(in[0], in[1], {}); },
                    {x, weight});
    CHECK_THROWS_WITH_AS(linear(x, random_tensor({4, 5}, "w"), {}), doctest::Contains("{3, 6}"), Error);
  });
}

TEST_CASE("dropout keeps the mean, repeats by its key and step, and has the same mask backward") {
  on_every_cpu_implementation([] {
    const DropoutParams params{.p = 0.3F, .key = 7, .step = step_of(5)};
    Tensor x = Tensor::full({101, 103}, 2.0F).require_grad();
    const Tensor y = dropout(x, params);
    std::int64_t zeros = 0;
    for (const float value : y.data<float>()) {
      if (value == 0.0F)
        ++zeros;
      else
        CHECK(value == doctest::Approx(2.0 / 0.7));
    }
    CHECK(static_cast<double>(zeros) / static_cast<double>(x.numel()) == doctest::Approx(0.3).epsilon(0.05));
    backward(y, Tensor::full(y.shape(), 1.0F));
    std::size_t differing = 0;
    const Tensor other = dropout(x, {.p = 0.3F, .key = 7, .step = step_of(6)});
    for (std::size_t i = 0; i < y.data<float>().size(); ++i) {
      CHECK((x.grad().data<float>()[i] == 0.0F) == (y.data<float>()[i] == 0.0F));
      differing += (other.data<float>()[i] == 0.0F) != (y.data<float>()[i] == 0.0F) ? 1 : 0;
    }
    CHECK(differing > 1000);
  });
}

TEST_CASE("dropout of a piece of a tensor is that piece of the dropout, wherever it begins") {
  on_every_cpu_implementation([] {
    const DropoutParams params{.p = 0.4F, .key = 11, .step = step_of(3)};
    const std::vector<float> whole = [&] {
      const Tensor y = dropout(Tensor::full({29}, 1.0F), params);
      return std::vector<float>(y.data<float>().begin(), y.data<float>().end());
    }();
    for (std::int64_t first = 0; first < 10; ++first) {
      Tensor x = Tensor::full({19}, 1.0F).require_grad();
      DropoutParams of_piece = params;
      of_piece.first = first;
      const Tensor y = dropout(x, of_piece);
      backward(y, Tensor::full({19}, 1.0F));
      const std::span<const float> piece = std::span(whole).subspan(static_cast<std::size_t>(first), 19);
      CHECK(std::ranges::equal(y.data<float>(), piece));
      CHECK(std::ranges::equal(x.grad().data<float>(), piece));
    }
  });
}

TEST_CASE("cast rounds to nearest even and passes gradients") {
  const Tensor x = Tensor::from(std::vector<float>{1.0F, 1.00390625F, 1.01171875F, -3.14159F, NAN}, {5});
  const Tensor y = cast(cast(x, DType::bf16), DType::f32);
  CHECK(y.data<float>()[0] == 1.0F);
  CHECK(y.data<float>()[1] == 1.0F);       // halfway, to even
  CHECK(y.data<float>()[2] == 1.015625F);  // halfway, to even
  CHECK(y.data<float>()[3] == -3.140625F);
  CHECK(std::isnan(y.data<float>()[4]));
  Tensor leaf = random_tensor({3}, "cast").require_grad();
  backward(sum(cast(cast(leaf, DType::bf16), DType::f32) * 3.0F));
  CHECK(leaf.grad().data<float>()[1] == 3.0F);
  const Tensor bytes = Tensor::from(std::vector<std::uint8_t>{0, 7, 255}, {3});
  CHECK(cast(bytes, DType::f32).data<float>()[2] == 255.0F);
  CHECK_THROWS_AS(cast(x, DType::i64), Error);
}

TEST_CASE("ops refuse what does not fit, with the shapes") {
  const Tensor a = random_tensor({2, 3}, "a");
  CHECK_THROWS_WITH_AS(a + random_tensor({2, 4}, "b"), doctest::Contains("{2, 4}"), Error);
  CHECK_THROWS_WITH_AS(reshape(a, {4}), doctest::Contains("{4}"), Error);
  CHECK_THROWS_WITH_AS(broadcast_to(a, {2, 4}), doctest::Contains("{2, 4}"), Error);
  CHECK_THROWS_AS(relu(Tensor()), Error);
  CHECK_THROWS_WITH_AS(relu(Tensor::zeros({2}, DType::i64)), doctest::Contains("i64"), Error);
}

}  // namespace
}  // namespace generous
