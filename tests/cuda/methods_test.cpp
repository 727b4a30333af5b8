// Every distillation method on the CUDA backend: values, gradients and state against the CPU's, and the
// recorded step against the same work call by call.

#include <array>
#include <set>

#include "tests/apps/method_run.h"
#include "tests/cuda/differences.h"

namespace generous {
namespace {

using testing::every_method;
using testing::largest_of;
using testing::MethodRun;
using testing::MethodRunOptions;
using testing::relative_error;

/// Whether a method has one of these settings.
bool has_setting(const std::string& method_name, const std::set<std::string>& keys) {
  Options declared(method_name);
  const std::unique_ptr<Method> method = make_method(method_name);
  method->declare(declared);
  return std::ranges::any_of(declared.settings(),
                             [&](const SettingValue& setting) { return keys.contains(setting.key); });
}

/// On a device; on a GPU call by call.
MethodRunOptions on(Device device, MethodRunOptions options) {
  options.step.device = device;
  options.step.record = false;
  return options;
}

/// The same methods, and those that can compare standardised logits once more.
std::vector<MethodRunOptions> also_standardised() {
  std::vector<MethodRunOptions> all = every_method();
  for (MethodRunOptions& test : every_method()) {
    if (!has_setting(test.method, {"logit_stand"})) continue;
    test.settings["logit_stand"] = "1";
    all.push_back(test);
  }
  return all;
}

using Quantities = std::vector<std::pair<std::string, Tensor>>;

void add_state(Quantities& quantities, const std::string& owner, const Module& module) {
  for (const StateEntry& entry : module.state())
    if (entry.tensor.dtype() == DType::f32)
      quantities.emplace_back(owner + entry.name, entry.tensor.detach().to(Device::cpu).clone());
}

void add_metrics(Quantities& quantities, const StepMetrics& metrics) {
  const auto add = [&](const std::string& name, float value) {
    quantities.emplace_back(name, Tensor::full({}, value));
  };
  add("loss", metrics.loss);
  for (std::size_t i = 0; i < metrics.terms.size(); ++i) add("term " + std::to_string(i), metrics.terms[i]);
  add("correct", metrics.correct);
  if (metrics.flat_rows) add("flat_rows", *metrics.flat_rows);
}

void add_states(Quantities& quantities, const MethodRun& run) {
  add_state(quantities, "student ", *run.student);
  add_state(quantities, "method ", *run.method);
  if (run.teacher != nullptr) add_state(quantities, "teacher ", *run.teacher);
}

/// What the first step measures, with its gradients.
Quantities first_step(MethodRun& run) {
  Quantities quantities;
  add_metrics(quantities, run.take(0));
  if (run.optimizer->losses() > 1) return quantities;  // the optimiser has taken the gradients
  for (const StateEntry& entry : parameters_of(*run.student, *run.method))
    if (entry.tensor.grad().defined())
      quantities.emplace_back("gradient of " + entry.name, entry.tensor.grad().to(Device::cpu).clone());
  return quantities;
}

/// What the second step measures, and what both leave behind.
Quantities second_step(MethodRun& run) {
  Quantities quantities;
  add_metrics(quantities, run.take(1));
  add_states(quantities, run);
  return quantities;
}

std::array<Quantities, 2> two_steps(const MethodRunOptions& options, std::int64_t epoch = 1) {
  MethodRun run(options);
  run.step->start_epoch(epoch);
  Quantities first = first_step(run);
  return {std::move(first), second_step(run)};
}

/// A method may cancel what is large, and a ReLU whose input is near zero may open in one and stay shut in
/// the other: each quantity may be further off by a few times what noises of a few rounding errors in the
/// images make of it. What is smaller than 1e-5 is zero but for rounding errors, such as the gradient of a
/// bias in front of a batch norm.
void check_close(const Quantities& found, const Quantities& wanted, const std::vector<Quantities>& moved,
                 double tolerance) {
  REQUIRE(found.size() == wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto& [name, value] = wanted[i];
    CAPTURE(name);
    REQUIRE(found[i].first == name);
    if (largest_of(value) < 1e-5) {
      CHECK(largest_of(found[i].second) < 1e-4);
      continue;
    }
    double jump = 0.0;
    for (const Quantities& quantities : moved)
      jump = std::max(jump, relative_error(quantities[i].second, value));
    CHECK(jump < 0.1);  // or the images are ill chosen
    CHECK(relative_error(found[i].second, value) < tolerance + 4.0 * jump);
  }
}

TEST_CASE("every method's loss, terms, gradients and state are the CPU's") {
  for (const MethodRunOptions& test : also_standardised()) {
    CAPTURE(test.method);
    CAPTURE(test.optimizer);
    CAPTURE(test.settings.contains("logit_stand"));
    const std::array<Quantities, 2> wanted = two_steps(on(Device::cpu, test));
    const std::array<Quantities, 2> found = two_steps(on(Device::cuda, test));
    std::array<std::vector<Quantities>, 2> moved;
    for (const float noise : {1e-6F, -1e-6F}) {
      MethodRunOptions options = on(Device::cpu, test);
      options.noise = noise;
      const std::array<Quantities, 2> both = two_steps(options);
      for (const std::size_t step : {0U, 1U}) moved[step].push_back(both[step]);
    }
    check_close(found[0], wanted[0], moved[0], 1e-4);
    check_close(found[1], wanted[1], moved[1], 2e-3);
  }
}

/// Gradients as one vector: a few elements may be far off, where a ReLU or a mask of the method's has opened
/// in one and not in the other.
void check_within_roundings(const Quantities& found, const Quantities& wanted) {
  REQUIRE(found.size() == wanted.size());
  double product = 0.0;
  double norm_found = 0.0;
  double norm_wanted = 0.0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto& [name, value] = wanted[i];
    CAPTURE(name);
    REQUIRE(found[i].first == name);
    if (name.starts_with("gradient")) {
      product += testing::weighted_sum(found[i].second, value);
      norm_found += testing::weighted_sum(found[i].second, found[i].second);
      norm_wanted += testing::weighted_sum(value, value);
    } else if (largest_of(value) == 0.0) {
      CHECK(largest_of(found[i].second) == 0.0);
    } else {
      CHECK(relative_error(found[i].second, value) < 3.0 / 256.0);
    }
  }
  if (norm_wanted == 0.0) return;
  CHECK(product / std::sqrt(norm_found * norm_wanted) > 0.998);
}

TEST_CASE("every method's first step in bf16 is the CPU's, within a few roundings") {
  if (const std::string missing = backend(Device::cpu).why_no_bf16(); !missing.empty()) {
    MESSAGE("not tested here: " << missing);
    return;
  }
  for (const MethodRunOptions& test : every_method()) {
    CAPTURE(test.method);
    std::vector<Quantities> steps;
    for (const Device device : {Device::cpu, Device::cuda}) {
      MethodRunOptions options = on(device, test);
      options.step.dtype = DType::bf16;
      MethodRun run(options);
      run.step->start_epoch(1);
      steps.push_back(first_step(run));
    }
    check_within_roundings(steps[1], steps[0]);
  }
}

/// Two epochs of a few steps, the last one of each smaller: what every step measured, and what is left.
Quantities two_epochs(const MethodRunOptions& options) {
  MethodRun run(options);
  Quantities quantities;
  std::int64_t number = 0;
  for (const std::int64_t epoch : {0, 1}) {
    run.step->start_epoch(epoch);
    for (std::int64_t whole = epoch == 0 ? 3 : 2; whole > 0; --whole)
      add_metrics(quantities, run.take(number++));
    add_metrics(quantities, run.take(number++, options.step.batch_size - 1));
  }
  add_states(quantities, run);
  return quantities;
}

bool same_bits(const Quantities& one, const Quantities& other) {
  return std::ranges::equal(one, other, [](const auto& a, const auto& b) {
    return a.first == b.first &&
           std::ranges::equal(a.second.template data<float>(), b.second.template data<float>());
  });
}

TEST_CASE("a method with a schedule does otherwise in another epoch: a step is not recorded for good") {
  for (const MethodRunOptions& test : every_method()) {
    CAPTURE(test.method);
    const bool has_schedule = has_setting(test.method, {"warmup", "curriculum", "decay_end", "weight_gone"});
    const MethodRunOptions options = on(Device::cpu, test);
    CHECK(same_bits(two_steps(options, 0)[1], two_steps(options, 1)[1]) != has_schedule);
  }
}

TEST_CASE("every method's recorded step gives the same bits as its calls one by one") {
  backend(Device::cuda).choose_algorithms({.deterministic = true});
  for (const MethodRunOptions& test : every_method()) {
    CAPTURE(test.method);
    CAPTURE(test.optimizer);
    MethodRunOptions options = on(Device::cuda, test);
    const Quantities wanted = two_epochs(options);
    options.step.record = true;
    const Quantities found = two_epochs(options);
    CHECK(same_bits(found, wanted));
  }
  backend(Device::cuda).choose_algorithms({});
}

}  // namespace
}  // namespace generous
