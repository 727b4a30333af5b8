#include "apps/training/objective.h"

#include <fmt/format.h>

#include <map>

#include "apps/training/teacher.h"
#include "nn/losses.h"

namespace generous {

namespace {

Tensor frozen_logits(Module& teacher, const Tensor& images) {
  const NoGrad no_grad;
  return teacher(images);
}

/// Objective::teacher_fault for the teacher whose weights `path` names.
std::function<TeacherFault(const Batch&)> examine(const Teacher& teacher, const std::string& path) {
  return [=, model = teacher.model](const Batch& batch) {
    TeacherFault fault = fault_of_teacher(frozen_logits(*model, batch.images));
    if (!fault.what.empty()) fault.what = fmt::format("the teacher {} {}", path, fault.what);
    return fault;
  };
}

/// Hinton, Vinyals, Dean 2015.
Objective kd_objective(const Config& config, const Teacher& teacher) {
  const KdOptions options{.temperature = static_cast<float>(config.temperature),
                          .alpha = static_cast<float>(config.alpha)};
  return {{"cross_entropy", "kd"},
          [=, model = teacher.model](const Tensor& logits, const Batch& batch, std::int64_t) {
            const KdLoss loss = kd_loss(logits, frozen_logits(*model, batch.images), batch.labels, options);
            return Loss{loss.total, {loss.cross_entropy, loss.kd}};
          },
          examine(teacher, config.teacher_resume),
          teacher.weights};
}

using MakeMethod = Objective (*)(const Config&, const Teacher&);

const std::map<std::string, MakeMethod>& methods() {
  static const std::map<std::string, MakeMethod> all = {
      {"kd", kd_objective},
  };
  return all;
}

}  // namespace

Objective standard_objective(const Config&, const ModelOptions&, const std::vector<std::string>&) {
  return {{"cross_entropy"}, [](const Tensor& logits, const Batch& batch, std::int64_t) {
            const Tensor loss = cross_entropy(logits, batch.labels);
            return Loss{loss, {loss}};
          }};
}

Objective generous_objective(const Config& config, const ModelOptions& options,
                             const std::vector<std::string>& classes) {
  const Teacher teacher = load_teacher({.model_name = config.adversarial_model,
                                        .key = "adversarial_resume",
                                        .path = config.adversarial_resume,
                                        .save_path = config.save_path},
                                       options, classes);
  GenerousOptions generous{.tn = static_cast<float>(config.tn), .alpha = static_cast<float>(config.alpha)};
  const std::int64_t warmup_epochs = config.warmup;
  return {{"cross_entropy", "nckd"},
          [=, model = teacher.model](const Tensor& logits, const Batch& batch, std::int64_t epoch) mutable {
            generous.warmup = warmup_factor(epoch, warmup_epochs);
            const GenerousLoss loss =
                generous_loss(logits, frozen_logits(*model, batch.images), batch.labels, generous);
            return Loss{loss.total, {loss.cross_entropy, loss.nckd}, loss.flat_rows};
          },
          examine(teacher, config.adversarial_resume),
          teacher.weights};
}

Objective student_objective(const Config& config, const ModelOptions& options,
                            const std::vector<std::string>& classes) {
  const Teacher teacher = load_teacher({.model_name = config.teacher_model,
                                        .key = "teacher_resume",
                                        .path = config.teacher_resume,
                                        .save_path = config.save_path},
                                       options, classes);
  return methods().at(config.method)(config, teacher);
}

std::vector<std::string> distillation_methods() {
  std::vector<std::string> names;
  for (const auto& [name, make] : methods()) names.push_back(name);
  return names;
}

}  // namespace generous
