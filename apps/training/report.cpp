#include "apps/training/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/files.h"

namespace generous {

namespace {

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

std::vector<std::string> metrics_columns(const std::vector<std::string>& terms,
                                         const ReportSettings& settings) {
  std::vector<std::string> measures = {"train_loss", "train_accuracy", "test_loss", "test_accuracy"};
  if (settings.paper_metrics) measures.emplace_back("paper_accuracy");
  if (settings.average) measures.emplace_back("ema_accuracy");
  if (settings.validation) {
    measures.insert(measures.end(), {"validation_loss", "validation_accuracy"});
    if (settings.average) measures.emplace_back("ema_validation_accuracy");
  }
  return joined(joined({"epoch", "lr"}, terms, measures), time_columns, {});
}

/// The values of the columns that `metrics_columns` has for them.
std::vector<std::string> values_of(const EpochMeasures& measures, bool paper_metrics) {
  const Evaluation& test = measures.weights.test;
  std::vector<std::string> values = {exact(test.loss), exact(test.top1())};
  if (paper_metrics) values.push_back(exact(test.paper_accuracy));
  if (measures.average) values.push_back(exact(measures.average->test.top1()));
  if (const auto& validation = measures.weights.validation) {
    values.insert(values.end(), {exact(validation->loss), exact(validation->top1())});
    if (measures.average) values.push_back(exact(measures.average->validation->top1()));
  }
  return values;
}

/// "test: loss 0.4210 top-1 86.10 % average 87.20 %"
std::string words_of(const std::string& images, const Evaluation& weights, const Evaluation* average) {
  std::string words = fmt::format("{}: loss {:.4f} top-1 {:.2f} %", images, weights.loss, weights.top1());
  if (average != nullptr) words += fmt::format(" average {:.2f} %", average->top1());
  return words;
}

std::string words_of(const EpochMeasures& measures) {
  const Measured* average = measures.average ? &*measures.average : nullptr;
  std::string words = words_of("test", measures.weights.test, average != nullptr ? &average->test : nullptr);
  if (measures.weights.validation)
    words += "  " + words_of("validation", *measures.weights.validation,
                             average != nullptr ? &*average->validation : nullptr);
  return words;
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
  declare_paper_metrics(options, paper_metrics);
}

Report::Report(const RunFolder& folder, const ReportSettings& settings, std::vector<std::string> terms,
               std::int64_t num_epochs, RunLog& log)
    : folder_(folder),
      settings_(settings),
      terms_(std::move(terms)),
      num_epochs_(num_epochs),
      log_(log),
      metrics_(folder.metrics(), metrics_columns(terms_, settings)),
      steps_(folder.steps(), joined({"step", "loss"}, terms_, {"lr"})),
      bar_(log.display()) {}

std::vector<std::string> Report::restore(const TrainingState& state) {
  const Position& position = state.position;
  std::vector<std::string> notes;
  metrics_.keep_rows_up_to(position.epoch);
  const auto epochs = static_cast<std::size_t>(position.epoch);
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
  if (steps_.keep_rows_up_to(position.step))
    notes.push_back(fmt::format("{}: the last row was cut off, and is left out", folder_.steps().string()));
  if (!had_steps && settings_.log_steps > 0 && position.step >= settings_.log_steps)
    notes.push_back(
        fmt::format("{} is missing: it begins again after step {}", folder_.steps().string(), position.step));
  return notes;
}

void Report::add_step(const StepRow& row) {
  if (settings_.log_steps == 0 || row.step % settings_.log_steps != 0) return;
  std::vector<std::string> values = {exact(row.loss)};
  for (const float term : row.terms) values.push_back(exact(term));
  values.push_back(exact(row.learning_rate));
  steps_.add_row(row.step, values);
}

void Report::add_epoch(const Position& position, float learning_rate, const EpochMeasures& measured,
                       double evaluation_seconds) {
  const EpochSums& sums = position.sums;
  const auto images = static_cast<double>(sums.images);
  last_epoch_seconds_ = sums.seconds + evaluation_seconds;
  std::vector<std::string> terms;
  std::string words;
  for (std::size_t i = 0; i < sums.terms.size(); ++i) {
    terms.push_back(exact(sums.terms[i] / images));
    if (sums.terms.size() > 1) words += fmt::format(" {} {:.4f}", terms_[i], sums.terms[i] / images);
  }
  const double train_accuracy = percent(sums.correct, sums.images);
  const double rate = images / sums.seconds;
  const auto measures =
      joined({exact(sums.loss / images), exact(train_accuracy)}, values_of(measured, settings_.paper_metrics),
             {exact(rate), exact(last_epoch_seconds_)});
  metrics_.add_row(position.epoch + 1, joined({exact(learning_rate)}, terms, measures));
  line(fmt::format("epoch {}/{}  lr {:.6g}  train: loss {:.4f}{} top-1 {:.2f} %  {}  {:.0f} images/s  {}",
                   position.epoch + 1, num_epochs_, learning_rate, sums.loss / images, words, train_accuracy,
                   words_of(measured), rate, duration(last_epoch_seconds_)));
  note_flat_rows(position);
}

void Report::note_flat_rows(const Position& position) {
  if (flat_rows_ > 0)
    log_.line(
        fmt::format("note: in epoch {}, {} images had the same logit for every class in one of the networks "
                    "(sigma is 0) and gave no non-target knowledge",
                    position.epoch + 1, flat_rows_));
  flat_rows_ = 0;
}

void Report::show_training(const Position& position, std::int64_t images) {
  if (!bar_.due()) return;
  const EpochSums& sums = position.sums;
  const double rate = static_cast<double>(sums.images) / sums.seconds;
  const double left = static_cast<double>(images - sums.images) / rate;
  const auto whole_epochs_left = static_cast<double>(num_epochs_ - position.epoch - 1);
  const double epoch_seconds =
      last_epoch_seconds_ > 0 ? last_epoch_seconds_ : static_cast<double>(images) / rate;
  bar_.update(percent(sums.images, images) / 100.0,
              fmt::format("epoch {}/{}  loss {:.4f}  top-1 {:.1f} %  {:.0f} images/s  epoch {}, run {} left",
                          position.epoch + 1, num_epochs_, sums.loss / static_cast<double>(sums.images),
                          percent(sums.correct, sums.images), rate, duration(left),
                          duration(left + whole_epochs_left * epoch_seconds)));
}

void Report::show_evaluation(const Position& position, std::int64_t images, std::int64_t all) {
  bar_.update(percent(images, all) / 100.0,
              fmt::format("epoch {}/{}  testing", position.epoch + 1, num_epochs_));
}

void Report::line(const std::string& text) {
  bar_.clear();
  log_.line(text);
}

void Report::write() const {
  if (!log_.writes()) return;
  metrics_.write();
  if (settings_.log_steps > 0) steps_.write();
  log_.write();
}

std::vector<std::string> Report::metrics_rows() const { return metrics_.rows_without(time_columns.size()); }

}  // namespace generous
