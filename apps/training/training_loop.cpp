#include "apps/training/training_loop.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "apps/training/signals.h"
#include "apps/training/weights.h"
#include "core/files.h"
#include "core/finite.h"
#include "nn/state_dict.h"

namespace generous {

namespace {

LoaderOptions train_options(const Config& config, Device device) {
  return {.batch_size = config.batch_size,
          .workers = static_cast<int>(config.num_workers),
          .seed = static_cast<std::uint64_t>(config.seed),
          .shuffle = config.shuffle,
          .augment = config.augmentation,
          .drop_last = config.drop_last,
          .device = device};
}

LoaderOptions test_options(const Config& config, Device device) {
  return {.batch_size = evaluation_batch,
          .workers = static_cast<int>(config.num_workers),
          .shuffle = false,
          .augment = false,
          .device = device};
}

/// Steps whose metrics are read together: each at once on the CPU, where nothing waits.
std::size_t steps_between_readings(Device device) { return device == Device::cpu ? 1 : 32; }

/// The last columns of metrics.csv: of no two runs the same.
const std::vector<std::string> time_columns = {"images_per_s", "seconds"};

std::vector<std::string> joined(std::vector<std::string> first, const std::vector<std::string>& middle,
                                const std::vector<std::string>& last) {
  first.insert(first.end(), middle.begin(), middle.end());
  first.insert(first.end(), last.begin(), last.end());
  return first;
}

double percent(std::int64_t part, std::int64_t whole) {
  return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

std::vector<std::string> metrics_columns(const Config& config, const Objective& objective) {
  std::vector<std::string> measures = {"train_loss", "train_accuracy", "test_loss", "test_accuracy"};
  if (config.paper_metrics) measures.emplace_back("paper_accuracy");
  return joined(joined({"epoch", "lr"}, objective.terms, measures), time_columns, {});
}

}  // namespace

TrainingLoop::TrainingLoop(const Config& config, const Placing& placing, const Data& data, Module& model,
                           Optimizer& optimizer, const Objective& objective, RunLog& log)
    : config_(config),
      placing_(placing),
      model_(model),
      optimizer_(optimizer),
      objective_(objective),
      log_(log),
      folder_{config.save_path},
      schedule_{config.learning_rate, config.schedule, config.gamma},
      inputs_(data.inputs),
      train_images_(data.train.size()),
      test_images_(data.test.size()),
      train_loader_(data.train, data.info, train_options(config, placing.device)),
      test_loader_(data.test, data.info, test_options(config, placing.device)),
      metrics_(folder_.metrics(), metrics_columns(config, objective)),
      steps_(folder_.steps(), joined({"step", "loss"}, objective.terms, {"lr"})),
      bar_(log.display()),
      step_(model, optimizer, objective,
            {.dtype = placing.dtype,
             .device = placing.device,
             .record = config.record,
             .batch_size = config.batch_size}) {
  position_.sums.terms.resize(objective.terms.size());
  if (config.paper_metrics) position_.paper_best.emplace();
}

std::vector<std::string> TrainingLoop::restore(const TrainingState& state,
                                               const std::filesystem::path& source) {
  require(state.train_images == train_images_,
          "cannot resume {}: the run was started on {} training images, now there are {}", source.string(),
          state.train_images, train_images_);
  std::vector<std::string> notes = check_same_inputs(inputs_, state, source);
  check_reachable(state.position, source.string());
  position_ = state.position;
  if (position_.step > 0) {
    load_state_dict(model_, state.model, source.string());
    require_finite(state.model, source.string());
    require_finite(state.optimizer, source.string());
    optimizer_.load_state(state.optimizer, source.string());
  }
  return joined(std::move(notes), restore_tables(state), {});
}

/// Throws Error unless this run comes through the position.
void TrainingLoop::check_reachable(const Position& position, const std::string& source) const {
  require(position.sums.terms.size() == objective_.terms.size(),
          "{} is damaged: it has {} loss terms, this program has {}", source, position.sums.terms.size(),
          objective_.terms.size());
  require(position.paper_best.has_value() == config_.paper_metrics,
          "{} is damaged: its paper_best_epoch does not go with paper_metrics {}", source,
          config_.paper_metrics ? 1 : 0);
  const std::int64_t batches = train_loader_.batches();
  require(
      position.step_in_epoch <= batches && position.step == position.epoch * batches + position.step_in_epoch,
      "{} is damaged: {} epochs of {} steps and {} steps more are not its {} steps", source, position.epoch,
      batches, position.step_in_epoch, position.step);
  const std::int64_t images = train_loader_.images_in(position.step_in_epoch);
  require(position.sums.images == images, "{} is damaged: {} steps of an epoch have {} images, not {}",
          source, position.step_in_epoch, images, position.sums.images);
}

/// Takes over the run's tables, and looks for its best weights. Returns what was missing.
std::vector<std::string> TrainingLoop::restore_tables(const TrainingState& state) {
  std::vector<std::string> notes;
  metrics_.keep_rows_up_to(position_.epoch);
  const auto epochs = static_cast<std::size_t>(position_.epoch);
  if (state.metrics) {
    const std::size_t made =
        metrics_.complete(*state.metrics, time_columns.size(), folder_.training_state().string());
    if (made > 0)
      notes.push_back(
          fmt::format("{} lacked {} of {} epochs: they are back from the training state, without {}",
                      folder_.metrics().string(), made, epochs, fmt::join(time_columns, " and ")));
  }
  if (metrics_.size() < epochs)
    notes.push_back(fmt::format("{} has {} of {} epochs, and the training state does not have the others",
                                folder_.metrics().string(), metrics_.size(), epochs));
  const bool had_steps = file_exists(folder_.steps());
  if (steps_.keep_rows_up_to(position_.step))
    notes.push_back(fmt::format("{}: the last row was cut off, and is left out", folder_.steps().string()));
  if (!had_steps && config_.log_steps > 0 && position_.step >= config_.log_steps)
    notes.push_back(fmt::format("{} is missing: it begins again after step {}", folder_.steps().string(),
                                position_.step));
  if (position_.best_epoch > 0 && !file_exists(folder_.best_model()))
    notes.push_back(
        fmt::format("{} is missing: the weights of the best epoch so far, {} with top-1 {:.2f} %, are lost; "
                    "it is written when "
                    "an epoch is better than that",
                    folder_.best_model().string(), position_.best_epoch, position_.best_accuracy));
  return notes;
}

std::string TrainingLoop::examine_teacher() {
  const bool epoch_done = position_.step_in_epoch == train_loader_.batches();
  const TeacherFault fault = teacher_fault(epoch_done ? 0 : position_.step_in_epoch);
  require(!fault.fatal, "{}: it is damaged, or of another dtype; no student can learn from it", fault.what);
  return fault.what;
}

/// Of the batch of this step of the epoch, which is made again: the loader then goes on behind it.
TeacherFault TrainingLoop::teacher_fault(std::int64_t step_in_epoch) {
  if (!objective_.teacher_fault) return {};
  train_loader_.start_epoch(position_.epoch, step_in_epoch);
  const Batch batch = *train_loader_.next();
  return objective_.teacher_fault({cast(batch.images, placing_.dtype), batch.labels});
}

void TrainingLoop::save_start() const {
  write_training_state(folder_.training_state(), {position_,
                                                  to_json(config_),
                                                  train_images_,
                                                  inputs_,
                                                  metrics_.rows_without(time_columns.size()),
                                                  {},
                                                  {}});
}

int TrainingLoop::run() {
  const StopSignals signals;
  try {
    return run_epochs();
  } catch (const std::exception& error) {
    bar_.clear();
    log_.line(fmt::format("stopped: {}", error.what()));
    try {
      log_.write();
    } catch (const Error&) {  // a full disk, most likely: the first error says so
    }
    throw;
  }
}

int TrainingLoop::run_epochs() {
  while (position_.epoch < config_.num_epochs)
    if (StopSignals::received() != 0 || steps_exhausted() || !train_epoch() || !finish_epoch()) return stop();
  std::string paper;
  if (position_.paper_best)
    paper = fmt::format(", by the paper's program's rule {:.2f} % in epoch {}",
                        position_.paper_best->accuracy, position_.paper_best->epoch);
  log_.line(fmt::format("done: best top-1 {:.2f} % in epoch {}{}; weights, metrics and log are in {}",
                        position_.best_accuracy, position_.best_epoch, paper, config_.save_path));
  log_.write();
  return StopSignals::received() == 0 ? 0 : 128 + StopSignals::received();
}

/// The rest of the epoch's steps; false if the run is to stop before the epoch's evaluation.
bool TrainingLoop::train_epoch() {
  model_.train();
  const std::int64_t batches = train_loader_.batches();
  if (position_.step_in_epoch < batches) train_loader_.start_epoch(position_.epoch, position_.step_in_epoch);
  step_.start_epoch(position_.epoch);
  optimizer_.set_learning_rate(learning_rate());
  const double start = now_seconds() - position_.sums.seconds;
  bool stopping = false;
  while (position_.step_in_epoch < batches && !stopping) {
    train_step(*train_loader_.next());
    stopping = StopSignals::received() != 0 || (steps_exhausted() && position_.step_in_epoch < batches);
    if (stopping || position_.step_in_epoch == batches ||
        pending_.size() == steps_between_readings(placing_.device)) {
      account();
      position_.sums.seconds = now_seconds() - start;
      show_training();
    }
  }
  return !stopping;
}

void TrainingLoop::train_step(const Batch& batch) {
  StepMetrics metrics = step_.run(batch, position_.step);
  ++position_.step;
  ++position_.step_in_epoch;
  pending_.push_back({.step = position_.step, .images = batch.labels.numel(), .metrics = std::move(metrics)});
}

/// Reads the metrics of the steps since the last reading into the epoch's sums and steps.csv.
void TrainingLoop::account() {
  EpochSums& sums = position_.sums;
  for (const PendingStep& pending : pending_) {
    const float total = pending.metrics.loss.item();
    if (!std::isfinite(total)) {
      const TeacherFault fault = teacher_fault(position_.step_in_epoch - 1 - (position_.step - pending.step));
      if (!fault.what.empty())
        fail("the loss became {} in epoch {} at step {} of the run: {}; checkpoints are as they were", total,
             position_.epoch + 1, pending.step, fault.what);
      diverged(fmt::format("the loss became {}", total), pending.step);
    }
    const auto weight = static_cast<double>(pending.images);
    std::vector<std::string> row = {exact(total)};
    sums.images += pending.images;
    sums.correct += static_cast<std::int64_t>(pending.metrics.correct.item());
    sums.loss += static_cast<double>(total) * weight;
    if (pending.metrics.flat_rows.defined())
      flat_rows_ += static_cast<std::int64_t>(pending.metrics.flat_rows.item());
    for (std::size_t i = 0; i < pending.metrics.terms.size(); ++i) {
      const float term = pending.metrics.terms[i].item();
      sums.terms[i] += static_cast<double>(term) * weight;
      row.push_back(exact(term));
    }
    row.push_back(exact(learning_rate()));
    if (config_.log_steps > 0 && pending.step % config_.log_steps == 0) steps_.add_row(pending.step, row);
  }
  pending_.clear();
}

/// Evaluates, saves and goes to the next epoch; false if a signal came first.
bool TrainingLoop::finish_epoch() {
  const double start = now_seconds();
  const auto test = evaluate(model_, test_loader_, placing_.dtype, [&](std::int64_t images) {
    show_evaluation(images);
    return StopSignals::received() == 0;
  });
  if (!test) return false;
  if (!test->not_finite.empty())
    diverged(fmt::format("the logits of the test images became {}", test->not_finite), position_.step);
  if (!std::isfinite(test->loss))
    diverged(fmt::format("the test loss became {}", test->loss), position_.step);
  const NamedTensors weights = finite_weights();
  finish_row(*test, now_seconds() - start);

  const bool best = position_.best_epoch == 0 || test->top1() > position_.best_accuracy;
  ++position_.epoch;
  position_.step_in_epoch = 0;
  if (best) {
    position_.best_epoch = position_.epoch;
    position_.best_accuracy = test->top1();
    write_weights(folder_.best_model(), weights, config_, inputs_.classes);
  }
  if (position_.paper_best && test->paper_accuracy >= position_.paper_best->accuracy)
    position_.paper_best = {.epoch = position_.epoch, .accuracy = test->paper_accuracy};
  position_.sums = {};
  position_.sums.terms.resize(objective_.terms.size());
  save(weights);
  return true;
}

/// The epoch's row of metrics.csv and its line in the log.
void TrainingLoop::finish_row(const Evaluation& test, double evaluation_seconds) {
  const EpochSums& sums = position_.sums;
  const auto images = static_cast<double>(sums.images);
  last_epoch_seconds_ = sums.seconds + evaluation_seconds;
  std::vector<std::string> terms;
  std::string words;
  for (std::size_t i = 0; i < sums.terms.size(); ++i) {
    terms.push_back(exact(sums.terms[i] / images));
    if (sums.terms.size() > 1)
      words += fmt::format(" {} {:.4f}", objective_.terms[i], sums.terms[i] / images);
  }
  const double train_accuracy = percent(sums.correct, sums.images);
  const double rate = images / sums.seconds;
  std::vector<std::string> measures = {exact(sums.loss / images), exact(train_accuracy), exact(test.loss),
                                       exact(test.top1())};
  if (config_.paper_metrics) measures.push_back(exact(test.paper_accuracy));
  measures = joined(std::move(measures), {exact(rate), exact(last_epoch_seconds_)}, {});
  metrics_.add_row(position_.epoch + 1, joined({exact(learning_rate())}, terms, measures));
  bar_.clear();
  log_.line(fmt::format(
      "epoch {}/{}  lr {:.6g}  train: loss {:.4f}{} top-1 {:.2f} %  test: loss {:.4f} top-1 {:.2f} %  "
      "{:.0f} images/s  {}",
      position_.epoch + 1, config_.num_epochs, learning_rate(), sums.loss / images, words, train_accuracy,
      test.loss, test.top1(), rate, duration(last_epoch_seconds_)));
  note_flat_rows();
}

/// Says how many images of the epoch under way gave no non-target knowledge, if any.
void TrainingLoop::note_flat_rows() {
  if (flat_rows_ > 0)
    log_.line(
        fmt::format("note: in epoch {}, {} images had the same logit for every class in one of the networks "
                    "(sigma is 0) and gave no non-target knowledge",
                    position_.epoch + 1, flat_rows_));
  flat_rows_ = 0;
}

/// Saves before the run's end and returns the exit code.
int TrainingLoop::stop() {
  bar_.clear();
  const int signal = StopSignals::received();
  const NamedTensors weights = finite_weights();
  const std::string by = signal == 0 ? "--max_steps" : fmt::format("SIG{}", sigabbrev_np(signal));
  note_flat_rows();
  log_.line(fmt::format("stopped by {} in epoch {} after step {} of the run; --resume goes on from here", by,
                        position_.epoch + 1, position_.step));
  save(weights);
  return signal == 0 ? 0 : 128 + signal;
}

/// The state comes last: until it is replaced, a resume starts from the previous one and makes the rest
/// again.
void TrainingLoop::save(const NamedTensors& weights) const {
  write_weights(folder_.last_model(), weights, config_, inputs_.classes);
  metrics_.write();
  if (config_.log_steps > 0) steps_.write();
  log_.write();
  save_state(weights);
}

void TrainingLoop::save_state(const NamedTensors& weights) const {
  write_training_state(folder_.training_state(),
                       {position_, to_json(config_), train_images_, inputs_,
                        metrics_.rows_without(time_columns.size()), weights, optimizer_.state()});
}

/// The state dict, in which everything is finite: nothing else is ever saved.
NamedTensors TrainingLoop::finite_weights() const {
  NamedTensors weights = state_dict(model_);
  for (const auto& [name, tensor] : weights) {
    if (tensor.dtype() != DType::f32) continue;
    for (const float value : tensor.data<float>())
      if (!std::isfinite(value))
        diverged(fmt::format("the weight {} became {}", name, value), position_.step);
  }
  return weights;
}

void TrainingLoop::diverged(const std::string& what, std::int64_t step) const {
  fail(
      "{} in epoch {} at step {} of the run with learning rate {}; checkpoints are as they were; try a lower "
      "one",
      what, position_.epoch + 1, step, learning_rate());
}

void TrainingLoop::show_training() {
  if (!bar_.due()) return;
  const EpochSums& sums = position_.sums;
  const std::int64_t images = train_loader_.images_in(train_loader_.batches());
  const double rate = static_cast<double>(sums.images) / sums.seconds;
  const double left = static_cast<double>(images - sums.images) / rate;
  const auto whole_epochs_left = static_cast<double>(config_.num_epochs - position_.epoch - 1);
  const double epoch_seconds =
      last_epoch_seconds_ > 0 ? last_epoch_seconds_ : static_cast<double>(images) / rate;
  bar_.update(percent(sums.images, images) / 100.0,
              fmt::format("epoch {}/{}  loss {:.4f}  top-1 {:.1f} %  {:.0f} images/s  epoch {}, run {} left",
                          position_.epoch + 1, config_.num_epochs,
                          sums.loss / static_cast<double>(sums.images), percent(sums.correct, sums.images),
                          rate, duration(left), duration(left + whole_epochs_left * epoch_seconds)));
}

void TrainingLoop::show_evaluation(std::int64_t images) {
  bar_.update(percent(images, test_images_) / 100.0,
              fmt::format("epoch {}/{}  testing", position_.epoch + 1, config_.num_epochs));
}

}  // namespace generous
