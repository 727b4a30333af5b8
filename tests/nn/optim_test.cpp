// The optimisers against sequences computed in double precision with PyTorch 2 from the same gradients, and
// the schedule against its definition.

#include "nn/optim.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "nn/schedule.h"
#include "tests/core/cpu_implementations.h"

namespace generous {
namespace {

using Row = std::array<double, 4>;

constexpr std::array<float, 4> start{0.5F, -1.25F, 2.0F, 0.0F};
constexpr std::array<std::array<float, 4>, 4> gradients{{{0.1F, -0.2F, 0.3F, 0.4F},
                                                         {-0.5F, 0.25F, 0.0F, 1.5F},
                                                         {0.05F, 0.6F, -0.7F, -0.8F},
                                                         {1.0F, -1.0F, 0.5F, 0.125F}}};
constexpr std::array<float, 4> learning_rates{0.1F, 0.1F, 0.01F, 0.01F};

/// One trained parameter {4}, one that never gets a gradient.
class Toy : public Module {
 public:
  Toy()
      : weight_(add_parameter("weight", {4}, Init::constant(0.0F))),
        unused_(add_parameter("unused", {3}, Init::constant(7.0F))) {
    initialise(0);
    std::copy(start.begin(), start.end(), weight_.data<float>().begin());
  }
  Tensor forward(const Tensor& gradient) override { return sum(weight_ * gradient); }
  std::span<const float> weight() const { return weight_.data<float>(); }
  std::span<const float> unused() const { return unused_.data<float>(); }

 private:
  Tensor weight_;
  Tensor unused_;
};

void step(Toy& toy, Optimizer& optimizer, std::size_t i) {
  optimizer.zero_grad();
  backward(toy(Tensor::from(std::span<const float>(gradients[i]), {4})));
  optimizer.set_learning_rate(learning_rates[i]);
  optimizer.step();
}

/// The weight after each of the four steps. Errors of single precision stay below 1e-6 here.
void check_sequence(Toy& toy, Optimizer& optimizer, const std::array<Row, 4>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    step(toy, optimizer, i);
    for (std::size_t k = 0; k < 4; ++k) {
      CAPTURE(i);
      CAPTURE(k);
      CHECK(std::abs(static_cast<double>(toy.weight()[k]) - expected[i][k]) < 1e-6);
    }
  }
  for (const float value : toy.unused()) CHECK(value == 7.0F);  // weight decay does not touch it either
}

void check_sgd(const SgdOptions& options, const std::array<Row, 4>& expected) {
  on_every_cpu_implementation([&] {
    Toy toy;
    check_sequence(toy, *make_sgd(toy, options), expected);
  });
}

void check_adam(const AdamOptions& options, const std::array<Row, 4>& expected) {
  on_every_cpu_implementation([&] {
    Toy toy;
    check_sequence(toy, *make_adam(toy, options), expected);
  });
}

}  // namespace

TEST_CASE("plain SGD") {
  check_sgd({.momentum = 0.0F, .weight_decay = 0.0F}, {{{0.49, -1.23, 1.97, -0.04},
                                                        {0.54, -1.255, 1.97, -0.19},
                                                        {0.5395, -1.261, 1.977, -0.182},
                                                        {0.5295, -1.251, 1.972, -0.18325}}});
}

TEST_CASE("SGD with weight decay") {
  check_sgd({.momentum = 0.0F, .weight_decay = 0.05F},
            {{{0.4875, -1.22375, 1.96, -0.04},
              {0.5350625, -1.24263125, 1.9502, -0.1898},
              {0.534294969, -1.24800993, 1.9562249, -0.1817051},
              {0.524027821, -1.23738593, 1.95024679, -0.182864247}}});
}

TEST_CASE("SGD with momentum") {
  check_sgd({.momentum = 0.9F, .weight_decay = 0.0F}, {{{0.49, -1.23, 1.97, -0.04},
                                                        {0.531, -1.237, 1.943, -0.226},
                                                        {0.53419, -1.24363, 1.94757, -0.23474},
                                                        {0.527061, -1.239597, 1.946683, -0.243856}}});
}

TEST_CASE("SGD with momentum and weight decay") {
  check_sgd({.momentum = 0.9F, .weight_decay = 0.05F},
            {{{0.4875, -1.22375, 1.96, -0.04},
              {0.5238125, -1.21900625, 1.9142, -0.2258},
              {0.526318719, -1.22396981, 1.9161209, -0.2344091},
              {0.518311156, -1.21782503, 1.91189165, -0.243290085}}});
}

