#include "nn/distill/sdd.h"

#include "nn/distill/dkd.h"
#include "nn/distill/feature_method.h"
#include "nn/distill/logits.h"
#include "nn/losses.h"

namespace generous {

Tensor patch_logits(const Tensor& x, const Classifier& classifier, const std::vector<std::int64_t>& scales) {
  const std::int64_t batch = x.size(0);
  const std::int64_t depth = x.size(-1);
  std::vector<Tensor> cells;  // {B, m m D}
  std::int64_t count = 0;
  for (const std::int64_t m : scales) {
    cells.push_back(reshape(adaptive_avg_pool2d(x, m, m), {batch, m * m * depth}));
    count += m * m;
  }
  const Tensor rows = reshape(concat(cells), {batch * count, depth});
  const Tensor logits = linear(rows, classifier.weight, classifier.bias);
  return reshape(logits, {batch, count, logits.size(1)});
}

Loss sdd_dkd_loss(const SddLogits& logits, const Labels& labels, const SddOptions& options) {
  check_logits("sdd_dkd_loss", logits.student_patches, logits.teacher_patches);
  const std::int64_t batch = logits.student_patches.size(0);
  const std::int64_t patches = logits.student_patches.size(1);
  const std::int64_t classes = logits.student_patches.size(2);
  const Shape rows{batch * patches, classes};
  const Tensor label = reshape(one_hot(labels.classes, classes), {batch, 1, classes});
  const Tensor target = reshape(broadcast_to(label, {batch, patches, classes}), rows);
  const Tensor student = reshape(logits.student_patches, rows);
  const Tensor teacher = reshape(logits.teacher_patches.detach(), rows);
  const LogitPair z = options.logit_stand ? standardised_pair(student, teacher, target)
                                          : LogitPair{.student = student, .teacher = teacher};

  const Tensor right = reshape(sum_rows(one_hot(argmax_rows(teacher), classes) * target), {batch, patches});
  const Tensor disagrees = square(right - slice_channels(right, 0, 1));
  const Tensor weight = reshape(disagrees + 1.0F, {batch * patches, 1});

  const auto t = static_cast<float>(options.temperature);
  const DkdRows dkd = dkd_rows(z.student / t, z.teacher / t, target);
  const Tensor ce = task_loss(logits.student, labels);
  const Tensor tckd = t * t * mean(weight * dkd.target);
  const Tensor nckd = t * t * mean(weight * dkd.others);
  return {.task = ce,
          .distillation = static_cast<float>(options.warmup * options.alpha) * tckd +
                          static_cast<float>(options.warmup * options.beta) * nckd,
          .terms = {ce, tckd, nckd}};
}

namespace {

class SddDkd : public Method {
 public:
  void declare(Options& options) override {
    options.add("temperature", options_.temperature,
                {.help = "temperature of both networks' probabilities", .min = 0.001, .max = 1000});
    declare_dkd_weights(options, options_.alpha, options_.beta, warmup_epochs_);
    options.add("scales", scales_,
                {.help = "how often the last feature map is cut along either side", .min = 1, .max = 64});
    declare_logit_stand(options, options_.logit_stand);
  }
  Needs needs() const override {
    return {.features = true, .before_relu = true, .classifiers = true, .one_label = true};
  }
  std::vector<std::string> terms() const override { return {"cross_entropy", "tckd", "nckd"}; }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet& /*train*/) override {
    require(!scales_.empty() && scales_[0] == 1, "sdd_dkd: scales has to begin with 1, the whole image");
    check("student", student);
    check("teacher", teacher);
  }
  std::int64_t loss_since(std::int64_t epoch) const override { return warmup_since(epoch, warmup_epochs_); }
  Loss loss(const DistillBatch& batch) override {
    options_.warmup = warmup_from_one(batch.epoch, warmup_epochs_);
    return sdd_dkd_loss({.student = batch.student[0].logits,
                         .student_patches = patches_of(batch.student[0]),
                         .teacher_patches = patches_of(batch.teacher[0])},
                        batch.labels, options_);
  }

 private:
  Tensor patches_of(const Outputs& outputs) const {
    return patch_logits(classified_images(outputs.features), outputs.classifier, scales_);
  }
  /// Throws Error unless a network's classifier can be applied to the cells of its last feature map.
  void check(std::string_view who, const Outputs& outputs) const {
    require(!outputs.features.stages.empty(), "sdd_dkd: the {} has no feature maps", who);
    const Tensor last = classified_images(outputs.features);
    require(
        last.size(-1) == outputs.classifier.weight.size(1),
        "sdd_dkd: the {}'s classifier takes {} channels, its last feature map {} has others: a patch of it "
        "has no logits",
        who, outputs.classifier.weight.size(1), last.shape().str());
  }

  SddOptions options_;
  std::int64_t warmup_epochs_ = 20;
  std::vector<std::int64_t> scales_{1, 2, 4};
};

}  // namespace

std::unique_ptr<Method> make_sdd_dkd() { return std::make_unique<SddDkd>(); }

}  // namespace generous
