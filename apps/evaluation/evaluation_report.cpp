#include "apps/evaluation/evaluation_report.h"

#include <fmt/format.h>

#include "core/files.h"
#include "core/finite.h"
#include "core/ops.h"
#include "data/png_writer.h"

namespace generous {

namespace {

/// One image of a dataset {H, W, C}, as it is on the disk.
Tensor picture(const Dataset& dataset, std::size_t image) {
  const Tensor& all = dataset.images;
  const Shape shape{all.size(1), all.size(2), all.size(3)};
  const auto bytes = static_cast<std::size_t>(shape.numel());
  return Tensor::from(all.data<std::uint8_t>().subspan(image * bytes, bytes), shape);
}

}  // namespace

void EvaluationReportSettings::declare(Options& options) {
  options.group("report");
  options.add("report", folder, {.help = "also write tables and pictures for looking at into this folder"});
  options.add("report_features", features,
              {.help = "with the pooled features of so many images, spread over the classes; 0: without",
               .min = 0,
               .max = 1e9});
  options.add(
      "report_worst", worst,
      {.help = "with the pictures of so many images of the largest loss; 0: without", .min = 0, .max = 1e9});
  const auto found = WeightFinder{}.look(options.given_text("teacher_resume"));
  teacher.model.declare(
      options, {.name = "teacher_model", .help = "compare with a teacher: its network", .required = false},
      found ? read_origin(found->path) : WeightsOrigin{});
  options.add(
      "teacher_resume", teacher.weights,
      {.help = "the teacher's weights (.safetensors, or what PyTorch saved), or the folder of its run"});
}

void EvaluationReportSettings::check(const Options& options) const {
  if (folder.empty())
    for (const char* name : {"report_features", "report_worst", "teacher_model", "teacher_resume"})
      if (options.given(name)) throw UsageError(fmt::format("--{} is for a report: give --report DIR", name));
  if (teacher.weights.empty() && !teacher.model.name.empty())
    throw UsageError("--teacher_model names the network of a teacher: give --teacher_resume, its weights");
  if (!teacher.weights.empty() && teacher.model.name.empty() && WeightFinder{}.look(teacher.weights))
    throw UsageError(
        fmt::format("teacher_model is missing: {} does not say which network it holds", teacher.weights));
}

EvaluationReport::EvaluationReport(const std::filesystem::path& folder, const Dataset& dataset,
                                   const Teacher& teacher, DType dtype)
    : folder_(folder),
      dataset_(dataset),
      teacher_(teacher),
      dtype_(dtype),
      answers_(std::ssize(dataset.classes)) {
  create_writable_folder(folder_);
  if (teacher_.model != nullptr)
    teacher_answers_ = {
        .model = teacher_.name, .weights = teacher_.path, .answers = Answers(answers_.classes()), .kl = {}};
}

void EvaluationReport::add(const Batch& batch, const Tensor& logits) {
  const Tensor labels = batch.labels.to(Device::cpu);
  const std::size_t first = answers_.images().size();
  answers_.add(logits, labels);
  if (!teacher_answers_) return;
  const Tensor teacher_logits = (*teacher_.model)(cast(batch.images, dtype_)).to(Device::cpu);
  if (const auto bad = first_not_finite(teacher_logits))
    fail("the teacher {} gives {} for class {} of image {} (counted from 0): no report", teacher_.path,
         bad->value, bad->index[1], first + static_cast<std::size_t>(bad->index[0]));
  teacher_answers_->answers.add(teacher_logits, labels);
  const auto classes = static_cast<std::size_t>(answers_.classes());
  for (std::size_t row = 0; row < logits.data<float>().size(); row += classes)
    teacher_answers_->kl.push_back(divergence(teacher_logits.data<float>().subspan(row, classes),
                                              logits.data<float>().subspan(row, classes)));
}

void EvaluationReport::write(const ReportHeader& header, const Evaluation& evaluation,
                             const std::optional<FeatureSample>& features, std::int64_t worst) const {
  const std::vector<std::size_t> shown = worst_images(answers_.images(), worst);
  std::vector<ReportFile> files =
      report_tables(header, evaluation, answers_, teacher_answers_, features, shown);
  for (const std::size_t image : shown)
    files.push_back({worst_png(image), encode_png(picture(dataset_, image))});
  replace_report(folder_, files);
}

std::string EvaluationReport::words_of_teacher() const {
  if (!teacher_answers_) return {};
  const TeacherComparison found = compare(answers_, *teacher_answers_);
  return fmt::format("{}: top-1 {:.4f} %, agreement {:.4f} %, mean KL {:.6f}", teacher_answers_->model,
                     found.top1, found.agreement, found.kl);
}

}  // namespace generous
