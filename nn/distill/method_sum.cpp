#include "nn/distill/method_sum.h"

#include <algorithm>

namespace generous {
namespace {

/// What the parts call the cross-entropy among their terms: always the first one.
constexpr const char* task_term = "cross_entropy";

Tensor plus(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() ? a : b;
  return a + b;
}

}  // namespace

MethodSum::MethodSum(std::vector<MethodPart> parts) {
  for (MethodPart& part : parts) {
    for (const Part& earlier : parts_)
      require(earlier.name != part.name, "method: {} is there twice", part.name);
    parts_.push_back({part.name, adopt(part.name, std::move(part.method))});
  }
  // One forward pass of the teacher is for all.
  for (const Part& one : parts_)
    for (const Part& other : parts_)
      require(!one.method.needs().teacher_trains || other.method.needs().teacher_trains,
              "method: {} and {} cannot share a step: {}'s teacher is in training mode, with the batch's own "
              "statistics, and {} needs one in evaluation mode",
              one.name, other.name, one.name, other.name);
}

void MethodSum::declare(Options& options) {
  options.add("ce_weight", ce_weight_,
              {.help = "of the cross-entropy, beside all methods", .min = 0, .max = 1000});
  for (const Part& part : parts_) {
    options.prefix(part.name, {"ce_weight"});
    part.method.declare(options);
  }
  options.prefix("");
}

Needs MethodSum::needs() const {
  Needs all{.teacher = false};
  for (const Part& part : parts_) {
    const Needs needs = part.method.needs();
    all.teacher |= needs.teacher;
    all.features |= needs.features;
    all.before_relu |= needs.before_relu;
    all.classifiers |= needs.classifiers;
    all.views = std::max(all.views, needs.views);
    all.teacher_trains |= needs.teacher_trains;
    all.class_means |= needs.class_means;
    all.relational |= needs.relational;
    all.one_label |= needs.one_label;
  }
  return all;
}

std::vector<std::string> MethodSum::terms() const {
  std::vector<std::string> all{task_term};
  for (const Part& part : parts_)
    for (const std::string& term : part.method.terms())
      if (term != task_term) all.push_back(term == part.name ? term : part.name + "." + term);
  return all;
}

std::unique_ptr<Network> MethodSum::student(std::unique_ptr<Network> student, const Outputs& of_student,
                                            const Outputs& of_teacher, std::uint64_t seed) {
  for (const Part& part : parts_)
    student = part.method.student(std::move(student), of_student, of_teacher, seed);
  return student;
}

void MethodSum::connect(const Outputs& student, const Outputs& teacher, const TrainingSet& train) {
  for (const Part& part : parts_) part.method.connect(student, teacher, train);
}

std::int64_t MethodSum::loss_since(std::int64_t epoch) const {
  std::int64_t since = 0;
  for (const Part& part : parts_) since = std::max(since, part.method.loss_since(epoch));
  return since;
}

Loss MethodSum::loss(const DistillBatch& batch) {
  Tensor ce;
  for (const Outputs& view : batch.student) ce = plus(ce, task_loss(view.logits, batch.labels));
  Loss sum{.task = static_cast<float>(ce_weight_) * ce, .terms = {ce}};
  for (const Part& part : parts_) {
    const Loss loss = part.method.loss(batch);
    sum.distillation = plus(sum.distillation, plus(loss.distillation, loss.non_target));
    sum.flat_rows = plus(sum.flat_rows, loss.flat_rows);
    const std::vector<std::string> names = part.method.terms();
    for (std::size_t i = 0; i < names.size(); ++i)
      if (names[i] != task_term) sum.terms.push_back(loss.terms[i]);
  }
  return sum;
}

}  // namespace generous
