// `evaluate --report DIR`: what the images' logits show, as tables and pictures (report_tables.h).
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "apps/evaluation/report_tables.h"
#include "apps/training/teacher.h"
#include "core/options.h"
#include "data/loader.h"

namespace generous {

struct EvaluationReportSettings {
  std::string folder = {};  ///< empty: no report
  std::int64_t features = 0;
  std::int64_t worst = 24;
  TeacherSettings teacher = {};

  void declare(Options& options);
  bool has_teacher() const { return !teacher.weights.empty(); }
  /// Throws UsageError for what means nothing without what is not given.
  void check(const Options& options) const;
};

class EvaluationReport {
 public:
  /// Creates the folder. `dataset`, on the host, and the teacher must outlive the report; a teacher without a
  /// model is none.
  EvaluationReport(const std::filesystem::path& folder, const Dataset& dataset, const Teacher& teacher,
                   DType dtype);

  /// The logits of the next images, f32 {B, classes} on the host; the teacher's are computed beside them.
  /// Throws Error for a teacher whose logits are not finite.
  void add(const Batch& batch, const Tensor& logits);
  /// When all images have come: replaces the report that the folder may hold. `worst` says how many images'
  /// pictures it has.
  void write(const ReportHeader& header, const Evaluation& evaluation,
             const std::optional<FeatureSample>& features, std::int64_t worst) const;
  /// "resnet14, top-1 91.2000 %; both say the same of ...", or "" without a teacher.
  std::string words_of_teacher() const;

 private:
  std::filesystem::path folder_;
  const Dataset& dataset_;
  const Teacher& teacher_;
  DType dtype_;
  Answers answers_;
  std::optional<TeacherAnswers> teacher_answers_;
};

}  // namespace generous
