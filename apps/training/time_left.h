// How long a run will still take.
#pragma once

#include <cstdint>
#include <optional>

namespace generous {

/// What is left of a run.
struct Rest {
  double trained = 0.0;       ///< images of the epoch under way that are still to be trained on
  double tested = 0.0;        ///< the same of its test
  std::int64_t epochs = 0;    ///< further whole epochs
  double epoch_images = 0.0;  ///< that each of them trains on
};

/// Goes by running averages of the time that an image takes, in training and in tests.
class TimeLeft {
 public:
  /// After each epoch so many images are tested.
  explicit TimeLeft(std::int64_t tested_images) : tested_images_(static_cast<double>(tested_images)) {}

  /// What an epoch has come to: so many images in so many seconds of training. To be called now and then.
  void trained(std::int64_t images, double seconds);
  /// An epoch was tested.
  void tested(double seconds) { testing_.add(tested_images_, seconds); }

  /// Nothing before the first images.
  std::optional<double> seconds(const Rest& rest) const;
  double tested_images() const { return tested_images_; }

 private:
  /// Of the last minutes, older ones counting less and less.
  struct Average {
    void add(double more_images, double more_seconds);
    double images = 0.0;
    double seconds = 0.0;
  };

  double tested_images_;
  std::int64_t epoch_images_ = 0;  ///< at the last call of `trained`
  double epoch_seconds_ = 0.0;     ///< likewise
  Average training_;
  Average testing_;
};

}  // namespace generous
