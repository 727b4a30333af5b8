// A network's answers to the images of a split, and what follows from them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "apps/evaluation/image_measures.h"
#include "core/tensor.h"

namespace generous {

/// What a network says of every image, in the dataset's order, and its mean logits for each class.
class Answers {
 public:
  explicit Answers(std::int64_t classes);

  /// Of a batch: logits f32 {B, classes}, finite, and labels i64 {B}, both on the host.
  void add(const Tensor& logits, const Tensor& labels);

  std::int64_t classes() const { return classes_; }
  std::span<const ImageMeasures> images() const { return images_; }
  /// Of the images of class `label`; nan if there are none.
  double mean_logit(std::int64_t label, std::int64_t output) const;

 private:
  std::int64_t classes_;
  std::vector<ImageMeasures> images_;
  std::vector<std::int64_t> images_of_;  ///< {classes}: how many images each has
  std::vector<double> logit_sums_;       ///< {classes, classes}: by label
};

/// Mean and standard deviation (over all images, not one less) of a measure.
struct Moments {
  double mean = 0.0;
  double deviation = 0.0;
};
Moments moments_of(std::span<const ImageMeasures> images, double ImageMeasures::*measure);

/// {classes, classes}: images of class i that are taken for class j, at i * classes + j.
std::vector<std::int64_t> confusion(const Answers& answers);

/// Sums over the images of a class.
struct ClassResult {
  std::int64_t images = 0;
  std::int64_t correct = 0;
  std::int64_t correct5 = 0;
  double confidence = 0.0;
};
std::vector<ClassResult> by_class(const Answers& answers);

/// Sums over the images whose confidence is in (lower, upper]. (Guo et al., "On calibration of modern neural
/// networks", 2017)
struct CalibrationBin {
  double lower = 0.0;
  double upper = 0.0;
  std::int64_t images = 0;
  std::int64_t correct = 0;
  double confidence = 0.0;
};
inline constexpr std::int64_t calibration_bins = 15;
std::vector<CalibrationBin> calibration(std::span<const ImageMeasures> images);
/// Mean over the images of |accuracy - mean confidence| of their bins.
double expected_calibration_error(std::span<const CalibrationBin> bins);

/// The mean of |difference| between the mean logits of two networks, over all classes of images and outputs;
/// classes without images are left out.
double class_logit_distance(const Answers& one, const Answers& other);

/// How many images both networks take for the same class.
std::int64_t agreement(std::span<const ImageMeasures> one, std::span<const ImageMeasures> other);

/// The indices of the `count` images (or all) of the largest loss, falling; of equal ones the first.
std::vector<std::size_t> worst_images(std::span<const ImageMeasures> images, std::int64_t count);

}  // namespace generous
