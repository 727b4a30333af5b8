#include "nn/distill/lskd.h"

#include "nn/distill/logits.h"

namespace generous {

Loss lskd_loss(const Tensor& student_logits, const Tensor& teacher_logits, const Labels& labels,
               const LskdOptions& options) {
  const LogitPair z = compared_logits("lskd_loss", student_logits, teacher_logits, labels.classes, true);
  const Tensor ce = task_loss(student_logits, labels);
  const Tensor kd = distillation_kl(z, static_cast<float>(options.temperature));
  return {.task = static_cast<float>(options.ce_weight) * ce,
          .distillation = static_cast<float>(options.weight) * kd,
          .terms = {ce, kd},
          .flat_rows = z.flat_rows};
}

namespace {

class Lskd : public Method {
 public:
  void declare(Options& options) override {
    options.add("temperature", options_.temperature,
                {.help = "temperature of both networks' probabilities", .min = 0.001, .max = 1000});
    options.add("weight", options_.weight, {.help = "of the distillation term", .min = 0, .max = 1e6});
    options.add("ce_weight", options_.ce_weight, {.help = "of cross-entropy", .min = 0, .max = 1000});
  }
  std::vector<std::string> terms() const override { return {"cross_entropy", "kd"}; }
  Loss loss(const DistillBatch& batch) override {
    return lskd_loss(batch.student[0].logits, batch.teacher[0].logits, batch.labels, options_);
  }

 private:
  LskdOptions options_;
};

}  // namespace

std::unique_ptr<Method> make_lskd() { return std::make_unique<Lskd>(); }

}  // namespace generous
