// One model file of the reference values (tests/golden/README.md) against what the project computes.
#pragma once

#include <doctest/doctest.h>
#include <fmt/ranges.h>

#include <map>

#include "nn/distill/generous.h"
#include "nn/models/registry.h"
#include "nn/optim.h"
#include "nn/state_dict.h"
#include "tests/nn/golden_compare.h"
#include "tests/nn/golden_fill.h"

namespace generous {

using nlohmann::json;

inline Shape shape_of(const json& dims) {
  return Shape(std::span<const std::int64_t>(dims.get<std::vector<std::int64_t>>()));
}

inline void expect_none(const Complaints& complaints) {
  CHECK_MESSAGE(complaints.empty(), fmt::format("\n{}", fmt::join(complaints, "\n")));
}

/// A model file's model with the deterministic weights, and its inputs.
struct GoldenModel {
  explicit GoldenModel(const json& file)
      : input(shape_of(file.at("input"))),
        classes(file.at("classes").get<std::int64_t>()),
        images(nchw_to_nhwc(golden_values("input", input, 1.0))),
        labels(golden_labels(input[0], classes)),
        teacher_logits(golden_values("teacher_logits", {input[0], classes}, 3.0)),
        model(make_model(file.at("model").get<std::string>(),
                         {.classes = classes, .image = {input[2], input[3], input[1]}})) {
    NamedTensors weights;
    for (const auto& [name, tensor] : state_dict(*model))
      weights.emplace_back(name, golden_state(name, tensor.shape()));
    load_state_dict(*model, weights, "the deterministic fill");
  }

  Loss loss(const Tensor& logits) const {
    return generous_loss(logits, teacher_logits, labels, {.tn = 1.0F, .alpha = 1.0F, .warmup = 0.5F});
  }

