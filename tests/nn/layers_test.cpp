// Layers and modules: names and order of the state, initial values, modes, what the fused forms compute.

#include "nn/layers.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/random.h"
#include "tests/core/cpu_implementations.h"

namespace generous {
namespace {

Tensor random_tensor(const Shape& shape, std::string_view name) {
  const Random random(5, name);
  Tensor tensor = Tensor::empty(shape);
  std::uint64_t element = 0;
  for (float& value : tensor.data<float>()) value = random.normal(0, 0, element++);
  return tensor;
}

std::vector<std::string> names(const std::vector<StateEntry>& entries) {
  std::vector<std::string> out;
  for (const StateEntry& entry : entries) out.push_back(entry.name);
  return out;
}

const StateEntry& find(const std::vector<StateEntry>& entries, const std::string& name) {
  const auto it = std::ranges::find(entries, name, &StateEntry::name);
  REQUIRE(it != entries.end());
  return *it;
}

void check_equal(const Tensor& a, const Tensor& b, float tolerance) {
  REQUIRE(a.shape() == b.shape());
  for (std::size_t i = 0; i < a.data<float>().size(); ++i) {
    CAPTURE(i);
    CHECK(std::abs(a.data<float>()[i] - b.data<float>()[i]) <= tolerance);
  }
}

/// Parameters after a child, to see that they still come first in the state.
class Tree : public Module {
 public:
  Tree() {
    body_ = &add<Sequential>("body");
    body_->append<Conv2d>(
        Conv2dOptions{.in = 3, .out = 8, .kernel = 5, .stride = 2, .padding = 2, .bias = true});
    body_->append<BatchNorm>(8);
    body_->append<ReLU>();
    body_->append<Dropout>(0.25F);
    scale_ = add_parameter("scale", {1}, Init::constant(2.0F));
    count_ = add_buffer("count", {2}, DType::i64, Init::constant(3.0F));
    initialise(1);
  }
  Tensor forward(const Tensor& x) override { return body_->forward(x) * scale_; }

