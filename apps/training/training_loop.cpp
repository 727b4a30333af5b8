#include "apps/training/training_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "apps/training/memory.h"
#include "apps/training/signals.h"
#include "core/counted.h"
#include "nn/state_dict.h"

namespace generous {

namespace {

/// Steps whose metrics are read together: each at once on the CPU, where nothing waits.
std::size_t steps_between_readings(Device device) { return device == Device::cpu ? 1 : 32; }

/// Whether this epoch is better than all before it; if so, it is noted.
bool improve(Best& best, std::int64_t epoch, const Measured& measured) {
  const double accuracy = measured.choosing().top1();
  if (best.epoch > 0 && accuracy <= best.accuracy) return false;
  best.epoch = epoch;
  best.accuracy = accuracy;
  if (measured.validation) best.test_accuracy = measured.test.top1();
  return true;
}

}  // namespace

void LoopSettings::declare(Options& options) {
  options.group("run");
  options.add(
      "max_steps", max_steps,
      {.help = "stop after so many steps in all; 0: no limit", .min = 0, .max = 1e12, .role = Role::call});
  options.add("save_every", save_every,
              {.help = "keep the weights of every so many epochs as epoch_N_model.safetensors; 0: none",
               .min = 0,
               .max = max_epochs,
               .role = Role::flexible});
  options.group("training");
  options.add(
      "num_epochs", num_epochs,
      {.help = "passes over the training images", .min = 1, .max = max_epochs, .role = Role::flexible});
  options.add("patience", patience,
              {.help = "stop early after so many epochs that brought no better one; 0: never",
               .min = 0,
               .max = max_epochs,
               .role = Role::flexible});
}

bool LoopSettings::out_of_patience(const Position& position) const {
  const std::int64_t better = std::max(position.best.epoch, position.ema_best.value_or(Best{}).epoch);
  return patience > 0 && position.epoch - better >= patience;
}

std::string LoopSettings::words_of_patience() const {
  return patience == 1 ? "as it was not better" : fmt::format("as none of the last {} was better", patience);
}

TrainingLoop::TrainingLoop(const Training& training, RunIdentity run, const ReportSettings& report,
                           RunLog& log)
    : training_(training),
      run_(std::move(run)),
      train_loader_(training.data.train, training.data.info, training.batches),
      measuring_(training.data, training.batches,
                 {.dtype = training.step.dtype, .record = training.step.record, .group = &training.group}),
      report_(run_.folder, report, training.method.terms(), training.loop.num_epochs, log),
      step_({training.student, training.teacher.model.get(), training.method}, training.optimizer,
            training.step, training.average) {
  if (training.data.validation) position_.best.test_accuracy.emplace();
  if (training.average != nullptr) position_.ema_best = position_.best;
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
  return training_.teacher.examine(train_loader_.next()->view(0, training_.step.dtype));
}

void TrainingLoop::save_start() const {
  if (training_.group.is_first()) save_state(run_, position_, report_.metrics_rows(), {});
}

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

/// What the teacher knows, in one line.
void TrainingLoop::report_teacher() {
  if (training_.teacher.model == nullptr || !training_.teacher.measured) return;
  Network& teacher = *training_.teacher.model;
  const bool trains = teacher.training();
  const auto test = measuring_.test(teacher, [&](std::int64_t images, std::int64_t all) {
    report_.show_teacher(images, all);
    return StopSignals::received() == 0;
  });
  if (trains) teacher.train();
  if (!test) return;
  const std::string& name = training_.teacher.name;
  if (!test->not_finite.empty())
    report_.line(
        fmt::format("teacher {}: no accuracy: a logit of the test images is {}", name, test->not_finite));
  else
    report_.line(fmt::format("teacher {}: top-1 {:.2f} %, top-5 {:.2f} % of the test images", name,
                             test->top1(), test->top5()));
}

int TrainingLoop::run_epochs() {
  if (position_.step == 0) report_teacher();
  const auto over = [this] {
    return position_.epoch >= training_.loop.num_epochs || training_.loop.out_of_patience(position_);
  };
  while (!over())
    if (stop_asked() || steps_exhausted() || !train_epoch() || !finish_epoch()) return stop();
  const bool early = position_.epoch < training_.loop.num_epochs;
  const std::string end = early ? fmt::format("stopped early after epoch {}, {} (--patience)",
                                              position_.epoch, training_.loop.words_of_patience())
                                : "done";
  report_.log().line(fmt::format("{}: {}; weights, metrics and log are in {}; at most {} MiB of memory", end,
                                 words_of_best(position_), run_.folder.path.string(), peak_memory_mib()));
  report_.log().write();
  return stop_asked() ? 128 + signal_ : 0;
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
    train_step();
    stopping = stop_asked() || (steps_exhausted() && position_.step_in_epoch < batches);
    if (stopping || position_.step_in_epoch == batches ||
        pending_.size() == steps_between_readings(training_.step.device)) {
      account();
      position_.sums.seconds = now_seconds() - start;
      report_.show_training(position_, train_loader_.images_in(batches));
    }
  }
  return !stopping;
}

