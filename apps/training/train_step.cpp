#include "apps/training/train_step.h"

namespace generous {

namespace {

constexpr int warm_up_steps = 2;

StepMetrics clone(const StepMetrics& metrics) {
  StepMetrics copy{
      .loss = metrics.loss.clone(), .terms = {}, .correct = metrics.correct.clone(), .flat_rows = {}};
  if (metrics.flat_rows.defined()) copy.flat_rows = metrics.flat_rows.clone();
  for (const Tensor& term : metrics.terms) copy.terms.push_back(term.clone());
  return copy;
}

}  // namespace

TrainStep::TrainStep(Module& model, Optimizer& optimizer, const Objective& objective,
                     const TrainStepOptions& options)
    : model_(model),
      optimizer_(optimizer),
      objective_(objective),
      options_(options),
      step_(Tensor::zeros({}, DType::i64, options.device)) {
  model_.count_steps_by(step_);
}

void TrainStep::start_epoch(std::int64_t epoch) {
  epoch_ = epoch;
  recorded_ = nullptr;
}

StepMetrics TrainStep::run(const Batch& batch, std::int64_t step) {
  backend(options_.device).copy_from_host(&step, step_);
  if (!runs_recorded(batch)) {
    compute(batch);
    if (batch.labels.size(0) == options_.batch_size) ++whole_batches_;
    return metrics_;
  }
  if (!inputs_.images.defined()) inputs_ = {batch.images.clone(), batch.labels.clone()};
  backend(options_.device).copy(batch.images, inputs_.images);
  backend(options_.device).copy(batch.labels, inputs_.labels);
  if (recorded_ == nullptr)
    recorded_ = backend(options_.device).record([this] { compute(inputs_); });
  else
    recorded_->replay();
  return clone(metrics_);
}

bool TrainStep::runs_recorded(const Batch& batch) const {
  return options_.record && options_.device != Device::cpu && whole_batches_ >= warm_up_steps &&
         batch.labels.size(0) == options_.batch_size;
}

void TrainStep::compute(const Batch& batch) {
  // What the last step left goes first, so that this one finds its memory.
  optimizer_.zero_grad();
  metrics_ = {};
  const Batch typed{cast(batch.images, options_.dtype), batch.labels};  // what model and teachers compute in
  const Tensor logits = model_(typed.images);
  const Loss loss = objective_.loss(logits, typed, epoch_);
  backward(loss.total);
  optimizer_.step();
  metrics_ = {.loss = loss.total.detach(),
              .terms = {},
              .correct = count_top_k(logits.detach(), batch.labels, 1),
              .flat_rows = loss.flat_rows};
  for (const Tensor& term : loss.terms) metrics_.terms.push_back(term.detach());
}

}  // namespace generous