 private:
  Sequential* body_;
  Tensor scale_;
  Tensor count_;
};

struct Moments {
  double mean = 0.0;
  double std = 0.0;
  float largest = 0.0F;
};

Moments moments(const Tensor& tensor) {
  Moments m;
  const auto values = tensor.data<float>();
  const auto count = static_cast<double>(values.size());
  for (const float value : values) {
    m.mean += static_cast<double>(value) / count;
    m.largest = std::max(m.largest, std::abs(value));
  }
  for (const float value : values) m.std += std::pow(static_cast<double>(value) - m.mean, 2.0) / count;
  m.std = std::sqrt(m.std);
  return m;
}

}  // namespace

TEST_CASE("state: own parameters, own buffers, then children, in PyTorch's order") {
  const Tree tree;
  CHECK(names(tree.state()) == std::vector<std::string>{"scale", "count", "body.0.weight", "body.0.bias",
                                                        "body.1.weight", "body.1.bias", "body.1.running_mean",
                                                        "body.1.running_var", "body.1.num_batches_tracked"});
  CHECK(names(tree.parameters()) ==
        std::vector<std::string>{"scale", "body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias"});
  CHECK(tree.parameter_count() == 1 + 8 * 5 * 5 * 3 + 8 + 8 + 8);
  const auto state = tree.state();
  CHECK(find(state, "scale").tensor.item() == 2.0F);
  CHECK(find(state, "count").tensor.data<std::int64_t>()[1] == 3);
  CHECK(find(state, "body.0.weight").tensor.shape() == Shape{8, 5, 5, 3});
  CHECK(find(state, "body.1.num_batches_tracked").tensor.shape() == Shape());
  CHECK(find(state, "body.1.num_batches_tracked").tensor.dtype() == DType::i64);
  CHECK(find(state, "body.1.running_var").tensor.data<float>()[7] == 1.0F);
  CHECK(find(state, "body.0.weight").tensor.requires_grad());
  CHECK_FALSE(find(state, "body.1.running_mean").tensor.requires_grad());
}

TEST_CASE("initial values: bounds and spread of each kind, a function of the seed and the name") {
  SUBCASE("fan in, with groups, and its bias") {
    Conv2d conv({.in = 64, .out = 96, .kernel = 3, .groups = 4, .bias = true});
    conv.initialise(3);
    const float bound = 1.0F / std::sqrt(16.0F * 9.0F);
    const auto state = conv.state();
    const Moments weight = moments(state[0].tensor);
    CHECK(weight.largest <= bound);
    CHECK(weight.largest > 0.999F * bound);
    CHECK(std::abs(weight.mean) < 0.01 * static_cast<double>(bound));
    CHECK(weight.std == doctest::Approx(static_cast<double>(bound) / std::sqrt(3.0)).epsilon(0.02));
    CHECK(moments(state[1].tensor).largest <= bound);
    CHECK(moments(state[1].tensor).largest > 0.8F * bound);
  }
  SUBCASE("fan out") {
    Conv2d conv(conv3x3(32, 80, 1, Conv2dOptions::Weights::fan_out));
    conv.initialise(3);
    const Moments weight = moments(conv.state()[0].tensor);
    CHECK(std::abs(weight.mean) < 0.001);
    CHECK(weight.std == doctest::Approx(std::sqrt(2.0 / (9.0 * 80.0))).epsilon(0.02));
    CHECK(static_cast<double>(weight.largest) > 3.0 * weight.std);  // no uniform distribution reaches that
  }
  SUBCASE("linear") {
    Linear linear(400, 50);
    linear.initialise(3);
    const Moments weight = moments(linear.state()[0].tensor);
    CHECK(weight.largest <= 0.05F);
    CHECK(weight.std == doctest::Approx(0.05 / std::sqrt(3.0)).epsilon(0.02));
    CHECK(moments(linear.state()[1].tensor).largest <= 0.05F);
    CHECK(moments(linear.state()[1].tensor).largest > 0.04F);
  }
}

TEST_CASE("batch norm counts training batches, moves its statistics, and evaluates with them") {
  on_every_cpu_implementation([] {
    BatchNorm bn(3);
    bn.initialise(0);
    const auto state = bn.state();
    const Tensor x = random_tensor({4, 5, 2, 3}, "x") + 1.0F;
    bn(x);
    bn.then_relu(x);
    CHECK(state[4].tensor.data<std::int64_t>()[0] == 2);
    CHECK(state[2].tensor.data<float>()[1] ==
          doctest::Approx(0.19F).epsilon(0.3));  // 1 - 0.9^2, of a mean near 1
    bn.eval();
    const Tensor y = bn(x);
    CHECK(state[4].tensor.data<std::int64_t>()[0] == 2);
    const auto mean = static_cast<double>(state[2].tensor.data<float>()[1]);
    const auto variance = static_cast<double>(state[3].tensor.data<float>()[1]);
    const double expected = (static_cast<double>(x.data<float>()[4]) - mean) / std::sqrt(variance + 1e-5);
    CHECK(static_cast<double>(y.data<float>()[4]) == doctest::Approx(expected).epsilon(1e-5));
  });
}

TEST_CASE("the fused forms of batch norm equal its parts, in both modes, on images and on vectors") {
  on_every_cpu_implementation([] {
    for (const Shape& shape : {Shape{2, 3, 5, 7}, Shape{6, 7}}) {
      for (const bool training : {true, false}) {
        BatchNorm bn(7);
        bn.initialise(0);
        bn.train(training);
        const Tensor x = random_tensor(shape, "x");
        const Tensor residual = random_tensor(shape, "residual");
        check_equal(bn.then_relu(x), relu(bn(x)), 1e-5F);
        // In training mode the outputs do not depend on the running statistics, which have moved meanwhile.
        const Tensor sum = bn(x) + residual;
        const Ending ending{.residual = residual, .activation = Activation::relu};
        check_equal(bn.forward(x, ending), relu(sum), 1e-5F);
        Tensor before;
        check_equal(
            bn.forward(x,
                       {.residual = residual, .activation = Activation::relu6, .before_activation = &before}),
            relu6(sum), 1e-5F);
        check_equal(before, sum, 1e-5F);
      }
    }
  });
}

TEST_CASE("dropout: rate, scale, a fresh mask each step, the same one again for the same step") {
  Dropout dropout(0.25F);
  dropout.initialise(9);
  const Tensor ones = Tensor::full({100, 1000}, 1.0F);

  const Tensor y = dropout(ones);
  std::size_t dropped = 0;
  for (const float value : y.data<float>()) {
    if (value == 0.0F)
      ++dropped;
    else
      CHECK(value == doctest::Approx(1.0 / 0.75));
  }
  CHECK(dropped > 24400);  // 25000 +- 4.4 standard deviations of 137
  CHECK(dropped < 25600);

  const auto same = [](const Tensor& a, const Tensor& b) {
    return std::ranges::equal(a.data<float>(), b.data<float>());
  };
  CHECK(same(dropout(ones), y));
  Tensor step = Tensor::from(std::vector<std::int64_t>{1}, {});
  dropout.count_steps_by(step);
  const Tensor next = dropout(ones);
  CHECK_FALSE(same(next, y));
  step.data<std::int64_t>()[0] = 0;
  CHECK(same(dropout(ones), y));
  dropout.initialise(10);
  CHECK_FALSE(same(dropout(ones), y));

  dropout.eval();
  CHECK(same(dropout(ones), ones));
  CHECK_THROWS_WITH_AS(Dropout(1.0F), "Dropout: p is 1, expected 0 <= p < 1", Error);
}

TEST_CASE("seed, step and mode reach the whole tree; layers of other names draw other masks") {
  class Pair : public Module {
   public:
    Pair() : a_(add<Dropout>("a", 0.5F)), b_(add<Dropout>("b", 0.5F)) { initialise(2); }
    Tensor forward(const Tensor& x) override { return x; }
    Dropout& a_;
    Dropout& b_;
  } pair;
  const Tensor ones = Tensor::full({64}, 1.0F);
  const auto bits = [&ones](Dropout& dropout) {
    const Tensor y = dropout(ones);
    return std::vector<float>(y.data<float>().begin(), y.data<float>().end());
  };
  const auto a = bits(pair.a_);
  CHECK(a != bits(pair.b_));
  Tensor step = Tensor::from(std::vector<std::int64_t>{7}, {});
  pair.count_steps_by(step);
  CHECK(a != bits(pair.a_));
  step.data<std::int64_t>()[0] = 0;
  CHECK(a == bits(pair.a_));
  pair.eval();
  CHECK(bits(pair.b_) == std::vector<float>(64, 1.0F));
  CHECK_FALSE(pair.b_.training());
  pair.train();
  CHECK(pair.b_.training());
}

TEST_CASE("of a batch in slices, random layers draw for its rows, and statistics follow the first slice") {
  Dropout dropout(0.5F);
  dropout.initialise(4);
  const Tensor step = Tensor::from(std::vector<std::int64_t>{6}, {});
  const auto first_row = std::make_shared<std::int64_t>(0);
  dropout.count_steps_by(step, first_row);
  const Tensor whole = dropout(Tensor::full({5, 3, 7}, 1.0F));
  *first_row = 2;
  const Tensor rest = dropout(Tensor::full({3, 3, 7}, 1.0F));
  CHECK(std::ranges::equal(rest.data<float>(), whole.data<float>().subspan(2 * 21)));

  BatchNorm norm(3);
  BatchNorm other(3);
  for (BatchNorm* each : {&norm, &other}) each->initialise(0);
  norm.count_steps_by(step, first_row);
  const Tensor first = random_tensor({2, 4, 5, 3}, "first");
  const Tensor second = random_tensor({3, 4, 5, 3}, "second");
  *first_row = 0;
  norm(first);
  *first_row = 2;
  const Tensor y = norm(second);
  other(first);
  const auto values = [](const BatchNorm& of) {
    std::vector<float> all;
    for (const StateEntry& entry : of.state())
      if (entry.tensor.dtype() == DType::f32)
        all.insert(all.end(), entry.tensor.data<float>().begin(), entry.tensor.data<float>().end());
      else
        all.push_back(static_cast<float>(entry.tensor.data<std::int64_t>()[0]));
    return all;
  };
  CHECK(values(norm) == values(other));
  CHECK(std::ranges::equal(y.data<float>(),
                           other(second).data<float>()));  // by its own statistics all the same
}

TEST_CASE("activations, sequences, and shapes that layers refuse") {
  ReLU relu_layer;
  ReLU6 relu6_layer;
  const Tensor x = Tensor::from(std::vector<float>{-1.0F, 2.0F, 9.0F}, {1, 3});
  CHECK(std::ranges::equal(relu_layer(x).data<float>(), std::vector<float>{0.0F, 2.0F, 9.0F}));
  CHECK(std::ranges::equal(relu6_layer(x).data<float>(), std::vector<float>{0.0F, 2.0F, 6.0F}));

  Tree tree;
  CHECK(tree(random_tensor({2, 9, 6, 3}, "images")).shape() == Shape{2, 5, 3, 8});

  FlattenLinear flatten({4, 3, 2}, 6);
  flatten.initialise(0);
  CHECK(flatten(Tensor::zeros({5, 4, 3, 2})).shape() == Shape{5, 6});
  CHECK_THROWS_WITH_AS(flatten(Tensor::zeros({5, 3, 4, 2})),
                       "FlattenLinear: x is {5, 3, 4, 2}, expected images of {4, 3, 2}", Error);
  CHECK_THROWS_WITH_AS(Conv2d({.in = 6, .out = 4, .kernel = 3, .groups = 3}),
                       "Conv2d: 3 groups do not divide 6 input and 4 output channels", Error);
}

}  // namespace generous
