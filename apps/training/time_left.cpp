#include "apps/training/time_left.h"

#include <cmath>

namespace generous {

namespace {

constexpr double horizon_seconds = 120.0;
/// Until an epoch was tested: a test has the forward of a training step, and no backward, which takes twice
/// as long.
constexpr double test_share = 1.0 / 3.0;

}  // namespace

void TimeLeft::Average::add(double more_images, double more_seconds) {
  const double kept = std::exp(-more_seconds / horizon_seconds);
  images = kept * images + more_images;
  seconds = kept * seconds + more_seconds;
}

void TimeLeft::trained(std::int64_t images, double seconds) {
  if (images < epoch_images_ || seconds < epoch_seconds_) epoch_images_ = 0, epoch_seconds_ = 0.0;
  training_.add(static_cast<double>(images - epoch_images_), seconds - epoch_seconds_);
  epoch_images_ = images;
  epoch_seconds_ = seconds;
}

std::optional<double> TimeLeft::seconds(const Rest& rest) const {
  if (training_.images <= 0.0) return std::nullopt;
  const double training = training_.seconds / training_.images;
  const double testing = testing_.images > 0.0 ? testing_.seconds / testing_.images : test_share * training;
  const auto epochs = static_cast<double>(rest.epochs);
  return (rest.trained + epochs * rest.epoch_images) * training +
         (rest.tested + epochs * tested_images_) * testing;
}

}  // namespace generous
