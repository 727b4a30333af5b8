// What weights are worth on the images that they are not trained on.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "apps/training/evaluation.h"
#include "apps/training/training_data.h"
#include "nn/weight_average.h"

namespace generous {

struct Measured {
  Evaluation test;
  std::optional<Evaluation> validation;  ///< where images are held out

  /// On the images by which the best epoch is chosen.
  const Evaluation& choosing() const { return validation ? *validation : test; }
};

/// Of the weights at the end of an epoch, and of their average, if there is one.
struct EpochMeasures {
  Measured weights;
  std::optional<Measured> average;
};

/// "the logits of the test images became nan for class 2 of image 17": the first measure that is not finite;
/// "" if all are.
std::string fault_of(const EpochMeasures& measures);

class Measuring {
 public:
  /// Asked after every batch, with the images done and all that there are: whether to go on.
  using GoOn = std::function<bool(std::int64_t images, std::int64_t all)>;

  /// `data` must outlive it; `training` are the options of the training's batches. All processes of
  /// options.group measure together.
  Measuring(const Data& data, const LoaderOptions& training, const EvaluationOptions& options);

  /// Of the model and of the average of its weights, which may be null. Leaves the model in evaluation mode.
  /// Nothing is returned if `go_on` said no.
  std::optional<EpochMeasures> measure(Module& model, WeightAverage* average, const GoOn& go_on);
  /// Of any model on the test images; likewise.
  std::optional<Evaluation> test(Module& model, const GoOn& go_on);

 private:
  std::optional<Measured> measure(Module& model, const GoOn& go_on);

  Loader test_;
  std::optional<Loader> validation_;
  std::int64_t test_images_;
  std::int64_t validation_images_;
  EvaluationOptions options_;
};

}  // namespace generous
