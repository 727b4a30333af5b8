#include "apps/training/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "apps/training/epoch_summary.h"
#include "core/counted.h"
#include "core/files.h"

namespace generous {

namespace {

/// No rate is over less.
constexpr double shortest_seconds = 1e-9;
/// The last columns of metrics.csv: of no two runs the same.
const std::vector<std::string> time_columns = {"images_per_s", "seconds"};

using Columns = std::vector<std::string>;

Columns joined(Columns first, const Columns& middle, const Columns& last) {
  first.insert(first.end(), middle.begin(), middle.end());
  first.insert(first.end(), last.begin(), last.end());
  return first;
}

double percent(std::int64_t part, std::int64_t whole) {
  return 100.0 * static_cast<double>(part) / static_cast<double>(std::max<std::int64_t>(whole, 1));
}

/// The terms that have columns: a single one is the loss itself.
Columns columns_of(const Columns& terms) { return terms.size() > 1 ? terms : Columns(); }

Columns metrics_columns(const Columns& terms, const ReportSettings& settings) {
  Columns measures = {"train_top1_percent", "test_loss", "test_top1_percent", "test_top5_percent"};
  if (settings.paper_metrics) measures.emplace_back("paper_top1_percent");
  if (settings.average) measures.emplace_back("ema_top1_percent");
  if (settings.validation) {
    measures.insert(measures.end(),
                    {"validation_loss", "validation_top1_percent", "validation_top5_percent"});
    if (settings.average) measures.emplace_back("ema_validation_top1_percent");
  }
  return joined({"epoch", "lr", "train_loss"}, columns_of(terms), joined(measures, time_columns, {}));
}

/// Until top-5 was among them: every term had a column, a single one too, and top-1 was called accuracy.
EarlierColumns earlier_metrics_columns(const Columns& terms, const ReportSettings& settings) {
  EarlierColumns earlier;
  const auto top1 = [&](const std::string& images) {
    const std::string before = images + "_accuracy";
    earlier.names[images + "_top1_percent"] = before;
    return before;
  };
  earlier.columns = joined({"epoch", "lr"}, terms, {"train_loss", top1("train"), "test_loss", top1("test")});
  Columns& columns = earlier.columns;
  if (settings.paper_metrics) columns.push_back(top1("paper"));
  if (settings.average) columns.push_back(top1("ema"));
  if (settings.validation) {
    columns.insert(columns.end(), {"validation_loss", top1("validation")});
    if (settings.average) columns.push_back(top1("ema_validation"));
  }
  columns = joined(columns, time_columns, {});
  return earlier;
}

/// The values of the columns that `metrics_columns` has for them, from test_loss on.
std::vector<double> values_of(const EpochMeasures& measures, bool paper_metrics) {
  const Evaluation& test = measures.weights.test;
  std::vector<double> values = {test.loss, test.top1(), test.top5()};
  if (paper_metrics) values.push_back(test.paper_accuracy);
  if (measures.average) values.push_back(measures.average->test.top1());
  if (const auto& validation = measures.weights.validation) {
    values.insert(values.end(), {validation->loss, validation->top1(), validation->top5()});
    if (measures.average) values.push_back(measures.average->validation->top1());
  }
  return values;
}

// In the order in which they are left out of an epoch's line that would be too long, the last one first.
enum Rank : int { always, averaged, seen, time, losses, speed, rate, parts };

/// "  test 86.10 % loss 0.4210", of which the loss may be left out.
void add_measures(std::vector<Field>& fields, const std::string& images, double top1, double loss,
                  Rank rank) {
  fields.push_back({fmt::format("  {} {:.2f} %", images, top1), rank});
  fields.push_back({fmt::format(" loss {:.4f}", loss), losses});
}

void add_measures(std::vector<Field>& fields, const std::string& images, const Evaluation& weights,
                  const Evaluation* average) {
  add_measures(fields, images, weights.top1(), weights.loss, always);
  if (average != nullptr) fields.push_back({fmt::format(" average {:.2f} %", average->top1()), averaged});
}

void add_measures(std::vector<Field>& fields, const EpochMeasures& measures) {
  const Measured* average = measures.average ? &*measures.average : nullptr;
  add_measures(fields, "test", measures.weights.test, average != nullptr ? &average->test : nullptr);
  if (measures.weights.validation)
    add_measures(fields, "validation", *measures.weights.validation,
                 average != nullptr ? &*average->validation : nullptr);
}

/// "top-1 91.20 % in epoch 7", with the test images' after it where others choose.
std::string words_of(const Best& best) {
  if (!best.test_accuracy) return fmt::format("top-1 {:.2f} % in epoch {}", best.accuracy, best.epoch);
  return fmt::format("validation top-1 {:.2f} % in epoch {}, test top-1 {:.2f} % there", best.accuracy,
                     best.epoch, *best.test_accuracy);
}

}  // namespace

std::string words_of_best(const Position& position) {
  std::string words = "best " + words_of(position.best);
  if (position.ema_best) words += ", averaged weights " + words_of(*position.ema_best);
  if (position.paper_best)
    words += fmt::format(", by the paper's program's rule {:.2f} % in epoch {}",
                         position.paper_best->accuracy, position.paper_best->epoch);
  return words;
}

void ReportSettings::declare(Options& options) {
  options.group("run");
  options.add("log_steps", log_steps,
              {.help = "a row in steps.csv every so many steps; 0: none",
               .min = 0,
               .max = 1e6,
               .role = Role::flexible});
  options.add("tensorboard", tensorboard,
              {.help = "write an event file for TensorBoard too, which shows epochs as they end",
               .role = Role::flexible});
  declare_paper_metrics(options, paper_metrics);
}

Report::Report(const RunFolder& folder, const ReportSettings& settings, std::vector<std::string> terms,
               std::int64_t num_epochs, RunLog& log)
    : folder_(folder),
      settings_(settings),
      terms_(std::move(terms)),
      num_epochs_(num_epochs),
      log_(log),
      metrics_(folder.metrics(), metrics_columns(terms_, settings),
               earlier_metrics_columns(terms_, settings)),
      steps_(folder.steps(), joined({"step", "loss"}, columns_of(terms_), {"lr"}),
             {.columns = joined({"step", "loss"}, terms_, {"lr"})}),
      bar_(log.display()),
      time_left_(settings.tested_images) {
  if (!settings.tensorboard) return;
  if (!has_event_files())
    throw UsageError(
        "tensorboard: built without protobuf: install libprotobuf-dev and protobuf-compiler and build again, "
        "or give --tensorboard 0");
  if (log.writes()) events_ = std::make_unique<EventFile>(folder.path, as_code(settings.configuration));
}

std::vector<std::string> Report::restore(const TrainingState& state) {
  const Position& position = state.position;
  std::vector<std::string> notes;
  metrics_.keep_rows_up_to(position.epoch);
  const auto epochs = static_cast<std::size_t>(position.epoch);
  if (state.metrics) {
    const std::size_t made =
        metrics_.complete(*state.metrics, time_columns.size(), folder_.training_state().string());
    if (made > 0)
      notes.push_back(fmt::format("{} lacked {} of {}, back from the training state without {}",
                                  folder_.metrics().string(), made, counted(position.epoch, "epoch"),
                                  fmt::join(time_columns, " and ")));
  }
  if (metrics_.size() < epochs)
    notes.push_back(fmt::format("{} has {} of {}, and the training state does not have the others",
                                folder_.metrics().string(), metrics_.size(),
                                counted(position.epoch, "epoch")));
  const bool had_steps = file_exists(folder_.steps());
  if (steps_.keep_rows_up_to(position.step))
    notes.push_back(fmt::format("{}: the last row was cut off, and is left out", folder_.steps().string()));
  if (!had_steps && settings_.log_steps > 0 && position.step >= settings_.log_steps)
    notes.push_back(
        fmt::format("{} is missing: it begins again after step {}", folder_.steps().string(), position.step));
  if (events_ != nullptr)
    for (std::string& note : events_->go_on_behind(position.epoch)) notes.push_back(std::move(note));
  return notes;
}

void Report::add_step(const StepRow& row) {
  if (settings_.log_steps == 0 || row.step % settings_.log_steps != 0) return;
  std::vector<std::string> values = {exact(row.loss)};
  if (row.terms.size() > 1)
    for (const float term : row.terms) values.push_back(exact(term));
  values.push_back(exact(row.learning_rate));
  steps_.add_row(row.step, values);
}

void Report::add_epoch(const Position& position, const EpochResult& result) {
  const EpochMeasures& measured = result.measures;
  const EpochSums& sums = position.sums;
  const auto images = static_cast<double>(sums.images);
  const double loss = sums.loss / images;
  const double top1 = percent(sums.correct, sums.images);
  const double images_per_s = images / std::max(sums.seconds, shortest_seconds);
  const double seconds = sums.seconds + result.evaluation_seconds;
  time_left_.tested(result.evaluation_seconds);

  std::vector<Field> fields = {{fmt::format("epoch {}/{}", position.epoch + 1, num_epochs_)}};
  add_measures(fields, "train", top1, loss, seen);
  add_measures(fields, measured);
  fields.push_back({fmt::format("  {}", duration(seconds)), time});
  fields.push_back({fmt::format("  {:.0f} images/s", images_per_s), speed});
  fields.push_back({fmt::format("  lr {:.6g}", result.learning_rate), rate});
  std::vector<double> values = {result.learning_rate, loss};
  if (sums.terms.size() > 1)
    for (std::size_t i = 0; i < sums.terms.size(); ++i) {
      values.push_back(sums.terms[i] / images);
      fields.push_back({fmt::format("  {} {:.4f}", terms_[i], values.back()), parts});
    }
  values.push_back(top1);
  for (const double value : values_of(measured, settings_.paper_metrics)) values.push_back(value);
  values.insert(values.end(), {images_per_s, seconds});
  Columns cells;
  for (const double value : values) cells.push_back(six_digits(value));
  metrics_.add_row(position.epoch + 1, cells);
  if (events_ != nullptr)
    events_->add(summary_of({.epoch = position.epoch + 1,
                             .columns = std::span(metrics_.columns()).subspan(1),
                             .values = values,
                             .terms = terms_,
                             .test = measured.weights.test,
                             .weights = result.weights}));
  line(fitted(std::move(fields), line_columns));
  note_flat_rows(position);
}

void Report::note_flat_rows(const Position& position) {
  if (flat_rows_ > 0)
    log_.line(
        fmt::format("note: in epoch {}, {} had the same logit for every class in one of the networks "
                    "(sigma is 0) and gave no non-target knowledge",
                    position.epoch + 1, counted(flat_rows_, "image")));
  flat_rows_ = 0;
}

/// The first fields: the time left, as far as it is known, and the epoch.
std::vector<Field> Report::progress(const Position& position, const Rest& rest) const {
  std::vector<Field> fields;
  if (const auto seconds = time_left_.seconds(rest)) fields.push_back({duration(*seconds) + " left  ", 0});
  fields.push_back({fmt::format("epoch {}/{}", position.epoch + 1, num_epochs_), 1});
  return fields;
}

void Report::show_training(const Position& position, std::int64_t images) {
  const EpochSums& sums = position.sums;
  time_left_.trained(sums.images, sums.seconds);
  epoch_images_ = images;
  if (!bar_.due()) return;
  const auto seen_images = static_cast<double>(std::max<std::int64_t>(sums.images, 1));
  const Rest of_epoch{.trained = static_cast<double>(images - sums.images),
                      .tested = time_left_.tested_images()};
  Rest of_run = of_epoch;
  of_run.epochs = num_epochs_ - position.epoch - 1;
  of_run.epoch_images = static_cast<double>(images);
  std::vector<Field> fields = progress(position, of_run);
  const auto add = [&fields](std::string text) {
    fields.push_back({"  " + std::move(text), fields.back().rank + 1});
  };
  add(fmt::format("{:.0f} %", percent(sums.images, images)));
  add(fmt::format("loss {:.4f}", sums.loss / seen_images));
  add(fmt::format("top-1 {:.1f} %", percent(sums.correct, sums.images)));
  add(fmt::format("{:.0f} images/s",
                  static_cast<double>(sums.images) / std::max(sums.seconds, shortest_seconds)));
  if (const auto seconds = time_left_.seconds(of_epoch); seconds && of_run.epochs > 0)
    add(fmt::format("epoch {} left", duration(*seconds)));
  bar_.update(percent(sums.images, images) / 100.0, std::move(fields));
}

void Report::show_evaluation(const Position& position, std::int64_t images, std::int64_t all) {
  if (!bar_.due()) return;
  const double done = percent(images, all) / 100.0;
  std::vector<Field> fields = progress(position, {.tested = (1.0 - done) * time_left_.tested_images(),
                                                  .epochs = num_epochs_ - position.epoch - 1,
                                                  .epoch_images = static_cast<double>(epoch_images_)});
  fields.push_back({fmt::format("  testing {:.0f} %", 100 * done), 2});
  bar_.update(done, std::move(fields));
}

void Report::show_teacher(std::int64_t images, std::int64_t all) {
  const double done = percent(images, all) / 100.0;
  bar_.update(done, {{fmt::format("testing the teacher: {:.0f} %", 100 * done)}});
}

void Report::line(const std::string& text) {
  bar_.clear();
  log_.line(text);
}

void Report::write() const {
  if (!log_.writes()) return;
  metrics_.write();
  if (settings_.log_steps > 0) steps_.write();
  if (events_ != nullptr) events_->write();
  log_.write();
}

std::vector<std::string> Report::metrics_rows() const {
  return joined({metrics_.heading_without(time_columns.size())}, metrics_.rows_without(time_columns.size()),
                {});
}

}  // namespace generous
