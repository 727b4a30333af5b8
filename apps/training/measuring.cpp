#include "apps/training/measuring.h"

#include <fmt/format.h>

#include <cmath>

#include "core/counted.h"

namespace generous {

namespace {

LoaderOptions in_order(const LoaderOptions& training) {
  return {.batch_size = evaluation_batch,
          .workers = training.workers,
          .shuffle = false,
          .augment = false,
          .share = training.share,
          .device = training.device};
}

std::string fault_of(const Evaluation& evaluation, const std::string& images) {
  if (!evaluation.not_finite.empty())
    return fmt::format("the logits of the {} images became {}", images, evaluation.not_finite);
  if (!std::isfinite(evaluation.loss))
    return fmt::format("the {} loss became {}", images, shown(evaluation.loss));
  return {};
}

std::string fault_of(const Measured& measured) {
  const std::string fault = fault_of(measured.test, "test");
  return fault.empty() && measured.validation ? fault_of(*measured.validation, "validation") : fault;
}

/// The model has its averaged weights while this lives.
class Exchanged {
 public:
  explicit Exchanged(WeightAverage& average) : average_(average) { average_.exchange(); }
  ~Exchanged() { average_.exchange(); }
  Exchanged(const Exchanged&) = delete;
  Exchanged& operator=(const Exchanged&) = delete;

 private:
  WeightAverage& average_;
};

}  // namespace

std::string fault_of(const EpochMeasures& measures) {
  std::string fault = fault_of(measures.weights);
  if (!fault.empty() || !measures.average) return fault;
  fault = fault_of(*measures.average);
  return fault.empty() ? fault : fault + " by the averaged weights";
}

Measuring::Measuring(const Data& data, const LoaderOptions& training, const EvaluationOptions& options)
    : test_(data.test, data.info, in_order(training)),
      test_images_(data.test.size()),
      validation_images_(data.validation ? data.validation->size() : 0),
      options_(options) {
  if (data.validation) validation_.emplace(*data.validation, data.info, in_order(training));
}

std::optional<Evaluation> Measuring::test(Module& model, const GoOn& go_on) {
  return evaluate(model, test_, options_, [&](std::int64_t images) { return go_on(images, test_images_); });
}

std::optional<Measured> Measuring::measure(Module& model, const GoOn& go_on) {
  const std::int64_t all = test_images_ + validation_images_;
  const auto test = evaluate(model, test_, options_, [&](std::int64_t images) { return go_on(images, all); });
  if (!test) return std::nullopt;
  Measured measured{.test = *test, .validation = {}};
  if (!validation_ || !fault_of(measured).empty()) return measured;
  measured.validation = evaluate(model, *validation_, options_,
                                 [&](std::int64_t images) { return go_on(test_images_ + images, all); });
  return measured.validation ? std::optional(measured) : std::nullopt;
}

std::optional<EpochMeasures> Measuring::measure(Module& model, WeightAverage* average, const GoOn& go_on) {
  // All of it counts as one whole.
  const std::int64_t passes = average == nullptr ? 1 : 2;
  std::int64_t pass = 0;
  const GoOn go_on_in_all = [&](std::int64_t images, std::int64_t all) {
    return go_on(pass * all + images, passes * all);
  };
  const std::optional<Measured> weights = measure(model, go_on_in_all);
  if (!weights) return std::nullopt;
  EpochMeasures measures{.weights = *weights, .average = {}};
  if (average == nullptr || !fault_of(measures).empty()) return measures;
  const Exchanged exchanged(*average);
  pass = 1;
  measures.average = measure(model, go_on_in_all);
  return measures.average ? std::optional(measures) : std::nullopt;
}

}  // namespace generous
