// The methods on features where no reference values are: gradients along every input and parameter by
// differences, unusual batches, pairs of networks that cannot be joined.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/random.h"
#include "nn/distill/crd.h"
#include "nn/distill/methods.h"
#include "nn/state_dict.h"
#include "tests/core/cpu_implementations.h"
#include "tests/core/gradcheck.h"

namespace generous {
namespace {

constexpr std::int64_t classes = 3;
/// The classes of the images to train on; the batches' images are the first of these.
const std::vector<std::int64_t> train_labels{0, 2, 1, 2, 0, 1, 2, 2, 0, 1};

std::vector<std::string> feature_methods() {
  std::vector<std::string> names;
  for (const MethodEntry& entry : methods())
    // SimKD has no connectors of its own: suite reused_classifier.
    if (const Needs needs = entry.make()->needs();
        needs.features && needs.views == 1 && entry.name != "simkd")
      names.push_back(entry.name);
  return names;
}

/// Which channels each network's stages have, from the stem on, and their heights and widths.
struct Stages {
  std::string name;
  std::vector<std::int64_t> channels;
  std::vector<std::int64_t> sizes;
};
const Stages small{"student", {3, 4, 5, 6}, {8, 8, 4, 2}};
const Stages large{"teacher", {5, 7, 8, 9}, {8, 8, 4, 2}};

/// What a network of such stages says of a batch, and its batch norms.
struct Said {
  Said(const Stages& stages, std::int64_t batch) {
    for (std::size_t i = 0; i < stages.channels.size(); ++i) {
      const Shape shape{batch, stages.sizes[i], stages.sizes[i], stages.channels[i]};
      outputs.features.stages.push_back(
          testing::random_tensor(shape, stages.name + std::to_string(i) + shape.str()));
      norms.push_back(std::make_unique<BatchNorm>(stages.channels[i]));
      norms.back()->initialise(0);
      outputs.features.norms.push_back(norms.back().get());
    }
    outputs.features.before_relu = outputs.features.stages;
    const Shape pooled{batch, stages.channels.back()};
    outputs.features.pooled = testing::random_tensor(pooled, stages.name + " pooled" + pooled.str());
    outputs.logits = testing::random_tensor({batch, classes}, stages.name + " logits");
    outputs.classifier = {
        .weight = testing::random_tensor({classes, stages.channels.back()}, stages.name + " classifier"),
        .bias = testing::random_tensor({classes}, stages.name + " classifier's bias")};
  }
  /// All that a method may look at, but for the logits.
  std::vector<Tensor> tensors() const {
    std::vector<Tensor> all = outputs.features.stages;
    all.push_back(outputs.features.pooled);
    return all;
  }
  Outputs outputs;
  std::vector<std::unique_ptr<BatchNorm>> norms;
};

/// The first images' indices and labels.
DistillBatch batch_of(const Said& student, const Said& teacher, std::int64_t step = 0) {
  const std::int64_t batch = student.outputs.logits.size(0);
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < batch; ++i) indices.push_back(i);
  const std::vector<std::int64_t> labels(train_labels.begin(), train_labels.begin() + batch);
  return {.student = {student.outputs},
          .teacher = {teacher.outputs},
          .labels = Tensor::from(labels, {batch}),
          .indices = Tensor::from(indices, {batch}),
          .step = Tensor::from(std::vector<std::int64_t>{step}, {}),
          .epoch = 100};
}

std::unique_ptr<Method> connected(const std::string& name, const Said& student, const Said& teacher,
                                  const std::vector<std::string>& flags = {}) {
  std::unique_ptr<Method> method = make_method(name);
  Options options("test", flags);
  method->declare(options);
  options.check_names();
  const std::int64_t width = teacher.outputs.features.pooled.size(1);
  method->connect(student.outputs, teacher.outputs,
                  {.labels = train_labels,
                   .classes = classes,
                   .class_means = testing::random_tensor({classes, width}, "class means")});
  method->initialise(5);
  return method;
}

double value_of(const Loss& loss) { return static_cast<double>(loss.distillation.item()); }

bool all_finite(const Tensor& x) {
  return std::ranges::all_of(x.data<float>(), [](float value) { return std::isfinite(value); });
}

/// A step's distillation term and every gradient that it gives are finite.
void check_finite(Method& method, const Said& student, const Said& teacher) {
  std::vector<Tensor> inputs = student.tensors();
  for (Tensor& input : inputs) input.require_grad();
  Said leaves = Said(small, 1);
  leaves.outputs = student.outputs;
  leaves.outputs.features.stages = {inputs.begin(), inputs.end() - 1};
  leaves.outputs.features.before_relu = leaves.outputs.features.stages;
  leaves.outputs.features.pooled = inputs.back();
  const Loss loss = method.loss(batch_of(leaves, teacher));
  CHECK(std::isfinite(value_of(loss)));
  backward(loss.total() + 0.0F * sum(inputs.back()));
  for (const Tensor& input : inputs)
    if (input.grad().defined()) CHECK(all_finite(input.grad()));
  for (const StateEntry& entry : method.parameters())
    if (entry.tensor.grad().defined()) CHECK_MESSAGE(all_finite(entry.tensor.grad()), entry.name);
}

/// The derivative of the term along its own gradient, of one tensor at a time, is the gradient's norm.
void check_gradient(const std::string& name) {
  CAPTURE(name);
  constexpr std::int64_t batch = 4;
  Said student(small, batch);
  const Said teacher(large, batch);
  // CRD's 16384 negatives of ten images would be a loss too large for differences.
  const std::vector<std::string> flags =
      name == "crd" ? std::vector<std::string>{"--negatives", "8"} : std::vector<std::string>{};
  const std::unique_ptr<Method> method = connected(name, student, teacher, flags);
  method->loss(batch_of(student, teacher));  // CRD's constants are the first batch's
  const NamedTensors start = state_dict(*method);
  std::vector<std::pair<std::string, Tensor>> all;
  for (Tensor& stage : student.outputs.features.stages) {
    stage.require_grad();
    all.emplace_back("stage " + std::to_string(all.size()), stage);
  }
  student.outputs.features.before_relu = student.outputs.features.stages;
  student.outputs.features.pooled.require_grad();
  all.emplace_back("pooled", student.outputs.features.pooled);
  for (const StateEntry& entry : method->parameters()) all.emplace_back(entry.name, entry.tensor);
  const auto evaluate = [&] {
    load_state_dict(*method, start, "the start");  // a step moves buffers
    return method->loss(batch_of(student, teacher)).distillation;
  };
  backward(evaluate());
  double largest = 0.0;
  std::vector<std::vector<float>> gradients;
  for (const auto& [what, tensor] : all) {
    gradients.emplace_back();
    if (!tensor.grad().defined()) continue;
    gradients.back() = {tensor.grad().data<float>().begin(), tensor.grad().data<float>().end()};
    for (const float g : gradients.back()) largest = std::max(largest, std::abs(static_cast<double>(g)));
  }
  REQUIRE(largest > 0.0);
  const NoGrad no_grad;
  NamedTensors moved = start;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (gradients[i].empty()) continue;
    const std::string& what = all[i].first;
    const Tensor& tensor = all[i].second;
    CAPTURE(what);
    double norm = 0.0;
    double size = 0.0;
    for (const float g : gradients[i]) norm += static_cast<double>(g) * static_cast<double>(g);
    for (const float x : tensor.data<float>()) size += static_cast<double>(x) * static_cast<double>(x);
    norm = std::sqrt(norm);
    if (norm < 1e-4 * largest) continue;  // a bias before a batch norm
    const double step = 2e-3 * std::sqrt(size + 0.01);
    const std::vector<float> original{tensor.data<float>().begin(), tensor.data<float>().end()};
    const bool parameter = i >= student.outputs.features.stages.size() + 1;
    const auto at = [&](double distance) {
      Tensor x = tensor.detach();
      load_state_dict(*method, start, "the start");
      for (std::size_t k = 0; k < original.size(); ++k)
        x.data<float>()[k] =
            original[k] + static_cast<float>(distance * static_cast<double>(gradients[i][k]) / norm);
      const double value = value_of(method->loss(batch_of(student, teacher)));
      std::ranges::copy(original, x.data<float>().begin());
      return value;
    };
    CHECK_MESSAGE((parameter || !original.empty()), what);
    const double numeric = (at(step) - at(-step)) / (2.0 * step);
    CHECK(numeric == doctest::Approx(norm).epsilon(0.03));
  }
}

}  // namespace

