#include "apps/benchmark/workload.h"

#include <map>

#include "core/backend.h"
#include "core/random.h"
#include "nn/losses.h"

namespace generous {
namespace {

constexpr std::int64_t classes = 10;
constexpr float learning_rate = 0.1F;

using LossFunction = Tensor (*)(const Tensor& logits, const Tensor& teacher_logits, const Tensor& labels);

/// What each training stage minimises.
const std::map<std::string, LossFunction>& losses() {
  static const std::map<std::string, LossFunction> all = {
      {"standard", [](const Tensor& logits, const Tensor&,
                      const Tensor& labels) { return cross_entropy(logits, labels); }},
      {"generous",
       [](const Tensor& logits, const Tensor& teacher_logits, const Tensor& labels) {
         return generous_loss(logits, teacher_logits, labels, {}).total;
       }},
      {"kd", [](const Tensor& logits, const Tensor& teacher_logits, const Tensor& labels) {
         return kd_loss(logits, teacher_logits, labels, {}).total;
       }}};
  return all;
}

Tensor random_images(std::int64_t batch) {
  Tensor images = Tensor::empty({batch, 32, 32, 3});
  const Random random(0, "benchmark/images");
  const std::span<float> pixels = images.data<float>();
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = random.normal(0, 0, i);
  return images;
}

Tensor random_labels(std::int64_t batch) {
  Tensor labels = Tensor::empty({batch}, DType::i64);
  const Random random(0, "benchmark/labels");
  const std::span<std::int64_t> values = labels.data<std::int64_t>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.below(classes, 0, 0, i);
  return labels;
}

}  // namespace

std::vector<std::string> stage_names() {
  std::vector<std::string> names;
  for (const auto& [name, loss] : losses()) names.push_back(name);
  names.emplace_back("infer");
  return names;
}

Workload::Workload(const WorkloadOptions& options)
    : options_(options),
      model_(make_model(options.model, {.classes = classes, .device = options.device})),
      images_(cast(random_images(options.batch).to(options.device), options.dtype)),
      labels_(random_labels(options.batch).to(options.device)) {
  if (options.stage == "infer") {
    model_->freeze();
    return;
  }
  optimizer_ = make_sgd(*model_, {.momentum = 0.9F, .weight_decay = 5e-4F});
  optimizer_->set_learning_rate(learning_rate);
  if (options.stage != "standard") {
    teacher_ = make_model(options.model, {.classes = classes, .seed = 1, .device = options.device});
    teacher_->freeze();
  }
}

void Workload::step() {
  const bool recording = options_.record && options_.device != Device::cpu && ++steps_ > 2;
  if (!recording) return compute();
  if (recorded_ == nullptr)
    recorded_ = backend(options_.device).record([this] { ask_for_step(); });
  else
    recorded_->replay();
  backend(options_.device).synchronize();
}

void Workload::compute() {
  ask_for_step();
  if (loss_.defined()) loss_.item();
  backend(options_.device).synchronize();
}

/// Everything but waiting for it.
void Workload::ask_for_step() {
  if (options_.stage == "infer") {
    const NoGrad no_grad;
    (*model_)(images_);
    return;
  }
  optimizer_->zero_grad();
  loss_ = Tensor();
  Tensor teacher_logits;
  if (teacher_ != nullptr) {
    const NoGrad no_grad;
    teacher_logits = (*teacher_)(images_);
  }
  const Tensor loss = losses().at(options_.stage)((*model_)(images_), teacher_logits, labels_);
  backward(loss);
  optimizer_->step();
  loss_ = loss.detach();
}

}  // namespace generous
