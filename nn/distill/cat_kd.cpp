#include "nn/distill/cat_kd.h"

#include "nn/distill/feature_method.h"

namespace generous {
namespace {

/// {N, H, W, classes}
Tensor class_maps(const Outputs& outputs) {
  const Tensor x = classified_images(outputs.features);
  const Tensor pixels = reshape(x, {x.numel() / x.size(3), x.size(3)});
  const Tensor maps = linear(pixels, outputs.classifier.weight, outputs.classifier.bias);
  return reshape(maps, {x.size(0), x.size(1), x.size(2), maps.size(1)});
}

class CatKd : public FeatureMethod {
 public:
  CatKd() : FeatureMethod("cat_kd", 400.0) {}
  void declare(Options& options) override {
    FeatureMethod::declare(options);
    options.add("resolution", resolution_,
                {.help = "height and width of the class maps that are compared", .min = 1, .max = 64});
    options.add("normalize", normalize_, {.help = "divide each class map by its norm"});
  }
  Needs needs() const override { return {.features = true, .before_relu = true, .classifiers = true}; }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    stage_pairs("cat_kd", student, teacher);
    check("student", student);
    check("teacher", teacher);
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    return cat_kd_loss(class_maps(batch.student[0]), class_maps(batch.teacher[0]).detach(), resolution_,
                       normalize_);
  }

 private:
  static void check(std::string_view network, const Outputs& outputs) {
    const Tensor last = classified_images(outputs.features);
    require(last.size(3) == outputs.classifier.weight.size(1),
            "cat_kd: the {}'s classifier takes {} channels, its last stage {} has others: there are no class "
            "maps",
            network, outputs.classifier.weight.size(1), last.shape().str());
  }

  std::int64_t resolution_ = 2;
  bool normalize_ = true;
};

/// {N, H W, classes}: the maps as vectors, averaged down.
Tensor pooled_maps(const Tensor& maps, std::int64_t resolution, bool normalize) {
  const Shape shape{maps.size(0), resolution * resolution, maps.size(3)};
  const Tensor pooled = reshape(adaptive_avg_pool2d(maps, resolution, resolution), shape);
  return normalize ? l2_normalise(pooled, {shape[0], 1, shape[2]}) : pooled;
}

}  // namespace

Tensor cat_kd_loss(const Tensor& student, const Tensor& teacher, std::int64_t resolution, bool normalize) {
  return mean_squared_error(pooled_maps(student, resolution, normalize),
                            pooled_maps(teacher, resolution, normalize));
}

std::unique_ptr<Method> make_cat_kd() { return std::make_unique<CatKd>(); }

}  // namespace generous
