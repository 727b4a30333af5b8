#include "nn/distill/reviewkd.h"

#include "nn/distill/feature_method.h"
#include "nn/distill/generous.h"

namespace generous {
namespace {

/// {N, C} -> {N, 1, 1, C} in the dtype of `images`.
Tensor as_images(const Tensor& x, const Tensor& images) {
  return cast(reshape(x, {x.size(0), 1, 1, x.size(1)}), images.dtype());
}

/// From the last to the first; the student's stages as they are, the teacher's before their ReLU.
FeaturePairs levels_of(const Outputs& student, const Outputs& teacher) {
  const FeaturePair pooled = pooled_pair("reviewkd", student, teacher);
  const FeaturePairs before_relu = before_relu_pairs("reviewkd", student, teacher);
  const FeaturePairs stages = stage_pairs("reviewkd", student, teacher);
  FeaturePairs levels{
      {as_images(pooled.student, stages.back().student), as_images(pooled.teacher, stages.back().teacher)}};
  for (std::size_t i = stages.size(); i > 0; --i)
    levels.push_back({stages[i - 1].student, before_relu[i - 1].teacher});
  return levels;
}

Sequential& append_conv_bn(Sequential& sequential, Conv2dOptions options, std::int64_t channels) {
  options.weights = Conv2dOptions::Weights::unit_gain;
  sequential.append<Conv2d>(options);
  sequential.append<BatchNorm>(channels);
  return sequential;
}

/// Attention-based fusion of a level of the student with what comes from the level behind it.
class Fusion : public Module {
 public:
  /// `student` and `teacher` {N, H, W, C} of the level; `fuses`: not at the last one, which has none behind.
  Fusion(const Shape& student, const Shape& teacher, std::int64_t mid, bool fuses)
      : height_(teacher[1]),
        width_(teacher[2]),
        conv1_(append_conv_bn(add<Sequential>("conv1"), {.in = student[3], .out = mid, .kernel = 1}, mid)),
        conv2_(append_conv_bn(add<Sequential>("conv2"),
                              {.in = mid, .out = teacher[3], .kernel = 3, .padding = 1}, teacher[3])) {
    if (!fuses) return;
    attention_ = &add<Sequential>("att_conv");
    attention_->append<Conv2d>(Conv2dOptions{.in = 2 * mid, .out = 2, .kernel = 1, .bias = true});
  }

  struct Result {
    Tensor y;        ///< of the teacher's shape
    Tensor carried;  ///< {N, H, W, mid}, of the teacher's height and width: for the next level
  };
  Result forward(const Tensor& level, const Tensor& behind) {
    Tensor x = conv1_(level);
    if (attention_ != nullptr) {
      const Tensor r = upsample_nearest(behind, x.size(1), x.size(2));
      const Tensor z = sigmoid((*attention_)(concat({x, r})));
      x = x * slice_channels(z, 0, 1) + r * slice_channels(z, 1, 1);
    }
    x = upsample_nearest(x, height_, width_);
    return {conv2_(x), x};
  }
  Tensor forward(const Tensor& x) override { return forward(x, {}).y; }

 private:
  std::int64_t height_;
  std::int64_t width_;
  Sequential& conv1_;
  Sequential& conv2_;
  Sequential* attention_ = nullptr;
};

class ReviewKd : public FeatureMethod {
 public:
  ReviewKd() : FeatureMethod("reviewkd", 5.0) {}
  void declare(Options& options) override {
    FeatureMethod::declare(options);
    options.add("warmup", warmup_, {.help = "epochs in which the weight grows", .min = 0, .max = 1e6});
    options.add("mid", mid_,
                {.help = "channels of the fusions, at most those before the student's classifier",
                 .min = 1,
                 .max = 65536});
  }
  Needs needs() const override { return {.features = true, .before_relu = true}; }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    const std::int64_t mid = std::min(mid_, student.features.pooled.size(1));
    for (const FeaturePair& level : levels_of(student, teacher))
      fusions_.push_back(&add<Fusion>("abfs." + std::to_string(fusions_.size()), level.student.shape(),
                                      level.teacher.shape(), mid, !fusions_.empty()));
  }

  std::int64_t loss_since(std::int64_t epoch) const override { return warmup_since(epoch, warmup_); }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    Tensor sum;
    Tensor behind;
    const FeaturePairs levels = levels_of(batch.student[0], batch.teacher[0]);
    for (std::size_t i = 0; i < levels.size(); ++i) {
      const auto [y, carried] = fusions_[i]->forward(levels[i].student, behind);
      behind = carried;
      const Tensor term = context_loss(y, levels[i].teacher);
      sum = sum.defined() ? sum + term : term;
    }
    return warmup_factor(batch.epoch, warmup_) * sum;
  }

 private:
  std::int64_t warmup_ = 20;
  std::int64_t mid_ = 512;
  std::vector<Fusion*> fusions_;
};

}  // namespace

Tensor context_loss(const Tensor& student, const Tensor& teacher) {
  Tensor sum = mean_squared_error(student, teacher);
  float weight = 1.0F;
  float weights = 1.0F;
  for (const std::int64_t size : {4, 2, 1}) {
    if (size >= student.size(1)) continue;
    weight /= 2.0F;
    weights += weight;
    sum = sum + weight * mean_squared_error(adaptive_avg_pool2d(student, size, size),
                                            adaptive_avg_pool2d(teacher, size, size));
  }
  return sum / weights;
}

std::unique_ptr<Method> make_reviewkd() { return std::make_unique<ReviewKd>(); }

}  // namespace generous
