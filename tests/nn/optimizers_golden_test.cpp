// Every reference value of optimizers.json (tests/golden/README.md), on every CPU implementation.

#include <doctest/doctest.h>

#include "core/backend.h"
#include "nn/optim.h"
#include "nn/schedule.h"
#include "nn/weight_average.h"
#include "tests/core/cpu_implementations.h"
#include "tests/nn/golden_files.h"
#include "tests/nn/golden_model.h"

namespace generous {
namespace {

using nlohmann::json;

/// Parameters and targets of a case: y = A w, and a loss 1/2 mean (y + b - target)^2 for each scalar b.
class Problem {
 public:
  explicit Problem(const json& item) : a_(matrix(item.at("A"))) {
    for (const auto& [name, target] :
         {std::pair{"c", "target_task"}, {"k", "target_kd"}, {"q", "target_nontarget"}}) {
      if (!item.contains(name)) continue;
      names_.emplace_back(name);
      targets_.push_back(column(item.at(target)));
    }
    names_.insert(names_.begin(), "w");
    for (const std::string& name : names_) {
      Tensor value = column(item.at(name));
      value.require_grad();
      parameters_.push_back({name, value, true, {}, {}});
    }
  }

  /// d loss `i` / d parameters is accumulated, and the loss returned.
  double backward_of(std::size_t i, Graph graph) {
    if (i == 0) y_ = matmul(a_, parameters_[0].tensor);
    const Tensor loss = 0.5F * mean(square(y_ + parameters_[i + 1].tensor - targets_[i]));
    backward(loss, graph);
    return static_cast<double>(loss.item());
  }
  std::size_t losses() const { return targets_.size(); }
  const std::vector<StateEntry>& parameters() const { return parameters_; }

 private:
  static Tensor matrix(const json& rows) {
    const std::vector<double> values = flat(rows);
    const auto count = static_cast<std::int64_t>(rows.size());
    return Tensor::from(std::vector<float>(values.begin(), values.end()),
                        {count, static_cast<std::int64_t>(values.size()) / count});
  }
  static Tensor column(const json& values) {
    const auto list = values.get<std::vector<double>>();
    return Tensor::from(std::vector<float>(list.begin(), list.end()),
                        {static_cast<std::int64_t>(list.size()), 1});
  }

  Tensor a_;
  Tensor y_;
  std::vector<std::string> names_;
  std::vector<Tensor> targets_;
  std::vector<StateEntry> parameters_;
};

std::unique_ptr<Optimizer> make(const std::string& name, const json& args,
                                std::vector<StateEntry> parameters) {
  const auto number = [&](const char* key) { return static_cast<float>(args.at(key).get<double>()); };
  if (name == "sgd")
    return make_sgd(std::move(parameters), {.momentum = number("momentum"),
                                            .weight_decay = number("weight_decay"),
                                            .nesterov = args.at("nesterov").get<bool>()});
  if (name == "adam" || name == "adamw") {
    const auto betas = args.at("betas").get<std::array<double, 2>>();
    return make_adam(std::move(parameters), {.beta1 = static_cast<float>(betas[0]),
                                             .beta2 = static_cast<float>(betas[1]),
                                             .epsilon = number("eps"),
                                             .weight_decay = number("weight_decay"),
                                             .decoupled = name == "adamw"});
  }
  if (name == "dot")
    return make_dot(
        std::move(parameters),
        {.momentum = number("momentum"), .delta = number("delta"), .weight_decay = number("weight_decay")});
  if (name == "deepkd")
    return make_deepkd(std::move(parameters), {.momentum = number("momentum"),
                                               .delta_task = number("delta_task"),
                                               .delta_target = number("delta_target"),
                                               .delta_non_target = number("delta_nontarget"),
                                               .weight_decay = number("weight_decay")});
  fail("optimizers.json: no optimizer '{}' here", name);
}

/// The losses of a step of the file, in the order of the problem's.
std::vector<double> losses_of(const json& step) {
  if (step.contains("losses"))
    return {step["losses"]["task"], step["losses"]["target"], step["losses"]["nontarget"]};
  if (step.contains("task_loss")) return {step["task_loss"], step["kd_loss"]};
  return {step.at("loss")};
}

void check_optimizer(const json& item) {
  const auto name = item.at("optimizer").get<std::string>();
  CAPTURE(name);
  CAPTURE(item.at("args").dump());
  Problem problem(item);
  const auto optimizer = make(name, item.at("args"), problem.parameters());
  optimizer->set_learning_rate(static_cast<float>(item.at("args").at("lr").get<double>()));
  CHECK(optimizer->losses() == problem.losses());
  Complaints complaints;
  for (const json& step : item.at("steps")) {
    optimizer->zero_grad();
    const std::vector<double> expected = losses_of(step);
    REQUIRE(expected.size() == problem.losses());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const bool last = i + 1 == expected.size();
      const double loss = problem.backward_of(i, last ? Graph::freed : Graph::kept);
      compare(loss, expected[i], value_tolerance * std::abs(expected[i]), "loss", complaints);
      if (optimizer->losses() > 1) optimizer->take_gradients(i);
    }
    optimizer->step();
    for (const StateEntry& parameter : problem.parameters())
      for (std::size_t k = 0; k < parameter.tensor.data<float>().size(); ++k)
        compare(static_cast<double>(parameter.tensor.data<float>()[k]),
                step.at(parameter.name).at(k).get<double>(), 1e-6, parameter.name, complaints);
  }
  expect_none(complaints);
}

Schedule schedule_of(const json& item) {
  const json& args = item.at("args");
  if (item.at("schedule") == "multistep")
    return MultiStepSchedule{
        .base = args.at("base"), .milestones = args.at("milestones"), .gamma = args.at("gamma")};
  require(item.at("schedule") == "cosine", "optimizers.json: no schedule {} here",
          item.at("schedule").dump());
  return CosineSchedule{.base = args.at("base"),
                        .epochs = args.at("epochs"),
                        .warmup = args.at("warmup"),
                        .start_factor = args.at("start_factor"),
                        .least = args.at("eta_min")};
}

/// A weight and a counter.
class Weight : public Module {
 public:
  explicit Weight(const Shape& shape)
      : weight(add_parameter("weight", shape, {})), counter(add_buffer("counter", {}, DType::i64, {})) {}
  Tensor forward(const Tensor& x) override { return x; }