void TrainingLoop::train_step() {
  std::vector<Batch> slices;
  for (std::int64_t i = 0; i < training_.batches.slices / training_.batches.share.of; ++i)
    slices.push_back(*train_loader_.next());
  PendingMetrics metrics = step_.run(slices, position_.step);
  measures_.reset();
  ++position_.step;
  ++position_.step_in_epoch;
  pending_.push_back(
      {.step = position_.step, .images = slices[0].whole_rows(), .metrics = std::move(metrics)});
}

/// Reads the metrics of the steps since the last reading into the epoch's sums and steps.csv.
void TrainingLoop::account() {
  EpochSums& sums = position_.sums;
  for (const PendingStep& pending : pending_) {
    const StepMetrics metrics = pending.metrics.read();
    const float total = metrics.loss;
    if (!std::isfinite(total)) {
      const TeacherFault fault = teacher_fault(position_.step_in_epoch - 1 - (position_.step - pending.step));
      if (!fault.what.empty())
        throw SharedError(fmt::format(
            "the loss became {} in epoch {} at step {} of the run: {}; checkpoints are as they were",
            shown(total), position_.epoch + 1, pending.step, fault.what));
      diverged(fmt::format("the loss became {}", shown(total)), pending.step);
    }
    const auto weight = static_cast<double>(pending.images);
    StepRow row{
        .step = pending.step, .loss = total, .terms = metrics.terms, .learning_rate = learning_rate()};
    sums.images += pending.images;
    sums.correct += static_cast<std::int64_t>(metrics.correct);
    sums.loss += static_cast<double>(total) * weight;
    if (metrics.flat_rows) report_.add_flat_rows(static_cast<std::int64_t>(*metrics.flat_rows));
    for (std::size_t i = 0; i < metrics.terms.size(); ++i)
      sums.terms[i] += static_cast<double>(metrics.terms[i]) * weight;
    report_.add_step(row);
  }
  pending_.clear();
}

/// Evaluates, saves and goes to the next epoch; false if a signal came first.
bool TrainingLoop::finish_epoch() {
  const double start = now_seconds();
  share_statistics();
  const auto measures =
      measuring_.measure(training_.student, training_.average, [&](std::int64_t images, std::int64_t all) {
        report_.show_evaluation(position_, images, all);
        return StopSignals::received() == 0;
      });
  if (!measures) return false;
  if (const std::string fault = fault_of(*measures); !fault.empty()) diverged(fault, position_.step);
  Snapshot snapshot = finite_snapshot();
  report_.add_epoch(position_, {.learning_rate = learning_rate(),
                                .measures = *measures,
                                .weights = snapshot.model,
                                .evaluation_seconds = now_seconds() - start});
  ++position_.epoch;
  position_.step_in_epoch = 0;
  measures_ = measures;
  save_epoch(*measures, snapshot);
  const std::size_t terms = position_.sums.terms.size();
  position_.sums = {};
  position_.sums.terms.resize(terms);
  save(std::move(snapshot));
  return true;
}

/// What weights that were measured now, or were not measured, say of themselves.
WeightsOrigin TrainingLoop::origin_of(const Measured* measured) const {
  WeightsOrigin origin = run_.origin;
  if (measured == nullptr) return origin;
  origin.epoch = position_.epoch;
  origin.top1 = measured->test.top1();
  if (measured->validation) origin.validation_top1 = measured->validation->top1();
  return origin;
}

