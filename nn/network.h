// Networks: modules from images to logits that show what they compute on the way.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/layers.h"

namespace generous {

/// What a network shows of one forward pass beside its logits; images {N, H, W, C}. Which of them a network
/// has, and where it takes them, is written in its `forward`.
struct Features {
  bool wants_before_relu = false;  ///< set by the caller: `before_relu` is wanted too

  std::vector<Tensor> stages;  ///< [0] the stem's output, then one for each stage, behind its last ReLU
  /// As `stages`, before that ReLU; where a network's next layer is a batch norm with ReLU, behind that batch
  /// norm. [0] is stages[0] itself. Empty unless wanted, and in networks whose stages do not end in a ReLU.
  std::vector<Tensor> before_relu;
  /// As `stages`: the batch norm whose affine map feeds `before_relu`; nullptr where there is no single one.
  std::vector<const BatchNorm*> norms;
  Tensor pooled;  ///< {N, C}: what the classifier sees
};

/// The last layer of a network: logits = pooled weight' + bias.
struct Classifier {
  Tensor weight;  ///< {classes, C}
  Tensor bias;    ///< {classes}
};

class Network : public Module {
 public:
  /// x {N, H, W, C} -> logits {N, classes}. `features`, if not nullptr, is filled; it must be empty but for
  /// what is wanted. Without it nothing is kept.
  virtual Tensor forward(const Tensor& x, Features* features) = 0;
  Tensor forward(const Tensor& x) final { return forward(x, nullptr); }
  /// Its parameters, which are the last of the network's state: gradients that reach them train it.
  Classifier classifier() const;
};

/// Adds the output of one stage to the features of a forward pass, if they are wanted.
class StageTap {
 public:
  explicit StageTap(Features* features) : features_(features) {}
  /// Where the stage puts its output before the last ReLU; nullptr: not wanted.
  Tensor* before_relu() {
    return features_ != nullptr && features_->wants_before_relu ? &before_relu_ : nullptr;
  }
  /// A stage: its output, and the batch norm that feeds `before_relu`.
  void add(const Tensor& output, const BatchNorm* norm);
  /// The stem: its output stands for what is before its ReLU, too.
  void add_stem(const Tensor& output);

 private:
  Features* features_;
  Tensor before_relu_;
};

/// Which block of a stage has the ReLU that `before_relu` is before: the last one in its sum, or, where
/// blocks begin with batch norm and ReLU, the first of the stage that comes after.
enum class TappedBlock : std::uint8_t { last, first };

/// Blocks one after another, named "0", "1", ... in the order of `append`. Block has `Tensor forward(const
/// Tensor& x, Tensor* before_relu)`, and one of the blocks is given the pointer.
template <class Block, TappedBlock tapped = TappedBlock::last>
class Stage : public Module {
 public:
  template <class... Args>
  void append(Args&&... args) {
    append_as(std::to_string(blocks_.size()), std::forward<Args>(args)...);
  }
  /// Under another name.
  template <class... Args>
  void append_as(const std::string& name, Args&&... args) {
    blocks_.push_back(&add<Block>(name, std::forward<Args>(args)...));
  }
  Tensor forward(const Tensor& x) override { return forward(x, nullptr); }
  Tensor forward(const Tensor& x, Tensor* before_relu) {
    Tensor y = x;
    for (Block* block : blocks_) y = block->forward(y, block == &tap() ? before_relu : nullptr);
    return y;
  }
  const Block& tap() const { return *(tapped == TappedBlock::last ? blocks_.back() : blocks_.front()); }

 private:
  std::vector<Block*> blocks_;
};

}  // namespace generous
