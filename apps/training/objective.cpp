#include "apps/training/objective.h"

#include <fmt/format.h>

#include <map>

#include "apps/training/teacher.h"
#include "nn/losses.h"

namespace generous {

namespace {

using Teacher = std::shared_ptr<Module>;

Tensor frozen_logits(Module& teacher, const Tensor& images) {
  const NoGrad no_grad;
  return teacher(images);
}

/// Objective::teacher_fault for the teacher whose weights `path` names.
std::function<TeacherFault(const Batch&)> examine(const Teacher& teacher, const std::string& path) {
  return [=](const Batch& batch) {
    TeacherFault fault = fault_of_teacher(frozen_logits(*teacher, batch.images));
    if (!fault.what.empty()) fault.what = fmt::format("the teacher {} {}", path, fault.what);
    return fault;
  };
}

/// Hinton, Vinyals, Dean 2015.
Objective kd_objective(const Config& config, const Teacher& teacher) {
  const KdOptions options{.temperature = static_cast<float>(config.temperature),
                          .alpha = static_cast<float>(config.alpha)};
  return {{"cross_entropy", "kd"},
          [=](const Tensor& logits, const Batch& batch, std::int64_t) {
            const KdLoss loss = kd_loss(logits, frozen_logits(*teacher, batch.images), batch.labels, options);
            return Loss{loss.total, {loss.cross_entropy, loss.kd}};
          },
          examine(teacher, config.teacher_resume)};
}

using MakeMethod = Objective (*)(const Config&, const Teacher&);

const std::map<std::string, MakeMethod>& methods() {
  static const std::map<std::string, MakeMethod> all = {
      {"kd", kd_objective},
  };
  return all;
}

}  // namespace

Objective standard_objective(const Config&, const ModelOptions&) {
  return {{"cross_entropy"}, [](const Tensor& logits, const Batch& batch, std::int64_t) {
            const Tensor loss = cross_entropy(logits, batch.labels);
            return Loss{loss, {loss}};
          }};
}

Objective generous_objective(const Config& config, const ModelOptions& options) {
  const Teacher teacher = load_teacher(config.adversarial_model, "adversarial_resume",
                                       config.adversarial_resume, config.save_path, options);
  GenerousOptions generous{.tn = static_cast<float>(config.tn), .alpha = static_cast<float>(config.alpha)};
  const std::int64_t warmup_epochs = config.warmup;
  return {{"cross_entropy", "nckd"},
          [=](const Tensor& logits, const Batch& batch, std::int64_t epoch) mutable {
            generous.warmup = warmup_factor(epoch, warmup_epochs);
            const GenerousLoss loss =
                generous_loss(logits, frozen_logits(*teacher, batch.images), batch.labels, generous);
            return Loss{loss.total, {loss.cross_entropy, loss.nckd}};
          },
          examine(teacher, config.adversarial_resume)};
}

Objective student_objective(const Config& config, const ModelOptions& options) {
  const Teacher teacher =
      load_teacher(config.teacher_model, "teacher_resume", config.teacher_resume, config.save_path, options);
  return methods().at(config.method)(config, teacher);
}

std::vector<std::string> distillation_methods() {
  std::vector<std::string> names;
  for (const auto& [name, make] : methods()) names.push_back(name);
  return names;
}

}  // namespace generous