  Shape input;  ///< {N, C, H, W}
  std::int64_t classes;
  Tensor images;  ///< {N, H, W, C}
  Tensor labels;
  Tensor teacher_logits;
  std::unique_ptr<Module> model;
};

inline void check_state(const json& file, const Module& model) {
  const NamedTensors state = state_dict(model);
  const json& expected = file.at("state_dict");
  REQUIRE(state.size() == expected.size());
  for (std::size_t i = 0; i < state.size(); ++i) {
    CHECK(state[i].first == expected[i].at(0).get<std::string>());
    CHECK(state[i].second.shape() == shape_of(expected[i].at(1)));
  }
  CHECK(model.parameter_count() == file.at("params").get<std::int64_t>());
}

/// One tensor per parameter, in PyTorch's layout, by name.
using NamedGradients = std::map<std::string, Tensor>;
using Allowances = std::map<std::string, Allowance>;

inline NamedGradients gradients_of(const Module& model) {
  NamedGradients all;
  for (const StateEntry& entry : model.parameters()) {
    REQUIRE_MESSAGE(entry.tensor.grad().defined(), entry.name);
    all.emplace(entry.name, to_disk_layout(entry.tensor.grad(), entry.layout));
  }
  return all;
}

// A bias before a batch norm has no gradient in theory: the files have norms of about 1e-16 for it. In single
// precision it is the rounding error of a sum whose terms are of the size of the other gradients.
inline constexpr double zero = 1e-9;
inline constexpr double zero_tolerance = 1e-5;

inline Allowances gradient_allowances(const json& file, const NamedGradients& gradients) {
  double largest_norm = 0.0;
  for (const json& entry : file.at("grad")) largest_norm = std::max(largest_norm, Summary(entry).norm);
  Allowances allowances;
  for (const auto& [name, gradient] : gradients) {
    const Summary expected(file.at("grad").at(name));
    allowances[name] = expected.norm < zero
                           ? Allowance{zero_tolerance * largest_norm, zero_tolerance * largest_norm}
                           : relative_allowance(expected, gradient.numel(), gradient_tolerance);
  }
  return allowances;
}

inline Complaints compare_gradients(const json& file, const NamedGradients& gradients,
                                    const Allowances& allowances) {
  Complaints complaints;
  for (const auto& [name, gradient] : gradients)
    compare_summary(gradient, Summary(file.at("grad").at(name)), allowances.at(name), "gradient of " + name,
                    complaints);
  return complaints;
}

// A gradient jumps where the input of a ReLU crosses zero, or where another element of a pooling window
// becomes the largest. An input closer to zero than its rounding error may fall on either side and adds its
// summand or does not: PyTorch in single precision, too, misses some of its own double-precision gradients by
// 2e-3, and which ones depends on the machine. Where the strict comparison fails, the jumps within the reach
// of rounding errors are measured and allowed: twice (several can add up) the largest change of each gradient
// under a few noises in the images, of the size of a few rounding errors.
inline constexpr double noise_scale = 5e-7;
inline constexpr int noises = 6;

inline void allow_measured_jumps(const json& file, const NamedGradients& reference, Allowances& allowances) {
  Allowances jumps;
  for (int i = 0; i < noises; ++i) {
    const GoldenModel golden(file);
    const Tensor noise = nchw_to_nhwc(golden_values(fmt::format("noise{}", i), golden.input, noise_scale));
    backward(golden.loss(golden.model->forward(golden.images + noise)).total());
    for (const auto& [name, gradient] : gradients_of(*golden.model)) {
      const Tensor change = gradient - reference.at(name);
      Allowance& jump = jumps[name];
      jump.norm = std::max(jump.norm, norm_of(change.data<float>()));
      for (const float value : change.data<float>())
        jump.element = std::max(jump.element, std::abs(static_cast<double>(value)));
    }
  }
  for (auto& [name, allowance] : allowances) {
    allowance.norm += 2.0 * jumps.at(name).norm;
    allowance.element += 2.0 * jumps.at(name).element;
  }
}

/// In training mode a batch of two leaves the last batch norms of a deep network few values to normalise by:
/// they amplify the rounding errors of a hundred layers. Where the strict comparison fails, that is measured
/// in the same way: twice the largest change of a logit under the noises.
inline double measured_logit_error(const json& file, const Tensor& reference) {
  const NoGrad guard;
  double largest = 0.0;
  for (int i = 0; i < noises; ++i) {
    const GoldenModel golden(file);
    const Tensor noise = nchw_to_nhwc(golden_values(fmt::format("noise{}", i), golden.input, noise_scale));
    const Tensor change = golden.model->forward(golden.images + noise) - reference;
    for (const float value : change.data<float>())
      largest = std::max(largest, std::abs(static_cast<double>(value)));
  }
  return 2.0 * largest;
}

/// A step moves a parameter by learning_rate times the gradient, and its error with it.
inline Complaints compare_after_step(const json& file, const Module& model, float learning_rate,
                                     const Allowances& gradient_errors) {
  const json& expected = file.at("after_step");
  Complaints complaints;
  std::size_t compared = 0;
  for (const auto& [name, tensor] : state_dict(model)) {
    if (name.ends_with("num_batches_tracked")) {
      CHECK(tensor.data<std::int64_t>()[0] == 1);  // one batch in training mode so far
      continue;
    }
    const Summary summary(expected.at(name));
    Allowance allowance = relative_allowance(summary, tensor.numel(), value_tolerance);
    const auto it = gradient_errors.find(name);
    if (it != gradient_errors.end()) {  // buffers have no gradient
      allowance.norm += static_cast<double>(learning_rate) * it->second.norm;
      allowance.element += static_cast<double>(learning_rate) * it->second.element;
    }
    compare_summary(tensor, summary, allowance, name + " after the step", complaints);
    ++compared;
  }
  CHECK(compared == expected.size());
  return complaints;
}

/// `logit_error` is allowed besides the tolerance.
inline Complaints compare_outputs(const json& file, const Tensor& logits, const Loss& loss,
                                  double logit_error = 0.0) {
  Complaints complaints;
  compare_matrix(logits, file.at("train_logits"), "training logits", complaints, logit_error);
  const auto compare_loss = [&](const Tensor& value, const std::string& key) {
    const double expected = file.at(key).get<double>();
    compare(static_cast<double>(value.item()), expected, value_tolerance * expected, key, complaints);
  };
  compare_loss(loss.terms[0], "cross_entropy");
  compare_loss(loss.terms[1], "nckd");
  compare_loss(loss.total(), "generous_loss");
  return complaints;
}

/// Checks everything a model file has on the current CPU backend.
inline void check_golden_model(const json& file) {
  const GoldenModel golden(file);
  Module& model = *golden.model;
  check_state(file, model);
  REQUIRE(std::ranges::equal(golden.labels.data<std::int64_t>(),
                             file.at("labels").get<std::vector<std::int64_t>>()));

  model.eval();
  const GoldenModel frozen(file);
  frozen.model->freeze();
  Complaints complaints;
  {
    const NoGrad guard;
    compare_matrix(model(golden.images), file.at("eval_logits"), "evaluation logits", complaints);
    compare_matrix((*frozen.model)(golden.images), file.at("eval_logits"), "frozen logits", complaints);
  }
  expect_none(complaints);

  model.train();
  const auto optimizer = make_sgd(model, {.momentum = 0.9F, .weight_decay = 5e-4F});
  const Tensor logits = model(golden.images);
  const Loss loss = golden.loss(logits);
  Complaints outputs = compare_outputs(file, logits, loss);
  if (!outputs.empty()) outputs = compare_outputs(file, logits, loss, measured_logit_error(file, logits));
  expect_none(outputs);

  backward(loss.total());
  const NamedGradients gradients = gradients_of(model);
  REQUIRE(gradients.size() == file.at("grad").size());
  Allowances allowances = gradient_allowances(file, gradients);
  if (!compare_gradients(file, gradients, allowances).empty())
    allow_measured_jumps(file, gradients, allowances);
  expect_none(compare_gradients(file, gradients, allowances));

  constexpr float learning_rate = 0.1F;
  optimizer->set_learning_rate(learning_rate);
  optimizer->step();
  expect_none(compare_after_step(file, model, learning_rate, allowances));
}

}  // namespace generous
