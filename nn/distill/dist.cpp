#include "nn/distill/dist.h"

#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {
namespace {

/// 1 - the mean of r(a, b) = <a', b'> / (|a'| |b'| + 1e-8), a' = a - mean(a), over the axes that `kept`
/// lacks. The 1e-8 is published.
Tensor pearson_distance(const Tensor& a, const Tensor& b, const Shape& kept) {
  constexpr float tiny = 1e-30F;  // the slope of a root at 0 is infinite
  const auto count = static_cast<float>(a.numel() / kept.numel());
  const Tensor centred_a = a - sum_to(a, kept) / count;
  const Tensor centred_b = b - sum_to(b, kept) / count;
  const Tensor norm_a = sqrt(sum_to(square(centred_a), kept) + tiny);
  const Tensor norm_b = sqrt(sum_to(square(centred_b), kept) + tiny);
  return -mean(sum_to(centred_a * centred_b, kept) / (norm_a * norm_b + 1e-8F)) + 1.0F;
}

}  // namespace

Loss dist_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
               const DistOptions& options) {
  const LogitPair z =
      compared_logits("dist_loss", student_logits, teacher_logits, labels.classes, options.logit_stand);
  const auto t = static_cast<float>(options.temperature);
  const Tensor p_s = exp(log_softmax(z.student / t));
  const Tensor p_t = exp(log_softmax(z.teacher / t));

  const Tensor ce = task_loss(student_logits, labels);
  const Tensor inter = t * t * pearson_distance(p_s, p_t, {p_s.size(0), 1});
  const Tensor intra = t * t * pearson_distance(p_s, p_t, {1, p_s.size(1)});
  return {
      .task = ce,
      .distillation = static_cast<float>(options.beta) * inter + static_cast<float>(options.gamma) * intra,
      .terms = {ce, inter, intra},
      .flat_rows = z.flat_rows};
}

namespace {

class Dist : public Method {
 public:
  Needs needs() const override { return {.relational = true}; }
  void declare(Options& options) override {
    options.add("temperature", options_.temperature,
                {.help = "temperature of both networks' probabilities", .min = 0.001, .max = 1000});
    options.add("inter_weight", options_.beta,
                {.help = "weight of the relation between the classes of an image", .min = 0, .max = 1000});
    options.add("intra_weight", options_.gamma,
                {.help = "weight of the relation between the images of a class", .min = 0, .max = 1000});
    declare_logit_stand(options, options_.logit_stand);
  }
  std::vector<std::string> terms() const override { return {"cross_entropy", "inter_class", "intra_class"}; }
  Loss loss(const DistillBatch& batch) override {
    return dist_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, options_);
  }

 private:
  DistOptions options_;
};

}  // namespace

std::unique_ptr<Method> make_dist() { return std::make_unique<Dist>(); }

}  // namespace generous