  Tensor weight;
  Tensor counter;
};

/// Matrices of a file, each one element of a list.
Tensor matrix_of(const json& rows) {
  const std::vector<double> values = flat(rows);
  const auto count = static_cast<std::int64_t>(rows.size());
  return Tensor::from(std::vector<float>(values.begin(), values.end()),
                      {count, static_cast<std::int64_t>(values.size()) / count});
}

}  // namespace

TEST_CASE("every average of weights, step by step") {
  const auto file = golden_json("optimizers.json");
  if (!file) return;
  on_every_cpu_implementation([&] {
    for (const json& item : file->at("ema")) {
      const json& inputs = item.at("inputs");
      REQUIRE(item.at("averages").size() == inputs.size());
      Weight module(matrix_of(inputs.at(0)).shape());
      WeightAverage average(module, item.at("args").at("decay").get<double>());
      Complaints complaints;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        Tensor weight = module.weight.detach();
        backend(Device::cpu).copy(matrix_of(inputs[i]), weight);
        module.counter.data<std::int64_t>()[0] = static_cast<std::int64_t>(i);
        average.update();
        const NamedTensors state = average.state();
        REQUIRE(state.size() == 2);
        compare_matrix(state[0].second, item["averages"][i], "average", complaints);
        CHECK(state[1].second.data<std::int64_t>()[0] == static_cast<std::int64_t>(i));
      }
      expect_none(complaints);
    }
  });
}

TEST_CASE("an average changes places with the weights, and goes on where it was saved") {
  const auto set = [](Weight& module, float value) {
    Tensor weight = module.weight.detach();
    backend(Device::cpu).fill(weight, static_cast<double>(value));
  };
  Weight module({3, 2});
  WeightAverage average(module, 0.75);
  set(module, 8.0F);
  average.update();
  set(module, 4.0F);
  average.update();
  CHECK(average.state()[0].second.data<float>()[5] == 7.0F);
  average.exchange();
  CHECK(module.weight.data<float>()[5] == 7.0F);
  CHECK(average.state()[0].second.data<float>()[5] == 4.0F);
  average.exchange();
  CHECK(module.weight.data<float>()[5] == 4.0F);

  Weight other({3, 2});
  WeightAverage resumed(other, 0.75);
  resumed.load_state(average.state(), "the other");
  set(other, 3.0F);
  resumed.update();
  CHECK(resumed.state()[0].second.data<float>()[5] == 6.0F);  // not 3: it had begun
  CHECK_THROWS_AS(resumed.load_state({}, "nothing"), Error);
}

TEST_CASE("every optimiser, step by step") {
  const auto file = golden_json("optimizers.json");
  if (!file) return;
  on_every_cpu_implementation([&] {
    for (const json& item : file->at("optimizers")) check_optimizer(item);
  });
}

TEST_CASE("every schedule, epoch by epoch") {
  const auto file = golden_json("optimizers.json");
  if (!file) return;
  for (const json& item : file->at("schedules")) {
    CAPTURE(item.at("args").dump());
    const Schedule schedule = schedule_of(item);
    const auto expected = item.at("lr").get<std::vector<double>>();
    for (std::size_t epoch = 0; epoch < expected.size(); ++epoch)
      CHECK(static_cast<double>(learning_rate(schedule, static_cast<std::int64_t>(epoch))) ==
            doctest::Approx(expected[epoch]).epsilon(1e-6));
  }
}

}  // namespace generous
