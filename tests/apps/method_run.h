// A student that learns from a teacher by any of the methods, on small random images: what the suites that go
// through all methods share.
#pragma once

#include <map>
#include <numeric>

#include "apps/training/optimization.h"
#include "apps/training/train_step.h"
#include "core/random.h"
#include "nn/distill/methods.h"
#include "nn/models/registry.h"

namespace generous::testing {

struct MethodRunOptions {
  std::string method;
  std::string teacher = "wrn_10_2";
  std::string student = "resnet8";
  Shape image{8, 8, 3};                              ///< {H, W, C}
  std::map<std::string, std::string> settings = {};  ///< of the method, as in flags; others are ignored
  std::string optimizer = "sgd";
  TrainStepOptions step = {.batch_size = 3};
  float noise = 0.0F;  ///< this times standard normal values is added to the images
};

/// Every method, with the optimiser that is its own, and a sum of some; with settings under which every part
/// of it counts in the first steps, and the epoch in its weights.
inline std::vector<MethodRunOptions> every_method() {
  const std::map<std::string, std::string> settings{
      {"warmup", "3"},       {"curriculum", "3"},  {"decay_start", "0"},    {"decay_end", "3"},
      {"weight_falls", "0"}, {"weight_gone", "3"}, {"regularisation", "1"}, {"weak_confidence", "0.2"}};
  std::vector<MethodRunOptions> all{{.method = "dkd", .settings = settings, .optimizer = "dot"},
                                    {.method = "kd,crd,at", .settings = settings}};
  for (const MethodEntry& entry : methods())
    all.push_back(
        {.method = entry.name, .settings = settings, .optimizer = entry.name == "deepkd" ? "deepkd" : "sgd"});
  return all;
}

/// Rows [first, first + count) of a tensor on the host.
template <class T>
Tensor rows_of(const Tensor& x, std::int64_t first, std::int64_t count) {
  const std::int64_t width = x.numel() / x.size(0);
  std::vector<std::int64_t> extents{count};
  for (int axis = 1; axis < x.shape().rank(); ++axis) extents.push_back(x.size(axis));
  const auto values =
      x.data<T>().subspan(static_cast<std::size_t>(first * width), static_cast<std::size_t>(count * width));
  return Tensor::from(std::span<const T>(values), Shape(extents));
}

/// A batch on the host as slices of so many images each.
inline std::vector<Batch> slices_of(const Batch& whole, const std::vector<std::int64_t>& counts) {
  std::vector<Batch> slices;
  std::int64_t first = 0;
  for (const std::int64_t count : counts) {
    Batch slice{.images = rows_of<float>(whole.images, first, count),
                .labels = rows_of<std::int64_t>(whole.labels, first, count),
                .indices = rows_of<std::int64_t>(whole.indices, first, count),
                .first_row = first,
                .whole = whole.rows()};
    if (whole.second_view.defined()) slice.second_view = rows_of<float>(whole.second_view, first, count);
    slices.push_back(std::move(slice));
    first += count;
  }
  return slices;
}

class MethodRun {
 public:
  static constexpr std::int64_t classes = 5;
  static constexpr std::int64_t most_steps = 16;

  /// In epoch 0. Throws Error for a pair that the method cannot join.
  explicit MethodRun(const MethodRunOptions& run_options)
      : options(run_options), method(make_method(options.method)) {
    Options settings("test");
    settings.defaults(options.settings);
    method->declare(settings);
    if (method->needs().teacher) {
      teacher = make_model(options.teacher, model_options(1));
      if (!method->needs().teacher_trains) teacher->freeze();
    }
    student = student_for(*method, make_model(options.student, model_options(2)), teacher.get(),
                          options.image, options.step, 3);
    for (std::int64_t i = 0; i < most_steps * options.step.batch_size; ++i) labels_.push_back(i % classes);
    const Distillation distillation{*student, teacher.get(), *method};
    connect(distillation,
            {.shape = options.image,
             .labels = labels_,
             .classes = classes,
             .for_each_batch = [this](const auto& use) { use(batch(0, options.step.batch_size)); }},
            options.step, 3);
    OptimizerSettings chosen;
    chosen.optimizer = options.optimizer;
    optimizer = chosen.make(parameters_of(*student, *method));
    optimizer->set_learning_rate(0.01F);
    step = std::make_unique<TrainStep>(distillation, *optimizer, options.step);
    step->start_epoch(0);
  }

  /// Step `number` of `most_steps`, with a batch of `count` images, of its own.
  StepMetrics take(std::int64_t number, std::int64_t count) {
    return step->run(batch(number, count), number).read();
  }
  StepMetrics take(std::int64_t number) { return take(number, options.step.batch_size); }
  /// The same with the batch in slices of so many images.
  StepMetrics take_slices(std::int64_t number, const std::vector<std::int64_t>& counts) {
    const std::int64_t whole = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
    return step->run(slices_of(batch(number, whole), counts), number).read();
  }

  /// The images of step `number`.
  Batch batch(std::int64_t number, std::int64_t count) const {
    const std::string name = "images " + std::to_string(number);
    Batch batch{.images = images(name, count),
                .labels = Tensor::empty({count}, DType::i64),
                .indices = Tensor::empty({count}, DType::i64),
                .second_view = images(name + ", second view", count)};
    for (std::int64_t b = 0; b < count; ++b) {
      const std::int64_t index = options.step.batch_size * number + b;
      batch.indices.data<std::int64_t>()[static_cast<std::size_t>(b)] = index;
      batch.labels.data<std::int64_t>()[static_cast<std::size_t>(b)] = index % classes;
    }
    batch.indices = batch.indices.to(options.step.device);
    batch.labels = batch.labels.to(options.step.device);
    return batch;
  }

  MethodRunOptions options;
  std::unique_ptr<Method> method;
  std::unique_ptr<Network> teacher;  ///< null where the method needs none
  std::unique_ptr<Network> student;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<TrainStep> step;

 private:
  ModelOptions model_options(std::uint64_t seed) const {
    return {.classes = classes, .image = options.image, .seed = seed, .device = options.step.device};
  }

  Tensor images(const std::string& name, std::int64_t count) const {
    Tensor images = Tensor::empty({count, options.image[0], options.image[1], options.image[2]});
    const Random random(3, name);
    const Random noise(4, name);
    std::uint64_t next = 0;
    for (float& value : images.data<float>()) {
      value = random.normal(0, 0, next) + options.noise * noise.normal(0, 0, next);
      ++next;
    }
    return images.to(options.step.device);
  }

  std::vector<std::int64_t> labels_;  ///< of the training images
};

}  // namespace generous::testing
