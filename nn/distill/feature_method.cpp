#include "nn/distill/feature_method.h"

namespace generous {
namespace {

/// The last `count` of `stages` but the stem.
FeaturePairs pairs_from_the_end(const std::vector<Tensor>& student, const std::vector<Tensor>& teacher) {
  const std::size_t count = std::min(student.size(), teacher.size()) - 1;
  FeaturePairs pairs;
  for (std::size_t i = count; i > 0; --i)
    pairs.push_back({student[student.size() - i], teacher[teacher.size() - i].detach()});
  return pairs;
}

void check_stages(std::string_view method, std::string_view network, const std::vector<Tensor>& stages) {
  require(stages.size() >= 2, "{}: the {} has no stages whose features could be compared", method, network);
  for (const Tensor& stage : stages)
    require(stage.shape().rank() == 4, "{}: the {} has features {} that are no images", method, network,
            stage.shape().str());
}

const std::vector<Tensor>& before_relu_of(const Features& features) {
  return features.before_relu.empty() ? features.stages : features.before_relu;
}

}  // namespace

void FeatureMethod::declare(Options& options) {
  options.add("weight", weight_, {.help = "weight of the distillation term", .min = 0, .max = 1e6});
}

Loss FeatureMethod::loss(const DistillBatch& batch) {
  const Tensor ce = task_loss(batch.student[0].logits, batch.labels);
  const Tensor term = knowledge(batch);
  return {.task = ce_weight_ == 1.0F ? ce : ce_weight_ * ce,
          .distillation = static_cast<float>(weight_) * term,
          .terms = {ce, term}};
}

FeaturePair in_f32(const FeaturePair& pair) {
  return {cast(pair.student, DType::f32), cast(pair.teacher, DType::f32)};
}

FeaturePairs stage_pairs(std::string_view method, const Outputs& student, const Outputs& teacher) {
  check_stages(method, "student", student.features.stages);
  check_stages(method, "teacher", teacher.features.stages);
  return pairs_from_the_end(student.features.stages, teacher.features.stages);
}

FeaturePairs before_relu_pairs(std::string_view method, const Outputs& student, const Outputs& teacher) {
  check_stages(method, "student", before_relu_of(student.features));
  check_stages(method, "teacher", before_relu_of(teacher.features));
  return pairs_from_the_end(before_relu_of(student.features), before_relu_of(teacher.features));
}

FeaturePair last_pair(std::string_view method, const Outputs& student, const Outputs& teacher) {
  return stage_pairs(method, student, teacher).back();
}

Tensor classified_images(const Features& features) {
  const Tensor& last = features.stages.back();
  return cast(features.before_relu.empty() ? last : relu(features.before_relu.back()), DType::f32);
}

FeaturePair pooled_pair(std::string_view method, const Outputs& student, const Outputs& teacher) {
  const Tensor& s = student.features.pooled;
  const Tensor& t = teacher.features.pooled;
  require(s.defined() && s.shape().rank() == 2, "{}: the student shows no vector before its classifier",
          method);
  require(t.defined() && t.shape().rank() == 2, "{}: the teacher shows no vector before its classifier",
          method);
  return in_f32({s, t.detach()});
}

FeaturePair pool_to_smaller(const FeaturePair& pair) {
  const std::int64_t height = std::min(pair.student.size(1), pair.teacher.size(1));
  const std::int64_t width = std::min(pair.student.size(2), pair.teacher.size(2));
  return {adaptive_avg_pool2d(pair.student, height, width), adaptive_avg_pool2d(pair.teacher, height, width)};
}

Tensor at_least(const Tensor& x, float floor) { return relu(x - floor) + floor; }

Tensor l2_normalise(const Tensor& x, const Shape& norms) {
  constexpr float smallest = 1e-24F;
  const Tensor squares = sum_to(square(x), norms);
  return x * (step(squares.detach() - smallest) / sqrt(at_least(squares, smallest)));
}

Tensor l2_rows(const Tensor& x) { return l2_normalise(x, {x.size(0), 1}); }

Tensor mean_squared_error(const Tensor& a, const Tensor& b) { return mean(square(a - b)); }

}  // namespace generous
