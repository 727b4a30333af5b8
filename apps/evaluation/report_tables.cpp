#include "apps/evaluation/report_tables.h"

#include <fmt/format.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/evaluation/csv_table.h"
#include "apps/training/csv.h"
#include "apps/training/weights.h"

namespace generous {

namespace {

using Json = nlohmann::ordered_json;
using Names = std::vector<std::string>;

/// nan where there are none.
double mean_of(double sum, std::int64_t count) { return sum / static_cast<double>(count); }
double percent_of(std::int64_t part, std::int64_t whole) {
  return mean_of(100.0 * static_cast<double>(part), whole);
}

std::string cell(std::int64_t number) { return fmt::format("{}", number); }

std::string json_text(const ReportHeader& header, const Names& classes, const Evaluation& evaluation,
                      const Answers& answers, const std::optional<TeacherAnswers>& teacher) {
  const auto mean = [&](double ImageMeasures::*measure) {
    return moments_of(answers.images(), measure).mean;
  };
  const Moments deviation = moments_of(answers.images(), &ImageMeasures::logit_deviation);
  Json report = {{"model", header.model},
                 {"parameters", header.parameters},
                 {"weights", header.weights},
                 {"dataset", header.dataset},
                 {"split", header.split},
                 {"dtype", header.dtype},
                 {"normalisation", header.normalisation},
                 {"classes", classes},
                 {"images", evaluation.images},
                 {"loss", evaluation.loss},
                 {"top1", evaluation.top1()},
                 {"top5", evaluation.top5()},
                 {"expected_calibration_error", expected_calibration_error(calibration(answers.images()))},
                 {"logit_mean", mean(&ImageMeasures::logit_mean)},
                 {"logit_deviation", deviation.mean},
                 {"logit_deviation_spread", deviation.deviation},
                 {"non_target_entropy", mean(&ImageMeasures::non_target_entropy)},
                 {"non_target_entropy_at_sigma", mean(&ImageMeasures::non_target_entropy_at_sigma)}};
  if (teacher) {
    const TeacherComparison found = compare(answers, *teacher);
    report["teacher"] = {{"model", teacher->model},
                         {"weights", teacher->weights},
                         {"loss", found.loss},
                         {"top1", found.top1},
                         {"agreement", found.agreement},
                         {"kl", found.kl},
                         {"class_logit_distance", found.class_logit_distance}};
  }
  return report.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

std::string classes_table(const Names& classes, const Answers& answers) {
  CsvTable table({"class", "name", "images", "top1", "top5", "mean_confidence"});
  const std::vector<ClassResult> results = by_class(answers);
  for (std::size_t c = 0; c < results.size(); ++c) {
    const ClassResult& result = results[c];
    table.add_row({cell(static_cast<std::int64_t>(c)), csv_cell(classes[c]), cell(result.images),
                   csv_cell(percent_of(result.correct, result.images)),
                   csv_cell(percent_of(result.correct5, result.images)),
                   csv_cell(mean_of(result.confidence, result.images))});
  }
  return table.text();
}

/// A row and a column for each class.
std::string class_matrix(const Names& classes,
                         const std::function<std::string(std::int64_t label, std::int64_t output)>& entry) {
  Names columns = {"label"};
  columns.insert(columns.end(), classes.begin(), classes.end());
  CsvTable table(columns);
  const auto count = static_cast<std::int64_t>(classes.size());
  for (std::int64_t label = 0; label < count; ++label) {
    std::vector<std::string> cells = {csv_cell(classes[static_cast<std::size_t>(label)])};
    for (std::int64_t output = 0; output < count; ++output) cells.push_back(entry(label, output));
    table.add_row(cells);
  }
  return table.text();
}

std::string confusion_table(const Names& classes, const Answers& answers) {
  const std::vector<std::int64_t> counts = confusion(answers);
  return class_matrix(classes, [&](std::int64_t label, std::int64_t output) {
    return cell(counts[static_cast<std::size_t>(label * answers.classes() + output)]);
  });
}

std::string calibration_table(const Answers& answers) {
  CsvTable table({"lower", "upper", "images", "confidence", "accuracy"});
  for (const CalibrationBin& bin : calibration(answers.images()))
    table.add_row({csv_cell(bin.lower), csv_cell(bin.upper), cell(bin.images),
                   csv_cell(mean_of(bin.confidence, bin.images)),
                   csv_cell(mean_of(static_cast<double>(bin.correct), bin.images))});
  return table.text();
}

/// The cells that images.csv and worst.csv both begin with.
std::vector<std::string> image_cells(std::size_t index, const ImageMeasures& image) {
  return {cell(static_cast<std::int64_t>(index)), cell(image.label), cell(image.predicted),
          csv_cell(image.loss), csv_cell(image.confidence)};
}
const std::vector<std::string> image_columns = {"image", "label", "predicted", "loss", "confidence"};

std::string images_table(const Answers& answers, const std::optional<TeacherAnswers>& teacher) {
  std::vector<std::string> columns = image_columns;
  columns.insert(columns.end(), {"logit_mean", "logit_deviation", "non_target_entropy"});
  if (teacher) columns.insert(columns.end(), {"teacher_predicted", "kl"});
  CsvTable table(columns);
  for (std::size_t i = 0; i < answers.images().size(); ++i) {
    const ImageMeasures& image = answers.images()[i];
    std::vector<std::string> cells = image_cells(i, image);
    cells.insert(cells.end(), {csv_cell(image.logit_mean), csv_cell(image.logit_deviation),
                               csv_cell(image.non_target_entropy)});
    if (teacher)
      cells.insert(cells.end(), {cell(teacher->answers.images()[i].predicted), csv_cell(teacher->kl[i])});
    table.add_row(cells);
  }
  return table.text();
}

std::string worst_table(const Answers& answers, std::span<const std::size_t> worst) {
  CsvTable table(image_columns);
  for (const std::size_t image : worst) table.add_row(image_cells(image, answers.images()[image]));
  return table.text();
}

std::string features_table(const FeatureSample& sample, const Answers& answers) {
  const std::int64_t width = sample.features.size(1);
  std::vector<std::string> columns = {"image", "label"};
  for (std::int64_t i = 0; i < width; ++i) columns.push_back(fmt::format("f{}", i));
  CsvTable table(columns);
  std::span<const float> rest = sample.features.data<float>();
  for (const std::int64_t image : sample.images) {
    std::vector<std::string> cells = {cell(image),
                                      cell(answers.images()[static_cast<std::size_t>(image)].label)};
    for (const float feature : rest.first(static_cast<std::size_t>(width))) cells.push_back(exact(feature));
    table.add_row(cells);
    rest = rest.subspan(static_cast<std::size_t>(width));
  }
  return table.text();
}

}  // namespace

TeacherComparison compare(const Answers& answers, const TeacherAnswers& teacher) {
  const auto images = static_cast<std::int64_t>(teacher.kl.size());
  std::int64_t correct = 0;
  for (const ImageMeasures& image : teacher.answers.images())
    if (image.predicted == image.label) ++correct;
  const double kl = std::accumulate(teacher.kl.begin(), teacher.kl.end(), 0.0);
  return {.loss = moments_of(teacher.answers.images(), &ImageMeasures::loss).mean,
          .top1 = percent_of(correct, images),
          .agreement = percent_of(agreement(answers.images(), teacher.answers.images()), images),
          .kl = mean_of(kl, images),
          .class_logit_distance = class_logit_distance(answers, teacher.answers)};
}

std::vector<ReportFile> report_tables(const ReportHeader& header, const Evaluation& evaluation,
                                      const Answers& answers, const std::optional<TeacherAnswers>& teacher,
                                      const std::optional<FeatureSample>& features,
                                      std::span<const std::size_t> worst) {
  // Names that are not UTF-8 become as files of weights have them.
  const Names classes = list_from_json(list_to_json(header.classes), "classes");
  std::vector<ReportFile> files = {
      {report_json, json_text(header, classes, evaluation, answers, teacher)},
      {classes_csv, classes_table(classes, answers)},
      {confusion_csv, confusion_table(classes, answers)},
      {calibration_csv, calibration_table(answers)},
      {class_logits_csv,
       class_matrix(classes,
                    [&](auto label, auto output) { return csv_cell(answers.mean_logit(label, output)); })},
      {images_csv, images_table(answers, teacher)}};
  if (teacher)
    files.push_back({class_logit_differences_csv, class_matrix(classes, [&](auto label, auto output) {
                       return csv_cell(answers.mean_logit(label, output) -
                                       teacher->answers.mean_logit(label, output));
                     })});
  if (features) files.push_back({features_csv, features_table(*features, answers)});
  if (!worst.empty()) files.push_back({worst_csv, worst_table(answers, worst)});
  return files;
}

}  // namespace generous
