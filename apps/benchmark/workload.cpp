#include "apps/benchmark/workload.h"

#include <algorithm>
#include <numeric>

#include "core/backend.h"
#include "core/random.h"
#include "nn/distill/methods.h"

namespace generous {
namespace {

constexpr std::int64_t least_train_images = 50000;
constexpr float learning_rate = 0.1F;
constexpr std::int64_t warm_epoch = 100;  ///< behind every warm-up

Tensor random_images(std::int64_t batch, const char* view) {
  Tensor images = Tensor::empty({batch, 32, 32, 3});
  const Random random(0, view);
  const std::span<float> pixels = images.data<float>();
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = random.normal(0, 0, i);
  return images;
}

std::vector<std::int64_t> random_labels(std::int64_t batch, std::int64_t classes) {
  std::vector<std::int64_t> labels(static_cast<std::size_t>(std::max(batch, least_train_images)));
  const Random random(0, "benchmark/labels");
  for (std::size_t i = 0; i < labels.size(); ++i)
    labels[i] = random.below(static_cast<std::uint32_t>(classes), 0, 0, i);
  return labels;
}

/// Standard training is the method "none".
std::string method_of(const std::string& stage) { return stage == "standard" ? "none" : stage; }

Tensor first_indices(std::int64_t batch) {
  Tensor indices = Tensor::empty({batch}, DType::i64);
  std::iota(indices.data<std::int64_t>().begin(), indices.data<std::int64_t>().end(), 0);
  return indices;
}

}  // namespace

std::vector<std::string> stage_names() {
  std::vector<std::string> names = {"standard"};
  for (const MethodEntry& method : methods())
    if (method.name != "none") names.push_back(method.name);
  names.emplace_back("infer");
  return names;
}

Workload::Workload(const WorkloadOptions& options)
    : options_(options),
      model_(make_model(options.model, {.classes = options.classes, .device = options.device})),
      batch_{.images = {}, .labels = {}} {
  std::int64_t rows = options.batch;
  if (options.group != nullptr) {
    const std::int64_t rank = options.group->rank();
    const std::int64_t size = options.group->size();
    require(options.batch >= size, "a batch of {} images for {} processes", options.batch, size);
    batch_.first_row = options.batch * rank / size;
    batch_.whole = options.batch;
    rows = options.batch * (rank + 1) / size - batch_.first_row;
  }
  batch_.images = random_images(rows, "benchmark/images").to(options.device);
  if (options.stage == "infer") {
    model_->freeze();
    batch_.images = cast(batch_.images, options.dtype);
    return;
  }
  method_ = make_method(method_of(options.stage));
  if (method_->needs().teacher) {
    teacher_ = make_model(options.teacher.empty() ? options.model : options.teacher,
                          {.classes = options.classes, .seed = 1, .device = options.device});
    if (!method_->needs().teacher_trains) teacher_->freeze();
  }
  const std::vector<std::int64_t> labels = random_labels(options.batch, options.classes);
  batch_.labels =
      Tensor::from(std::span(labels).first(static_cast<std::size_t>(rows)), {rows}).to(options.device);
  batch_.indices = first_indices(rows).to(options.device);
  if (method_->needs().views == 2)
    batch_.second_view = random_images(rows, "benchmark/second view").to(options.device);
  const TrainStepOptions step_options{.dtype = options.dtype, .device = options.device};
  model_ = student_for(*method_, std::move(model_), teacher_.get(), {32, 32, 3}, step_options, 0);
  connect({*model_, teacher_.get(), *method_},
          {.shape = {32, 32, 3},
           .labels = labels,
           .classes = options.classes,
           .for_each_batch = [this](const auto& use) { use(batch_); }},
          step_options, 0);
  optimizer_ = make_sgd(parameters_of(*model_, *method_), {.momentum = 0.9F, .weight_decay = 5e-4F});
  optimizer_->set_learning_rate(learning_rate);
  step_ = make_step(options.record);
}

std::unique_ptr<TrainStep> Workload::make_step(bool record) {
  const TrainStepOptions options{.dtype = options_.dtype,
                                 .device = options_.device,
                                 .record = record,
                                 .batch_size = options_.batch,
                                 .group = options_.group,
                                 .in_order = options_.in_order};
  auto step =
      std::make_unique<TrainStep>(Distillation{*model_, teacher_.get(), *method_}, *optimizer_, options);
  step->start_epoch(warm_epoch);
  return step;
}

std::int64_t Workload::gradients() const {
  std::int64_t values = 0;
  if (method_ != nullptr)
    for (const StateEntry& entry : parameters_of(*model_, *method_)) values += entry.tensor.numel();
  return values;
}

void Workload::step() { run(step_.get()); }

void Workload::compute() {
  if (method_ != nullptr && unrecorded_ == nullptr) unrecorded_ = make_step(false);
  run(unrecorded_.get());
}

/// To its end.
void Workload::run(TrainStep* step) {
  if (step != nullptr) {
    step->run(batch_, steps_++).read();
  } else {
    const NoGrad no_grad;
    (*model_)(batch_.images);
  }
  backend(options_.device).synchronize();
}

}  // namespace generous
