// Measures a model's loss and accuracy on one split of a dataset.
#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "apps/evaluation/evaluation_report.h"
#include "apps/evaluation/feature_sample.h"
#include "apps/stages.h"
#include "apps/training/batches.h"
#include "apps/training/device.h"
#include "apps/training/evaluation.h"
#include "apps/training/images.h"
#include "apps/training/log.h"
#include "apps/training/program.h"
#include "apps/training/trained_network.h"
#include "core/console.h"
#include "core/counted.h"
#include "core/waiting.h"

namespace {

using namespace generous;

WeightFinder weight_finder() {
  return {{}, [](const auto& run) { return program_of_run(stages, run); }};
}

struct Settings {
  ModelSettings model;
  PaperModelSettings paper_model;
  GivenWeights weights;
  ImageSettings images{.normalisation = from_weights};
  std::string split = "test";
  BatchSettings batches{.batch_size = evaluation_batch};
  bool paper_metrics = false;
  EvaluationReportSettings report;
  DeviceSettings device;
  DTypeSettings dtype;

  void declare(Options& options) {
    options.group("model");
    weights.declare(options, weight_finder());
    images.take_from(weights.origin, weights.found.path);
    model.declare(options, {.name = "model_name", .help = "the network", .weights = weights.found.path},
                  weights.origin);
    images.declare(options);
    options.add("split", split, {.help = "which images", .choices = {"test", "train"}});
    batches.declare(options, "images at a time");
    declare_paper_metrics(options, paper_metrics);
    report.declare(options);
    paper_model.declare(options);
    device.declare(options);
    dtype.declare(options);
    tell_models_apart(options);
  }
};

/// Networks, and the images that they are measured on.
struct Subject {
  Device device = Device::cpu;
  DType dtype = DType::f32;
  Dataset dataset;
  DatasetInfo info;  ///< normalises the images as the network is used to
  TrainedNetwork trained;
  Teacher teacher;

