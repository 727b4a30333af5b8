#include "apps/training/training_loop.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "apps/training/signals.h"
#include "nn/state_dict.h"

namespace generous {

namespace {

/// Steps whose metrics are read together: each at once on the CPU, where nothing waits.
std::size_t steps_between_readings(Device device) { return device == Device::cpu ? 1 : 32; }

LoaderOptions test_batches(const LoaderOptions& training) {
  return {.batch_size = evaluation_batch,
          .workers = training.workers,
          .shuffle = false,
          .augment = false,
          .device = training.device};
}

}  // namespace

void LoopSettings::declare(Options& options) {
  options.group("run");
  options.add(
      "max_steps", max_steps,
      {.help = "stop after so many steps in all; 0: no limit", .min = 0, .max = 1e12, .role = Role::call});
  options.group("training");
  options.add(
      "num_epochs", num_epochs,
      {.help = "passes over the training images", .min = 1, .max = max_epochs, .role = Role::flexible});
}

TrainingLoop::TrainingLoop(const Training& training, RunIdentity run, const ReportSettings& report,
                           RunLog& log)
    : training_(training),
      run_(std::move(run)),
      train_loader_(training.data.train, training.data.info, training.batches),
      test_loader_(training.data.test, training.data.info, test_batches(training.batches)),
      report_(run_.folder, report, training.method.terms(), training.loop.num_epochs, log),
      step_({training.student, training.teacher.model.get(), training.method}, training.optimizer,
            training.step) {
  position_.sums.terms.resize(training.method.terms().size());
  if (report.paper_metrics) position_.paper_best.emplace();
}

std::string TrainingLoop::examine_teacher() {
  const bool epoch_done = position_.step_in_epoch == train_loader_.batches();
  const TeacherFault fault = teacher_fault(epoch_done ? 0 : position_.step_in_epoch);
  require(!fault.fatal, "{}: it is damaged, or of another dtype; no student can learn from it", fault.what);
  return fault.what;
}

/// Of the batch of this step of the epoch, which is made again: the loader then goes on behind it.
TeacherFault TrainingLoop::teacher_fault(std::int64_t step_in_epoch) {
  if (training_.teacher.model == nullptr) return {};
  train_loader_.start_epoch(position_.epoch, step_in_epoch);
  return training_.teacher.examine(cast(train_loader_.next()->images, training_.step.dtype));
}

void TrainingLoop::save_start() const { save_state(run_, position_, report_.metrics_rows(), {}); }

int TrainingLoop::run() {
  const StopSignals signals;
  try {
    return run_epochs();
  } catch (const std::exception& error) {
    report_.line(fmt::format("stopped: {}", error.what()));
    try {
      report_.log().write();
    } catch (const Error&) {  // a full disk, most likely: the first error says so
    }
    throw;
  }
}

int TrainingLoop::run_epochs() {
  while (position_.epoch < training_.loop.num_epochs)
    if (StopSignals::received() != 0 || steps_exhausted() || !train_epoch() || !finish_epoch()) return stop();
  std::string paper;
  if (position_.paper_best)
    paper = fmt::format(", by the paper's program's rule {:.2f} % in epoch {}",
                        position_.paper_best->accuracy, position_.paper_best->epoch);
  report_.log().line(
      fmt::format("done: best top-1 {:.2f} % in epoch {}{}; weights, metrics and log are in {}",
                  position_.best_accuracy, position_.best_epoch, paper, run_.folder.path.string()));
  report_.log().write();
  return StopSignals::received() == 0 ? 0 : 128 + StopSignals::received();
}

/// The rest of the epoch's steps; false if the run is to stop before the epoch's evaluation.
bool TrainingLoop::train_epoch() {
  training_.student.train();
  const std::int64_t batches = train_loader_.batches();
  if (position_.step_in_epoch < batches) train_loader_.start_epoch(position_.epoch, position_.step_in_epoch);
  step_.start_epoch(position_.epoch);
  training_.optimizer.set_learning_rate(learning_rate());
  const double start = now_seconds() - position_.sums.seconds;
  bool stopping = false;
  while (position_.step_in_epoch < batches && !stopping) {
    train_step(*train_loader_.next());
    stopping = StopSignals::received() != 0 || (steps_exhausted() && position_.step_in_epoch < batches);
    if (stopping || position_.step_in_epoch == batches ||
        pending_.size() == steps_between_readings(training_.step.device)) {
      account();
      position_.sums.seconds = now_seconds() - start;
      report_.show_training(position_, train_loader_.images_in(batches));
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
    StepRow row{.step = pending.step, .loss = total, .terms = {}, .learning_rate = learning_rate()};
    sums.images += pending.images;
    sums.correct += static_cast<std::int64_t>(pending.metrics.correct.item());
    sums.loss += static_cast<double>(total) * weight;
    if (pending.metrics.flat_rows.defined())
      report_.add_flat_rows(static_cast<std::int64_t>(pending.metrics.flat_rows.item()));
    for (std::size_t i = 0; i < pending.metrics.terms.size(); ++i) {
      row.terms.push_back(pending.metrics.terms[i].item());
      sums.terms[i] += static_cast<double>(row.terms.back()) * weight;
    }
    report_.add_step(row);
  }
  pending_.clear();
}

/// Evaluates, saves and goes to the next epoch; false if a signal came first.
bool TrainingLoop::finish_epoch() {
  const double start = now_seconds();
  const auto test = evaluate(training_.student, test_loader_, training_.step.dtype, [&](std::int64_t images) {
    report_.show_evaluation(position_, images, training_.data.test.size());
    return StopSignals::received() == 0;
  });
  if (!test) return false;
  if (!test->not_finite.empty())
    diverged(fmt::format("the logits of the test images became {}", test->not_finite), position_.step);
  if (!std::isfinite(test->loss))
    diverged(fmt::format("the test loss became {}", test->loss), position_.step);
  Snapshot snapshot = finite_snapshot();
  report_.add_epoch(position_, learning_rate(), *test, now_seconds() - start);

  const bool best = position_.best_epoch == 0 || test->top1() > position_.best_accuracy;
  ++position_.epoch;
  position_.step_in_epoch = 0;
  if (best) {
    position_.best_epoch = position_.epoch;
    position_.best_accuracy = test->top1();
    save_best(run_, snapshot.model);
  }
  if (position_.paper_best && test->paper_accuracy >= position_.paper_best->accuracy)
    position_.paper_best = {.epoch = position_.epoch, .accuracy = test->paper_accuracy};
  const std::size_t terms = position_.sums.terms.size();
  position_.sums = {};
  position_.sums.terms.resize(terms);
  save(std::move(snapshot));
  return true;
}

/// Saves before the run's end and returns the exit code.
int TrainingLoop::stop() {
  const int signal = StopSignals::received();
  Snapshot snapshot = finite_snapshot();
  const std::string by = signal == 0 ? "--max_steps" : fmt::format("SIG{}", sigabbrev_np(signal));
  report_.note_flat_rows(position_);
  report_.line(fmt::format("stopped by {} in epoch {} after step {} of the run; --resume goes on from here",
                           by, position_.epoch + 1, position_.step));
  save(std::move(snapshot));
  return signal == 0 ? 0 : 128 + signal;
}

void TrainingLoop::save(Snapshot snapshot) const {
  save_last(run_, snapshot.model);
  report_.write();
  save_state(run_, position_, report_.metrics_rows(), std::move(snapshot));
}

/// Everything in it is finite: nothing else is ever saved.
Snapshot TrainingLoop::finite_snapshot() const {
  Snapshot snapshot{.model = state_dict(training_.student),
                    .method = state_dict(training_.method),
                    .optimizer = training_.optimizer.state()};
  for (const NamedTensors* weights : {&snapshot.model, &snapshot.method})
    if (const std::string what = not_finite_in(*weights); !what.empty()) diverged(what, position_.step);
  return snapshot;
}

void TrainingLoop::diverged(const std::string& what, std::int64_t step) const {
  fail(
      "{} in epoch {} at step {} of the run with learning rate {}; checkpoints are as they were; try a lower "
      "one",
      what, position_.epoch + 1, step, learning_rate());
}

}  // namespace generous
