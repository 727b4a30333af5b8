// Every distillation method in bf16: as near f32 as the networks' own roundings let it be, and exact to
// resume.

#include <cmath>

#include "nn/state_dict.h"
#include "tests/apps/method_run.h"
#include "tests/core/gradcheck.h"

namespace generous {
namespace {

using testing::every_method;
using testing::MethodRun;
using testing::MethodRunOptions;
using testing::weighted_sum;

constexpr double rounding = 1.0 / 256;  // of a number to bf16, at most

bool has_bf16() {
  const std::string missing = backend(Device::cpu).why_no_bf16();
  if (!missing.empty()) MESSAGE("not tested here: " << missing);
  return missing.empty();
}

std::unique_ptr<MethodRun> in(DType dtype, MethodRunOptions options, float noise = 0.0F) {
  options.step.dtype = dtype;
  options.step.batch_size = 8;
  options.noise = noise;
  auto run = std::make_unique<MethodRun>(options);
  run->optimizer->set_learning_rate(0.001F);
  run->step->start_epoch(1);
  return run;
}

double relative_error(float found, float wanted) {
  const auto value = static_cast<double>(wanted);
  const double error = std::abs(static_cast<double>(found) - value);
  return error == 0.0 ? 0.0 : error / std::abs(value);
}

std::vector<std::pair<std::string, Tensor>> gradients_of(const MethodRun& run) {
  std::vector<std::pair<std::string, Tensor>> gradients;
  for (const StateEntry& entry : parameters_of(*run.student, *run.method))
    if (entry.tensor.grad().defined()) gradients.emplace_back(entry.name, entry.tensor.grad());
  return gradients;
}

/// How far they are from pointing the same way.
double turn(const Tensor& a, const Tensor& b) {
  return 1.0 - weighted_sum(a, b) / std::sqrt(weighted_sum(a, a) * weighted_sum(b, b));
}

// What cross-entropy alone has with these networks is a turn of up to 0.02, and 0.004 for noise in the images
// that is as large as their rounding. A method rounds nothing that the networks have not rounded: it may be
// more sensitive, but no more than that noise says.
TEST_CASE("every method's terms and gradients in bf16 are near those in f32") {
  if (!has_bf16()) return;
  for (const MethodRunOptions& test : every_method()) {
    CAPTURE(test.method);
    const auto exact = in(DType::f32, test);
    const auto rounded = in(DType::bf16, test);
    const StepMetrics wanted = exact->take(0);
    const StepMetrics found = rounded->take(0);
    CHECK(found.loss != wanted.loss);
    for (std::size_t i = 0; i < wanted.terms.size(); ++i) {
      CAPTURE(i);
      CHECK(relative_error(found.terms[i], wanted.terms[i]) < 4.0 * rounding);
    }
    const auto exact_gradients = gradients_of(*exact);
    const auto rounded_gradients = gradients_of(*rounded);
    REQUIRE(rounded_gradients.size() == exact_gradients.size());
    std::vector<double> sensitivities(exact_gradients.size(), 0.0);
    for (const float noise : {0.5F, -0.5F}) {
      const auto moved = in(DType::f32, test, noise * static_cast<float>(rounding));
      moved->take(0);
      const auto gradients = gradients_of(*moved);
      for (std::size_t i = 0; i < gradients.size(); ++i)
        sensitivities[i] = std::max(sensitivities[i], turn(gradients[i].second, exact_gradients[i].second));
    }
    for (std::size_t i = 0; i < exact_gradients.size(); ++i) {
      const auto& gradient = exact_gradients[i].second;
      CAPTURE(exact_gradients[i].first);
      // The gradient of a bias in front of a batch norm is zero but for rounding errors.
      if (std::sqrt(weighted_sum(gradient, gradient)) < 1e-4) continue;
      CHECK(turn(rounded_gradients[i].second, gradient) < 0.02 + 6.0 * sensitivities[i]);
    }
  }
}

TEST_CASE("every method trains in bf16 as in f32, and resumes to the bit") {
  if (!has_bf16()) return;
  for (const MethodRunOptions& test : every_method()) {
    CAPTURE(test.method);
    const auto exact = in(DType::f32, test);
    const auto rounded = in(DType::bf16, test);
    for (std::int64_t step = 0; step < 2; ++step)
      CHECK(relative_error(rounded->take(step).loss, exact->take(step).loss) < 5.0 * rounding);
    const auto resumed = in(DType::bf16, test);
    load_state_dict(*resumed->student, state_dict(*rounded->student), "the student");
    load_state_dict(*resumed->method, state_dict(*rounded->method), "the method");
    resumed->optimizer->load_state(rounded->optimizer->state(), "the optimiser");
    const StepMetrics third = rounded->take(2);
    CHECK(relative_error(third.loss, exact->take(2).loss) < 5.0 * rounding);
    CHECK(resumed->take(2).loss == third.loss);
    const NamedTensors wanted = state_dict(parameters_of(*rounded->student, *rounded->method));
    const NamedTensors found = state_dict(parameters_of(*resumed->student, *resumed->method));
    for (std::size_t i = 0; i < wanted.size(); ++i)
      CHECK_MESSAGE(std::ranges::equal(found[i].second.data<float>(), wanted[i].second.data<float>()),
                    wanted[i].first);
  }
}

}  // namespace
}  // namespace generous