TEST_CASE("gradients of every method, along every input and parameter") {
  on_every_cpu_implementation([] {
    for (const std::string& name : feature_methods()) check_gradient(name);
  });
}

TEST_CASE("equal images, channels that are 0 everywhere, a class without images: finite") {
  for (const std::string& name : feature_methods()) {
    CAPTURE(name);
    Said student(small, 4);
    Said teacher(large, 4);
    const std::unique_ptr<Method> method = connected(name, student, teacher);
    for (Said* said : {&student, &teacher})
      for (Tensor& x : said->tensors()) {
        // The second image is the first one; the last channel is 0.
        const auto values = x.data<float>();
        const std::size_t size = values.size() / 4;
        std::copy_n(values.begin(), size, values.begin() + static_cast<std::ptrdiff_t>(size));
        const auto width = static_cast<std::size_t>(x.size(-1));
        for (std::size_t i = width - 1; i < values.size(); i += width) values[i] = 0.0F;
      }
    check_finite(*method, student, teacher);
    for (Said* said : {&student, &teacher})
      for (Tensor& x : said->tensors()) std::ranges::fill(x.data<float>(), 0.0F);
    check_finite(*method, student, teacher);
  }
}

TEST_CASE("a batch of one: finite, or one line about its batch norms") {
  for (const std::string& name : feature_methods()) {
    CAPTURE(name);
    const Said student(small, 1);
    const Said teacher(large, 1);
    const std::unique_ptr<Method> method = connected(name, student, teacher);
    try {
      check_finite(*method, student, teacher);
    } catch (const Error& error) {
      const std::string message = error.what();
      CHECK(message.starts_with("batch_norm: training needs more than one value per channel"));
      CHECK(message.find('\n') == std::string::npos);
    }
  }
}

