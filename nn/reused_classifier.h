// A student that ends in its teacher's classifier: Chen et al., "Knowledge distillation with the reused
// teacher classifier", 2022.
#pragma once

#include <memory>

#include "nn/network.h"

namespace generous {

/// Images {N, H, W, in} -> {N, H, W, out}: 1x1 to out / factor, 3x3, 1x1 to out, each with batch norm and
/// ReLU.
class Projector : public Sequential {
 public:
  Projector(std::int64_t in, std::int64_t out, std::int64_t factor);
};

struct ReusedClassifierOptions {
  std::int64_t in = 0;        ///< channels of the student's last stage
  std::int64_t channels = 0;  ///< of the teacher's last stage, which its classifier takes
  std::int64_t factor = 2;    ///< by which the projector is narrower inside
  std::int64_t height = 0;    ///< of the teacher's last stage: a larger one of the student is averaged down
  std::int64_t width = 0;
  std::int64_t classes = 0;
};

/// What stands behind a student's last stage x {N, H, W, in}. State: `transfer`, a Projector, and
/// `classifier.weight` {classes, channels} and `classifier.bias`, which are not trained.
class ReusedClassifierHead : public Module {
 public:
  explicit ReusedClassifierHead(const ReusedClassifierOptions& options);
  /// {N, min(H, height), min(W, width), channels}: x as the teacher's last stage.
  Tensor project(const Tensor& x);
  Tensor classify(const Tensor& pooled) const;
  Tensor forward(const Tensor& x) override { return classify(global_avg_pool(project(x))); }
  /// Copies a teacher's classifier.
  void reuse(const Classifier& classifier);

 private:
  class Frozen;
  ReusedClassifierOptions options_;
  Projector& transfer_;
  Frozen& classifier_;
};

/// The logits are those of the head behind `backbone`, whose own classifier has no part in it. Its features
/// are the backbone's, but for the last stage, which is the projected one.
class ReusedClassifier : public Network {
 public:
  ReusedClassifier(std::unique_ptr<Network> backbone, const ReusedClassifierOptions& options);
  Tensor forward(const Tensor& x, Features* features) override;

  const ReusedClassifierOptions& options() const { return options_; }
  ReusedClassifierHead& head() { return head_; }

 private:
  ReusedClassifierOptions options_;
  Network& backbone_;
  ReusedClassifierHead& head_;
};

}  // namespace generous