TEST_CASE("SGD with Nesterov momentum and weight decay") {
  check_sgd({.momentum = 0.9F, .weight_decay = 0.05F, .nesterov = true},
            {{{0.47625, -1.200125, 1.924, -0.076},
              {0.556600625, -1.21496131, 1.873322, -0.392678},
              {0.558067723, -1.22483242, 1.88114712, -0.392140176},
              {0.540558417, -1.20869957, 1.87144564, -0.401035306}}});
  Toy toy;
  CHECK_THROWS_WITH_AS(make_sgd(toy, {.momentum = 0.0F, .nesterov = true}),
                       "SGD: Nesterov needs a momentum above 0, not 0", Error);
}

TEST_CASE("Adam") {
  check_adam({}, {{{0.40000001, -1.15, 1.9, -0.0999999975},
                   {0.459835427, -1.16627323, 1.83299418, -0.18916032},
                   {0.463814882, -1.17250195, 1.83682811, -0.192358617},
                   {0.460127004, -1.17056355, 1.83626206, -0.19538703}}});
}

TEST_CASE("Adam with other betas, epsilon and weight decay") {
  check_adam({.beta1 = 0.8F, .beta2 = 0.95F, .epsilon = 1e-4F, .weight_decay = 0.05F},
             {{{0.400079936, -1.15003808, 1.90002499, -0.0999750062},
               {0.459592109, -1.14579927, 1.81982098, -0.191103387},
               {0.462866658, -1.15164341, 1.8224695, -0.193704133},
               {0.458019873, -1.14825267, 1.81985047, -0.196161859}}});
}

TEST_CASE("weight decay apart from the gradient shrinks what it does not move") {
  Toy toy;
  const auto adamw = make_adam(toy, {.weight_decay = 0.5F, .decoupled = true});
  step(toy, *adamw, 0);  // learning rate 0.1: by a factor 0.95 and a step of 0.1 against the gradient
  constexpr std::array<float, 4> expected{0.375F, -1.0875F, 1.8F, -0.1F};
  for (std::size_t k = 0; k < 4; ++k) CHECK(std::abs(toy.weight()[k] - expected[k]) < 1e-6F);
}

TEST_CASE("a reloaded optimiser goes on bit for bit") {
  using Maker = std::unique_ptr<Optimizer> (*)(const Module&);
  for (const Maker make : {Maker([](const Module& m) { return make_sgd(m, {.momentum = 0.9F}); }),
                           Maker([](const Module& m) { return make_adam(m, {}); })}) {
    Toy whole;
    const auto uninterrupted = make(whole);
    for (std::size_t i = 0; i < 4; ++i) step(whole, *uninterrupted, i);

    Toy resumed;
    const auto first_half = make(resumed);
    for (std::size_t i = 0; i < 2; ++i) step(resumed, *first_half, i);
    const auto second_half = make(resumed);
    second_half->load_state(first_half->state(), "test");
    for (std::size_t i = 2; i < 4; ++i) step(resumed, *second_half, i);

    CHECK(std::ranges::equal(resumed.weight(), whole.weight()));
    CHECK(std::abs(resumed.weight()[0] - start[0]) > 1e-3F);  // it did move
  }
}

TEST_CASE("another optimiser's state is rejected by name") {
  Toy toy;
  const auto sgd = make_sgd(toy, {});
  const auto adam = make_adam(toy, {});
  CHECK_THROWS_WITH_AS(
      sgd->load_state(adam->state(), "run/state"),
      "run/state: not the expected tensors; missing: velocity.weight, velocity.unused; unexpected: "
      "first_moment.unused, first_moment.weight, second_moment.unused, second_moment.weight, "
      "step.unused and 1 more",
      Error);
}

TEST_CASE("the multi-step schedule falls at each milestone") {
  const MultiStepSchedule schedule{.base = 0.1, .milestones = {120, 60, 160}, .gamma = 0.2};
  CHECK(schedule.learning_rate(0) == 0.1F);
  CHECK(schedule.learning_rate(59) == 0.1F);
  CHECK(schedule.learning_rate(60) == 0.02F);
  CHECK(schedule.learning_rate(119) == doctest::Approx(0.02).epsilon(1e-6));
  CHECK(schedule.learning_rate(120) == doctest::Approx(0.004).epsilon(1e-6));
  CHECK(schedule.learning_rate(199) == 0.0008F);
  const MultiStepSchedule constant{.base = 1e-3, .milestones = {999}, .gamma = 0.1};
  CHECK(constant.learning_rate(99) == 1e-3F);
  const MultiStepSchedule none{.base = 0.5, .milestones = {}, .gamma = 0.1};
  CHECK(none.learning_rate(1000) == 0.5F);
}

}  // namespace generous
