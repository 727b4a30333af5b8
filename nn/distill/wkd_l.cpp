#include "nn/distill/wkd_l.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {
namespace {

/// {B, 1}: sum_ij u_i K_ij v_j M_ij with K = exp(-M / regularisation), u and v by Sinkhorn's algorithm, for
/// rows a and b {B, C} of probabilities that are 0 at the target. There u and v become 0 too: the target's
/// row and column count for nothing, as if they were left out.
Tensor transport(const Tensor& a, const Tensor& b, const Tensor& target, const Tensor& distances,
                 const WkdLOptions& options) {
  constexpr float epsilon = 1e-8F;  // published, like that of M
  const Tensor m = relu(distances) + epsilon;
  const Tensor k = exp(m / -static_cast<float>(options.regularisation));
  Tensor u = (-target + 1.0F) / static_cast<float>(a.size(1) - 1);
  Tensor v;
  for (std::int64_t i = 0; i < options.iterations; ++i) {
    v = b / (matmul(u, k) + epsilon);
    u = a / (matmul(v, k, false, true) + epsilon);
  }
  return sum_rows(u * matmul(v, k * m, false, true));
}

}  // namespace

Tensor class_distances(const Tensor& weight, double sharpen) {
  const NoGrad no_grad;
  const Tensor rows = weight / (sqrt(sum_rows(square(weight))) + 1e-12F);
  const Tensor distances = -matmul(rows, rows, false, true) + 1.0F;
  return sharpen == 0.0 ? distances : -exp(static_cast<float>(-sharpen) * distances) + 1.0F;
}

Loss wkd_l_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
                const Tensor& distances, const WkdLOptions& options) {
  const LogitPair z =
      compared_logits("wkd_l_loss", student_logits, teacher_logits, labels.classes, options.logit_stand);
  const std::int64_t classes = student_logits.size(1);
  require(distances.shape() == Shape{classes, classes} && classes >= 2,
          "wkd_l_loss: the distances of {} classes, at least 2, are {}, not {}", classes,
          Shape{classes, classes}.str(), distances.shape().str());
  const auto t = static_cast<float>(options.temperature);
  const Tensor target = one_hot(labels.classes, classes);
  const Tensor a = exp(log_softmax_of_others(z.student / t, target));
  const Tensor b = exp(log_softmax_of_others(z.teacher / t, target));

  const Tensor ce = task_loss(student_logits, labels);
  const Tensor of_target = weighted_target_loss(z, target);
  const Tensor wasserstein = mean(transport(a, b, target, distances, options));
  return {.task = ce,
          .distillation = of_target + static_cast<float>(options.weight) * wasserstein,
          .terms = {ce, of_target, wasserstein},
          .flat_rows = z.flat_rows};
}

namespace {

class WkdL : public Method {
 public:
  void declare(Options& options) override {
    options.add("temperature", options_.temperature,
                {.help = "temperature of both networks' probabilities of the other classes",
                 .min = 0.001,
                 .max = 1000});
    options.add("weight", weight_, {.help = "of the transport between them", .min = 0, .max = 1e6});
    options.add("weight_falls", first_falling_epoch_,
                {.help = "epochs before that weight falls, on half a cosine", .min = 0, .max = 1e6});
    options.add("weight_gone", gone_epoch_, {.help = "epochs before it is 0", .min = 1, .max = 1e6});
    options.add("regularisation", options_.regularisation,
                {.help = "of the transport by its entropy", .min = 0.001, .max = 1000});
    options.add("iterations", options_.iterations,
                {.help = "of Sinkhorn's algorithm", .min = 1, .max = 1000});
    options.add(
        "sharpen", sharpen_,
        {.help = "distances d of classes become 1 - exp(-sharpen d); 0: they stay", .min = 0, .max = 1000});
    declare_logit_stand(options, options_.logit_stand);
  }
  Needs needs() const override { return {.classifiers = true, .one_label = true}; }
  std::vector<std::string> terms() const override { return {"cross_entropy", "target", "transport"}; }
  void connect(const Outputs& /*student*/, const Outputs& teacher, const TrainingSet& /*train*/) override {
    distances_ = class_distances(teacher.classifier.weight, sharpen_);
  }
  std::int64_t loss_since(std::int64_t epoch) const override {
    return epoch < first_falling_epoch_ ? 0 : std::min(epoch, std::max(gone_epoch_, first_falling_epoch_));
  }
  Loss loss(const DistillBatch& batch) override {
    options_.weight = weight_ * remaining(batch.epoch);
    return wkd_l_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, distances_, options_);
  }

 private:
  /// The factor of the weight.
  double remaining(std::int64_t epoch) const {
    if (epoch < first_falling_epoch_) return 1.0;
    if (epoch >= gone_epoch_) return 0.0;
    const double progress = static_cast<double>(epoch - first_falling_epoch_) /
                            static_cast<double>(gone_epoch_ - first_falling_epoch_);
    return (1.0 + std::cos(std::numbers::pi * progress)) / 2.0;
  }

  WkdLOptions options_;
  double weight_ = options_.weight;
  double sharpen_ = 1.0;
  std::int64_t first_falling_epoch_ = 150;
  std::int64_t gone_epoch_ = 240;
  Tensor distances_;  ///< {C, C}, of the teacher's classes
};

}  // namespace

std::unique_ptr<Method> make_wkd_l() { return std::make_unique<WkdL>(); }

}  // namespace generous
