#include "nn/distill/wkd_f.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "nn/distill/connectors.h"

namespace generous {
namespace {

/// Of the cells of images {N, H, W, C}: {N, grid, grid, C} each.
struct Moments {
  Moments(const Tensor& x, std::int64_t grid, float eps) : mean(adaptive_avg_pool2d(x, grid, grid)) {
    const auto pixels = static_cast<float>(x.size(1) * x.size(2) / (grid * grid));
    const Tensor centred = x - upsample_nearest(mean, x.size(1), x.size(2));
    const Tensor variance = adaptive_avg_pool2d(square(centred), grid, grid) * (pixels / (pixels - 1.0F));
    deviation = sqrt(variance + eps);
  }
  Tensor mean;
  Tensor deviation;
};

class WkdF : public FeatureMethod {
 public:
  WkdF() : FeatureMethod("wkd_f", 0.08) {}
  void declare(Options& options) override {
    FeatureMethod::declare(options);
    options.add("mean_cov_ratio", ratio_,
                {.help = "weight of the means, where the deviations have 1", .min = 0, .max = 1e6});
    options.add("eps", eps_, {.help = "added to variances", .min = 1e-12, .max = 1});
    options.add("grid", grid_, {.help = "cells along each axis of the features", .min = 1, .max = 64});
    options.add("decay_start", decay_start_,
                {.help = "epoch from which the weight falls on half a cosine", .min = 0, .max = 1e6});
    options.add("decay_end", decay_end_, {.help = "epoch at which it is 0", .min = 1, .max = 1e6});
  }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    const FeaturePair last = last_pair("wkd_f", student, teacher);
    const Shape& shape = last.teacher.shape();
    regressor_ = &add<ConvRegressor>("conv_reg", "wkd_f", last.student.shape(), shape);
    require(shape[1] % grid_ == 0 && shape[2] % grid_ == 0 && shape[1] * shape[2] > grid_ * grid_,
            "wkd_f: the teacher's images of {}x{} have no {}x{} equal cells of more than one pixel: see grid",
            shape[1], shape[2], grid_, grid_);
  }
  std::int64_t loss_since(std::int64_t epoch) const override {
    return epoch <= decay_start_ ? 0 : std::min(epoch, std::max(decay_end_, decay_start_ + 1));
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    const FeaturePair last = last_pair("wkd_f", batch.student[0], batch.teacher[0]);
    const FeaturePair same = in_f32({(*regressor_)(last.student), last.teacher});
    return decay(batch.epoch) *
           wkd_f_loss(same.student, same.teacher,
                      {.ratio = static_cast<float>(ratio_), .eps = static_cast<float>(eps_), .grid = grid_});
  }

 private:
  float decay(std::int64_t epoch) const {
    if (epoch <= decay_start_) return 1.0F;
    if (epoch >= decay_end_) return 0.0F;
    const double done =
        static_cast<double>(epoch - decay_start_) / static_cast<double>(decay_end_ - decay_start_);
    return static_cast<float>((1.0 + std::cos(std::numbers::pi * done)) / 2.0);
  }

  double ratio_ = 4.0;
  double eps_ = 1e-5;
  std::int64_t grid_ = 1;
  std::int64_t decay_start_ = 150;
  std::int64_t decay_end_ = 240;
  ConvRegressor* regressor_ = nullptr;
};

}  // namespace

Tensor wkd_f_loss(const Tensor& student, const Tensor& teacher, const WkdFOptions& options) {
  const Moments s(student, options.grid, options.eps);
  const Moments t(teacher, options.grid, options.eps);
  const auto cells = static_cast<float>(student.size(0) * options.grid * options.grid);
  return (options.ratio * sum(square(s.mean - t.mean)) + sum(square(s.deviation - t.deviation))) / cells;
}

std::unique_ptr<Method> make_wkd_f() { return std::make_unique<WkdF>(); }

}  // namespace generous
