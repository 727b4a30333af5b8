// A distillation method: what a student learns from a batch and what a teacher says of it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"
#include "nn/losses.h"
#include "nn/network.h"

namespace generous {

/// What one network says of one view of a batch.
struct Outputs {
  Tensor logits;               ///< {B, C}
  Features features;           ///< empty unless needed
  Classifier classifier = {};  ///< likewise
};

/// What a method sees of a step, all on the device.
struct DistillBatch {
  std::vector<Outputs> student;  ///< one for each view of the images
  std::vector<Outputs> teacher;  ///< likewise, without gradients; empty where no teacher is needed
  Labels labels;
  Tensor indices;          ///< i64 {B}: which training images
  Tensor step;             ///< i64 {}: of the run, from 0
  std::int64_t epoch = 0;  ///< what Method::loss_since says of the epoch
};

/// What a step minimises. All of shape {}.
struct Loss {
  Tensor task;               ///< what the labels say, weighted
  Tensor distillation = {};  ///< what the teacher says, weighted; undefined where there is none
  Tensor non_target = {};    ///< of that, what it says of other classes than the label's, if it is told apart
  std::vector<Tensor> terms;  ///< what all are made of, unweighted, in the order of Method::terms
  Tensor flat_rows = {};      ///< how many images a term left out (NckdLoss); undefined where none can

  /// Those that there are, of Method::losses.
  std::vector<Tensor> parts() const {
    std::vector<Tensor> parts{task};
    for (const Tensor& part : {distillation, non_target})
      if (part.defined()) parts.push_back(part);
    return parts;
  }
  Tensor total() const {
    Tensor sum = task;
    if (distillation.defined()) sum = sum + distillation;
    return non_target.defined() ? sum + non_target : sum;
  }
};

/// What a method needs of a step beside logits and labels.
struct Needs {
  bool teacher = true;
  bool features = false;
  bool before_relu = false;  ///< with features
  bool classifiers = false;
  int views = 1;                ///< of each image; 2: also a strong one (data/rand_augment.h)
  bool teacher_trains = false;  ///< its batch norms use the batch's statistics, as in training
  bool class_means = false;     ///< with a teacher: TrainingSet::class_means
  bool relational = false;      ///< its loss is no mean over images, but knows all of a batch
  bool one_label = false;       ///< what it adds to the task goes by each image's one label, or by its index
};

/// What a method may know of the images to train on.
struct TrainingSet {
  std::span<const std::int64_t> labels;  ///< of every image, by its index
  std::int64_t classes = 0;
  Tensor class_means = {};  ///< {classes, D}: of the teacher's pooled vectors {N, D}; undefined unless needed
};

/// Its parameters and buffers are connectors, banks, learned temperatures: they are trained and kept with the
/// student, but are no part of it.
class Method : public Module {
 public:
  /// Declares its hyper-parameters, bound to its members, with the published values as defaults.
  virtual void declare(Options&) {}
  virtual Needs needs() const { return {}; }
  /// How many parts its Loss has.
  virtual std::size_t losses() const { return 2; }
  /// The names of Loss::terms.
  virtual std::vector<std::string> terms() const = 0;
  /// The network to train: the student itself, or one built around it. Called once, before `connect`, with
  /// the outputs of one image as there. Throws Error for a pair that the method cannot join.
  virtual std::unique_ptr<Network> student(std::unique_ptr<Network> student, const Outputs& /*of_student*/,
                                           const Outputs& /*of_teacher*/, std::uint64_t /*seed*/) {
    return student;
  }
  /// Builds what depends on the networks; called once, before `loss`. The outputs are of one image; empty
  /// where neither features nor classifiers are needed. Throws Error for a pair that the method cannot join.
  virtual void connect(const Outputs& /*student*/, const Outputs& /*teacher*/, const TrainingSet& /*train*/) {
  }
  /// The first epoch, counted from 0, since which the loss has been that of `epoch`: 0 where it never
  /// changes.
  virtual std::int64_t loss_since(std::int64_t /*epoch*/) const { return 0; }
  /// Nothing but kernels, so that a step can be recorded.
  virtual Loss loss(const DistillBatch& batch) = 0;

  /// A method has no output of its own: throws Error.
  Tensor forward(const Tensor& x) final;
};

/// min(epoch / warmup_epochs, 1), epochs from 0; 1 throughout when warmup_epochs is 0.
float warmup_factor(std::int64_t epoch, std::int64_t warmup_epochs);
/// The same of a publication that counts its epochs from 1: min((epoch + 1) / warmup_epochs, 1).
inline float warmup_from_one(std::int64_t epoch, std::int64_t warmup_epochs) {
  return warmup_factor(epoch + 1, warmup_epochs);
}

/// Method::loss_since of either.
inline std::int64_t warmup_since(std::int64_t epoch, std::int64_t warmup_epochs) {
  return epoch < warmup_epochs ? epoch : warmup_epochs;
}

/// What an optimiser steps: the student's parameters, and the method's with the prefix "method.".
std::vector<StateEntry> parameters_of(const Network& student, const Method& method);

}  // namespace generous
