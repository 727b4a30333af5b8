// A batch in slices: for every method either the loss and the gradients of the whole batch, or a refusal.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "nn/state_dict.h"
#include "tests/apps/method_run.h"
#include "tests/nn/golden_files.h"

namespace generous {
namespace {

using testing::MethodRun;
using testing::MethodRunOptions;

/// Both networks without batch norm, whose statistics would be a slice's.
MethodRunOptions options_of(const std::string& method, const std::string& optimizer = "sgd") {
  return {.method = method,
          .teacher = "vgg11",
          .student = "vgg8",
          .image = {32, 32, 3},
          .settings = {{"weak_confidence", "0.1"}, {"lambda", "0.5"}},
          .optimizer = optimizer,
          .step = {.batch_size = 7}};
}

/// What batch norms a method has itself, in connectors, go by their running statistics, as does a projector
/// that it puts behind the student.
void fix_statistics(MethodRun& run) {
  run.method->eval();
  run.student->eval();
}

/// The largest difference of two states, of the largest value in the tensor.
double difference(const NamedTensors& one, const NamedTensors& other) {
  REQUIRE(one.size() == other.size());
  double largest = 0.0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    REQUIRE(one[i].first == other[i].first);
    if (one[i].second.dtype() != DType::f32) continue;
    const auto a = one[i].second.data<float>();
    const auto b = other[i].second.data<float>();
    double scale = 1e-12;
    double apart = 0.0;
    for (std::size_t k = 0; k < a.size(); ++k) {
      scale = std::max(scale, std::abs(static_cast<double>(a[k])));
      apart = std::max(apart, std::abs(static_cast<double>(a[k]) - static_cast<double>(b[k])));
    }
    largest = std::max(largest, apart / scale);
  }
  return largest;
}

}  // namespace

TEST_CASE("every method's loss and gradients are the sums of those of slices, or it is refused") {
  std::vector<std::string> refused;
  std::vector<std::string> without_pair;
  std::vector<std::pair<std::string, std::string>> runs{{"dkd", "dot"}, {"kd,at", "sgd"}, {"kd,rkd", "sgd"}};
  for (const MethodEntry& method : methods()) runs.emplace_back(method.name, "sgd");
  for (const auto& [name, optimizer] : runs) {
    CAPTURE(name);
    CAPTURE(optimizer);
    const MethodRunOptions options = options_of(name, optimizer);
    std::unique_ptr<MethodRun> whole;
    try {
      whole = std::make_unique<MethodRun>(options);
    } catch (const Error&) {
      without_pair.push_back(name);
      continue;
    }
    MethodRun sliced(options);
    fix_statistics(*whole);
    fix_statistics(sliced);
    if (whole->method->needs().relational) {
      CHECK_THROWS_WITH_AS(sliced.take_slices(0, {3, 4}), doctest::Contains("expected a whole batch"), Error);
      refused.push_back(name);
      continue;
    }
    const StepMetrics expected = whole->take(0);
    const StepMetrics found = sliced.take_slices(0, {3, 2, 2});
    CHECK(found.loss == doctest::Approx(expected.loss).epsilon(2e-5));
    CHECK(found.correct == expected.correct);
    CHECK(found.flat_rows == expected.flat_rows);
    for (std::size_t i = 0; i < expected.terms.size(); ++i)
      CHECK(found.terms[i] == doctest::Approx(expected.terms[i]).epsilon(2e-5));
    const NamedTensors velocities = whole->optimizer->state();
    CHECK(difference(velocities, sliced.optimizer->state()) < 2e-4);  // velocities are the first gradients
    CHECK(std::ranges::any_of(velocities, [](const auto& entry) {
      return std::ranges::any_of(entry.second.template data<float>(), [](float v) { return v != 0.0F; });
    }));
  }
  const std::vector<std::string> whole_batch{"kd,rkd", "deepkd", "dist", "lumi", "mlkd", "sp",
                                             "pkt",    "rkd",    "cc",   "crd",  "itrd"};
  CHECK(methods_with_reference(refused, whole_batch) == whole_batch);
  CHECK(methods_with_reference(without_pair, {"ofd"}) == std::vector<std::string>{"ofd"});
}

TEST_CASE("slices with batch norm: the step of a loop written out, to the bit") {
  const MethodRunOptions options{.method = "kd", .step = {.batch_size = 7}};
  MethodRun run(options);
  MethodRun by_hand(options);
  std::vector<Tensor> sums(by_hand.student->parameters().size());
  const std::vector<std::int64_t> counts{3, 4};
  float loss = 0.0F;
  const float found = run.take_slices(2, counts).loss;
  for (const Batch& slice : testing::slices_of(by_hand.batch(2, 7), counts)) {
    Tensor wanted;
    {
      const NoGrad no_grad;
      wanted = by_hand.teacher->forward(slice.images, nullptr);
    }
    const float share = static_cast<float>(slice.rows()) / 7.0F;
    DistillBatch seen{.student = {},
                      .teacher = {},
                      .labels = slice.labels,
                      .indices = slice.indices,
                      .step = Tensor::zeros({}, DType::i64)};
    seen.student.emplace_back().logits = by_hand.student->forward(slice.images, nullptr);
    seen.teacher.emplace_back().logits = wanted;
    const Tensor total = by_hand.method->loss(seen).total();
    backward(total, Tensor::full({}, share));
    loss = loss + total.item() * share;
    std::vector<StateEntry> parameters = by_hand.student->parameters();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Tensor gradient = parameters[i].tensor.grad().clone();
      const NoGrad no_grad;
      sums[i] = sums[i].defined() ? sums[i] + gradient : gradient;
      parameters[i].tensor.clear_grad();
    }
  }
  CHECK(found == loss);
  std::vector<StateEntry> parameters = by_hand.student->parameters();
  for (std::size_t i = 0; i < sums.size(); ++i) parameters[i].tensor.set_grad(sums[i]);
  by_hand.optimizer->step();
  CHECK(difference(run.optimizer->state(), by_hand.optimizer->state()) == 0.0);
  const auto trainable = [](const Network& network) { return state_dict(network.parameters()); };
  CHECK(difference(trainable(*run.student), trainable(*by_hand.student)) == 0.0);
}

}  // namespace generous