/// The weights of the epoch that ended, where they are the best so far or to be kept.
void TrainingLoop::save_epoch(const EpochMeasures& measures, const Snapshot& snapshot) {
  const std::int64_t epoch = position_.epoch;
  const RunFolder& folder = run_.folder;
  const bool kept = training_.loop.save_every > 0 && epoch % training_.loop.save_every == 0;
  if (improve(position_.best, epoch, measures.weights))
    write(folder.best_model(), snapshot.model, &measures.weights);
  if (kept) write(folder.epoch_model(epoch), snapshot.model, &measures.weights);
  if (measures.average) {
    if (improve(*position_.ema_best, epoch, *measures.average))
      write(folder.ema_best_model(), snapshot.average, &*measures.average);
    if (kept) write(folder.ema_epoch_model(epoch), snapshot.average, &*measures.average);
  }
  const double paper_accuracy = measures.weights.test.paper_accuracy;
  if (position_.paper_best && paper_accuracy >= position_.paper_best->accuracy)
    position_.paper_best = {.epoch = epoch, .accuracy = paper_accuracy};
}

/// Saves before the run's end, unless nothing was trained since its start was saved, and returns the exit
/// code.
int TrainingLoop::stop() {
  const bool asked = stop_asked();
  std::optional<Snapshot> snapshot;
  if (position_.step > 0) {
    share_statistics();
    snapshot = finite_snapshot();
  }
  const std::string by = asked ? fmt::format("SIG{}{}", sigabbrev_np(signal_), stopped_) : "--max_steps";
  report_.note_flat_rows(position_);
  report_.line(fmt::format("stopped by {} in epoch {} after step {} of the run; --resume goes on from here",
                           by, position_.epoch + 1, position_.step));
  if (snapshot)
    save(std::move(*snapshot));
  else
    report_.write();
  return asked ? 128 + signal_ : 0;
}

void TrainingLoop::write(const std::filesystem::path& file, const NamedTensors& weights,
                         const Measured* measured) const {
  if (training_.group.is_first()) write_weights(file, weights, origin_of(measured));
}

void TrainingLoop::save(Snapshot snapshot) const {
  write(run_.folder.last_model(), snapshot.model, measures_ ? &measures_->weights : nullptr);
  if (training_.average != nullptr)
    write(run_.folder.ema_last_model(), snapshot.average,
          measures_ && measures_->average ? &*measures_->average : nullptr);
  report_.write();
  if (training_.group.is_first()) save_state(run_, position_, report_.metrics_rows(), std::move(snapshot));
}

/// Everything in it is finite: nothing else is ever saved.
Snapshot TrainingLoop::finite_snapshot() const {
  Snapshot snapshot{.model = state_dict(training_.student),
                    .method = state_dict(training_.method),
                    .optimizer = training_.optimizer.state(),
                    .average = {}};
  if (training_.average != nullptr) snapshot.average = training_.average->state();
  for (const NamedTensors* weights : {&snapshot.model, &snapshot.method, &snapshot.average})
    if (const std::string what = not_finite_in(*weights); !what.empty()) diverged(what, position_.step);
  return snapshot;
}

/// Whether a signal asked any process of the group to stop. Called by all of them.
bool TrainingLoop::stop_asked() {
  if (signal_ != 0) return true;
  Group& group = training_.group;
  // Of several the first process with the largest signal.
  const int found = group.most(StopSignals::received() * group.size() + (group.size() - 1 - group.rank()));
  signal_ = found / group.size();
  if (signal_ != 0 && group.size() > 1)
    stopped_ = fmt::format(" (rank {} of {})", group.size() - 1 - found % group.size(), group.size());
  return signal_ != 0;
}

/// What is computed of a process's own slices and moves without gradients, as rank 0 has it: all processes
/// measure the same weights.
void TrainingLoop::share_statistics() {
  std::vector<StateEntry> entries = training_.student.state();
  const auto add = [&entries](const std::vector<StateEntry>& more) {
    entries.insert(entries.end(), more.begin(), more.end());
  };
  add(training_.method.state());
  if (training_.average != nullptr) add(training_.average->entries());
  for (StateEntry& entry : entries) {
    if (entry.trainable) continue;
    Tensor host = entry.tensor.to(Device::cpu);
    training_.group.broadcast({static_cast<std::byte*>(host.raw()), host.bytes()});
    if (const Device device = entry.tensor.device(); device != Device::cpu)
      backend(device).copy_from_host(host.raw(), entry.tensor);
  }
}

void TrainingLoop::diverged(const std::string& what, std::int64_t step) const {
  throw SharedError(fmt::format(
      "{} in epoch {} at step {} of the run with learning rate {}; checkpoints are as they were; try a lower "
      "one",
      what, position_.epoch + 1, step, learning_rate()));
}

}  // namespace generous
