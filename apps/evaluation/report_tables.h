// What `evaluate --report DIR` writes: report.json and the tables.
//
// top1, top5 and agreement are in percent, as in metrics.csv; confidences, the accuracies of calibration.csv
// and expected_calibration_error are between 0 and 1; entropies and kl are in nats. Images and classes are
// counted from 0; in confusion.csv and the tables of class logits a row's label is its class's name. What has
// no value (a class without images, an empty bin) is an empty cell.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/evaluation/answers.h"
#include "apps/evaluation/report_folder.h"
#include "apps/training/evaluation.h"

namespace generous {

/// What stands behind the answers.
struct ReportHeader {
  std::string model;
  std::int64_t parameters = 0;
  std::string weights;
  std::string dataset;
  std::string split;
  std::string dtype;
  std::string normalisation;  ///< of the images that the networks were given
  std::vector<std::string> classes;
};

/// A teacher's answers to the same images.
struct TeacherAnswers {
  std::string model;
  std::string weights;
  Answers answers;
  std::vector<double> kl;  ///< of each image: KL(teacher || network) at T = 1
};

/// Both networks side by side: means over the images.
struct TeacherComparison {
  double loss = 0.0;       ///< of the teacher
  double top1 = 0.0;       ///< of the teacher, in percent
  double agreement = 0.0;  ///< in percent
  double kl = 0.0;
  double class_logit_distance = 0.0;  ///< see there
};
TeacherComparison compare(const Answers& answers, const TeacherAnswers& teacher);

/// Pooled features of some of the images.
struct FeatureSample {
  std::vector<std::int64_t> images;
  Tensor features;  ///< f32 {images, C}, on the host
};

/// All of a report but its pictures. `worst` are the images for worst.csv, which is left out where there are
/// none.
std::vector<ReportFile> report_tables(const ReportHeader& header, const Evaluation& evaluation,
                                      const Answers& answers, const std::optional<TeacherAnswers>& teacher,
                                      const std::optional<FeatureSample>& features,
                                      std::span<const std::size_t> worst);

}  // namespace generous