  std::int64_t channels() const { return dataset.images.size(3); }
  std::string normalisation() const { return to_text(info.normalisation, channels()); }
};

Subject load(Settings& settings) {
  Subject subject;
  subject.device = set_up_device(settings.device, *group_of_one());
  subject.dtype = choose_dtype(settings.dtype.dtype, subject.device);
  subject.dataset = load_images(settings.images, settings.split == "train" ? Split::train : Split::test);
  if (subject.channels() == 1 && channels_of(settings.weights) == 3)
    subject.dataset.images = repeat_grey(subject.dataset.images);
  subject.info = settings.images.info(subject.channels());
  const auto take_own_numbers = [&] {
    if (settings.images.by_own_numbers())
      subject.info.normalisation =
          statistics_of(settings.split == "train" ? subject.dataset.images
                                                  : load_images(settings.images, Split::train).images);
  };
  if (settings.images.normalisation != from_weights) take_own_numbers();
  const ModelOptions options = model_options(subject.dataset, 0, subject.device);
  WeightsOrigin wanted{.classes = subject.dataset.classes};
  if (settings.images.normalisation != from_weights) wanted.normalisation = subject.normalisation();
  subject.trained = load_network(settings.model, options, settings.weights.found.path, wanted);
  if (const auto parsed = parse_normalisation(subject.trained.normalisation))
    subject.info.normalisation = parsed->values;
  else if (settings.images.normalisation == from_weights)
    take_own_numbers();
  subject.trained.network->freeze();
  if (settings.report.has_teacher()) {
    wanted.normalisation = subject.normalisation();
    subject.teacher = settings.report.teacher.load(weight_finder(), student_stage, options, wanted, false);
  }
  return subject;
}

/// Throws Error if the network gives no finite numbers.
Evaluation measure(const Subject& subject, const Settings& settings, const SeeLogits& see) {
  Loader loader(subject.dataset, subject.info, settings.batches.loader_options(subject.device));
  Display display;
  ProgressBar bar(display);
  const auto go_on = [&](std::int64_t images) {
    const double done = static_cast<double>(images) / static_cast<double>(subject.dataset.size());
    bar.update(done, {{fmt::format("evaluating: {:.0f} %", 100 * done)}});
    return true;
  };
  const auto result = evaluate(*subject.trained.network, loader, {.dtype = subject.dtype}, go_on, see);
  bar.clear();
  display.flush();
  if (!result->not_finite.empty())
    fail("{}: no accuracy: a logit is {} ({}, counted from 0)", settings.weights.given, result->not_finite,
         settings.split);
  if (!std::isfinite(result->loss)) fail("{}: the loss is {}", settings.weights.given, result->loss);
  return *result;
}

void print(const Subject& subject, const Settings& settings, const Evaluation& result) {
  print_line(fmt::format("model    {} ({} parameters)", settings.model.name,
                         subject.trained.network->parameter_count()));
  print_line(fmt::format("weights  {}", settings.weights.found.path.string()));
  for (const std::string& note :
       {settings.weights.found.note, subject.trained.weights.note, subject.teacher.weights.note})
    if (!note.empty()) print_line(fmt::format("note     {}", note));
  const std::string used = subject.normalisation();
  if (subject.info.own_normalisation ||
      used != to_text(dataset_info(subject.info.name).normalisation, subject.channels()))
    print_line(fmt::format("{:<8} normalised by {} (means/standard deviations)",
                           subject.info.own_normalisation ? "pixels" : "note", used));
  print_line(fmt::format("dataset  {} {}, {}, {}", settings.images.dataset, settings.split,
                         settings.images.data_dir, counted(std::ssize(subject.dataset.classes), "class")));
  print_line(fmt::format("device   {}, {}", backend(subject.device).description(), settings.dtype.dtype));
  print_line(fmt::format("images   {}", result.images));
  print_line(fmt::format("loss     {:.6f}", result.loss));
  print_line(fmt::format("top-1    {:.4f} % ({} of {})", result.top1(), result.correct, result.images));
  if (settings.paper_metrics)
    print_line(
        fmt::format("paper    {:.4f} % (top-1 as the mean over batches of 128)", result.paper_accuracy));
  print_line(fmt::format("top-5    {:.4f} % ({} of {})", result.top5(), result.correct5, result.images));
}

void write(const EvaluationReport& report, const Subject& subject, const Settings& settings,
           const Evaluation& result) {
  Network& network = *subject.trained.network;
  std::optional<FeatureSample> features;
  if (settings.report.features > 0)
    features =
        pooled_features(network, subject.dataset, subject.info,
                        spread_over_classes(subject.dataset.labels, std::ssize(subject.dataset.classes),
                                            settings.report.features),
                        settings.batches.loader_options(subject.device), subject.dtype);
  report.write({.model = settings.model.name,
                .parameters = network.parameter_count(),
                .weights = settings.weights.given,
                .dataset = settings.images.dataset,
                .split = settings.split,
                .dtype = settings.dtype.dtype,
                .normalisation = subject.normalisation(),
                .classes = subject.dataset.classes},
               result, features, settings.report.worst);
}

int evaluate_weights(Options& options) {
  Settings settings;
  settings.declare(options);
  if (!options.finish()) return 0;
  const PoliteWaiting waiting;
  settings.report.check(options);
  const Subject subject = load(settings);
  std::optional<EvaluationReport> report;
  SeeLogits see;
  if (!settings.report.folder.empty()) {
    report.emplace(settings.report.folder, subject.dataset, subject.teacher, subject.dtype);
    see = [&](const Batch& batch, const Tensor& logits) { report->add(batch, logits); };
  }
  const double start = now_seconds();
  const Evaluation result = measure(subject, settings, see);
  const double seconds = now_seconds() - start;
  if (report) write(*report, subject, settings, result);
  print(subject, settings, result);
  print_line(fmt::format("speed    {:.0f} images/s", static_cast<double>(result.images) / seconds));
  if (!report) return 0;
  if (const std::string words = report->words_of_teacher(); !words.empty())
    print_line(fmt::format("teacher  {}", words));
  print_line(fmt::format("report   {}", settings.report.folder));
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return run_program("evaluate", argc, argv, evaluate_weights); }
