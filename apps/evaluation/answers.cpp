#include "apps/evaluation/answers.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace generous {

namespace {

/// The place of a confidence in (0, 1] among bins that reach up to 1.
std::size_t bin_of(double confidence, std::span<const CalibrationBin> bins) {
  const auto found =
      std::ranges::lower_bound(bins.first(bins.size() - 1), confidence, {}, &CalibrationBin::upper);
  return static_cast<std::size_t>(found - bins.begin());
}

}  // namespace

Answers::Answers(std::int64_t classes)
    : classes_(classes),
      images_of_(static_cast<std::size_t>(classes)),
      logit_sums_(static_cast<std::size_t>(classes * classes)) {}

void Answers::add(const Tensor& logits, const Tensor& labels) {
  require(logits.shape() == Shape{labels.numel(), classes_}, "answers: logits {} for {} labels, {} classes",
          logits.shape().str(), labels.numel(), classes_);
  const auto classes = static_cast<std::size_t>(classes_);
  std::span<const float> rest = logits.data<float>();
  for (const std::int64_t label : labels.data<std::int64_t>()) {
    const std::span<const float> row = rest.first(classes);
    images_.push_back(measure_image(row, label));
    const auto place = static_cast<std::size_t>(label);
    ++images_of_[place];
    const std::span<double> sums = std::span(logit_sums_).subspan(place * classes, classes);
    for (std::size_t c = 0; c < classes; ++c) sums[c] += row[c];
    rest = rest.subspan(classes);
  }
}

double Answers::mean_logit(std::int64_t label, std::int64_t output) const {
  return logit_sums_[static_cast<std::size_t>(label * classes_ + output)] /
         static_cast<double>(images_of_[static_cast<std::size_t>(label)]);
}

Moments moments_of(std::span<const ImageMeasures> images, double ImageMeasures::*measure) {
  const auto count = static_cast<double>(images.size());
  Moments moments;
  for (const ImageMeasures& image : images) moments.mean += image.*measure;
  moments.mean /= count;
  double squares = 0.0;
  for (const ImageMeasures& image : images)
    squares += (image.*measure - moments.mean) * (image.*measure - moments.mean);
  moments.deviation = std::sqrt(squares / count);
  return moments;
}

std::vector<std::int64_t> confusion(const Answers& answers) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(answers.classes() * answers.classes()));
  for (const ImageMeasures& image : answers.images())
    ++counts[static_cast<std::size_t>(image.label * answers.classes() + image.predicted)];
  return counts;
}

std::vector<ClassResult> by_class(const Answers& answers) {
  std::vector<ClassResult> results(static_cast<std::size_t>(answers.classes()));
  for (const ImageMeasures& image : answers.images()) {
    ClassResult& result = results[static_cast<std::size_t>(image.label)];
    ++result.images;
    if (image.predicted == image.label) ++result.correct;
    if (image.in_top5) ++result.correct5;
    result.confidence += image.confidence;
  }
  return results;
}

std::vector<CalibrationBin> calibration(std::span<const ImageMeasures> images) {
  std::vector<CalibrationBin> bins(calibration_bins);
  for (std::size_t i = 0; i < bins.size(); ++i) {
    bins[i].lower = static_cast<double>(i) / calibration_bins;
    bins[i].upper = static_cast<double>(i + 1) / calibration_bins;
  }
  for (const ImageMeasures& image : images) {
    CalibrationBin& bin = bins[bin_of(image.confidence, bins)];
    ++bin.images;
    if (image.predicted == image.label) ++bin.correct;
    bin.confidence += image.confidence;
  }
  return bins;
}

double expected_calibration_error(std::span<const CalibrationBin> bins) {
  double gaps = 0.0;
  std::int64_t images = 0;
  for (const CalibrationBin& bin : bins) {
    gaps += std::abs(static_cast<double>(bin.correct) - bin.confidence);
    images += bin.images;
  }
  return gaps / static_cast<double>(images);
}

double class_logit_distance(const Answers& one, const Answers& other) {
  double sum = 0.0;
  std::int64_t count = 0;
  for (std::int64_t label = 0; label < one.classes(); ++label)
    for (std::int64_t output = 0; output < one.classes(); ++output) {
      const double difference = one.mean_logit(label, output) - other.mean_logit(label, output);
      if (std::isnan(difference)) continue;
      sum += std::abs(difference);
      ++count;
    }
  return sum / static_cast<double>(count);
}

std::int64_t agreement(std::span<const ImageMeasures> one, std::span<const ImageMeasures> other) {
  std::int64_t same = 0;
  for (std::size_t i = 0; i < one.size(); ++i)
    if (one[i].predicted == other[i].predicted) ++same;
  return same;
}

std::vector<std::size_t> worst_images(std::span<const ImageMeasures> images, std::int64_t count) {
  std::vector<std::size_t> order(images.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater{}, [&](std::size_t i) { return images[i].loss; });
  order.resize(std::min(order.size(), static_cast<std::size_t>(count)));
  return order;
}

}  // namespace generous