TEST_CASE("a pair that a method cannot join is refused in one line") {
  const auto refusal = [](const std::string& name, const Said& student, const Said& teacher,
                          const std::vector<std::string>& flags = {}) -> std::string {
    try {
      connected(name, student, teacher, flags);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const Said student(small, 1);
  const Said teacher(large, 1);
  const Stages tiny{"student", {3, 4, 5, 6}, {3, 3, 3, 3}};
  CHECK(refusal("fitnet", Said(tiny, 1), teacher) ==
        "fitnet: the student's images of 3x3 cannot become the teacher's of 4x4: they have to be at least as "
        "large, or half as large");
  CHECK(refusal("fitnet", student, teacher, {"--hint_layer", "4"}) ==
        "fitnet: the student has 4 features, none of number 4");
  CHECK(refusal("wkd_f", student, teacher, {"--grid", "2"}) ==
        "wkd_f: the teacher's images of 2x2 have no 2x2 equal cells of more than one pixel: see grid");
  CHECK(refusal("ofd", student, teacher, {"--kernel_size", "2"}) ==
        "ofd: kernel_size is 2 and has to be odd");
  Said without(large, 1);
  without.outputs.features.norms[2] = nullptr;
  CHECK(refusal("ofd", student, without) ==
        "ofd: the teacher has no batch norm before the last ReLU of its stage 2 of 3 to take margins from");
  Said no_stages(large, 1);
  no_stages.outputs.features.stages.clear();
  no_stages.outputs.features.before_relu.clear();
  for (const char* name : {"at", "nst", "sp", "vid", "reviewkd", "mgd", "wkd_f"})
    CHECK(refusal(name, student, no_stages) ==
          std::string(name) + ": the teacher has no stages whose features could be compared");
}

TEST_CASE("stages are paired from the last one") {
  const Stages deeper{"teacher", {5, 6, 7, 8, 9}, {16, 16, 8, 4, 2}};
  for (const std::string& name : feature_methods()) {
    CAPTURE(name);
    const Said student(small, 4);
    const Said teacher(deeper, 4);
    const std::unique_ptr<Method> method = connected(name, student, teacher);
    check_finite(*method, student, teacher);
  }
  const Said student(small, 4);
  const Said teacher(deeper, 4);
  Said last_three(large, 4);
  for (std::size_t i = 0; i < 4; ++i)
    last_three.outputs.features.stages[i] = teacher.outputs.features.stages[i + 1];
  for (const char* name : {"at", "nst"}) {
    const std::unique_ptr<Method> method = connected(name, student, teacher);
    CHECK(value_of(method->loss(batch_of(student, teacher))) ==
          value_of(method->loss(batch_of(student, last_three))));
  }
}

TEST_CASE("CRD: its negatives depend on the step, its banks move where the batch is") {
  const Said student(small, 4);
  const Said teacher(large, 4);
  const auto loss_in_step = [&](std::int64_t step) {
    const std::unique_ptr<Method> method = connected("crd", student, teacher, {"--negatives", "3"});
    return value_of(method->loss(batch_of(student, teacher, step)));
  };
  CHECK(loss_in_step(7) == loss_in_step(7));
  CHECK(loss_in_step(7) != loss_in_step(8));

  const std::unique_ptr<Method> method = connected("crd", student, teacher);
  const NamedTensors before = state_dict(*method);
  method->loss(batch_of(student, teacher));
  const NamedTensors after = state_dict(*method);
  int banks = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i].first.starts_with("Z_")) CHECK(after[i].second.item() > 0.0F);
    if (!before[i].first.starts_with("memory_")) continue;
    ++banks;
    const auto width = static_cast<std::size_t>(before[i].second.size(1));
    for (std::size_t row = 0; row < train_labels.size(); ++row) {
      const auto old_row = before[i].second.data<float>().subspan(row * width, width);
      const auto new_row = after[i].second.data<float>().subspan(row * width, width);
      CHECK(std::ranges::equal(old_row, new_row) == (row >= 4));
    }
  }
  CHECK(banks == 2);
}

}  // namespace generous
