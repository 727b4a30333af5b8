// Loss and accuracy over all images of a loader, exactly: sums over images, not means over batches.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/options.h"
#include "data/loader.h"
#include "nn/module.h"
#include "nn/parallel/group.h"

namespace generous {

/// Images at a time, where nothing else is asked for.
inline constexpr std::int64_t evaluation_batch = 250;

struct Evaluation {
  std::int64_t images = 0;
  double loss = 0.0;            ///< mean cross-entropy
  std::int64_t correct = 0;     ///< images whose label is the largest logit
  std::int64_t correct5 = 0;    ///< among the five largest, or among all of fewer classes
  double paper_accuracy = 0.0;  ///< top-1 in percent as the paper's program has it, see PaperAccuracy
  std::vector<double> logit_deviations = {};  ///< of each image: sigma of its logits, see spread.h
  /// "nan for class 2 of image 17": the first such logit; all else is void then.
  std::string not_finite = {};

  double top1() const { return percent(correct); }
  double top5() const { return percent(correct5); }

 private:
  double percent(std::int64_t count) const {
    return 100.0 * static_cast<double>(count) / static_cast<double>(images);
  }
};

/// The paper's program averages the accuracies of batches of 128 images: the last, smaller one counts like a
/// full one.
class PaperAccuracy {
 public:
  void add(bool correct);
  /// Of all images so far; 0 for none.
  double percent() const;

 private:
  std::int64_t images_ = 0;   ///< of the batch under way
  std::int64_t correct_ = 0;  ///< likewise
  std::int64_t batches_ = 0;  ///< that are full
  double sum_ = 0.0;          ///< of their accuracies
};

/// The switch for PaperAccuracy.
void declare_paper_metrics(Options& options, bool& paper_metrics);

/// Shown a batch and its logits {B, C}, which are finite and on the host.
using SeeLogits = std::function<void(const Batch& batch, const Tensor& logits)>;

struct EvaluationOptions {
  DType dtype = DType::f32;  ///< what the model computes in
  bool record = true;        ///< on a GPU: record what is done to a batch, and replay it
  Group* group = nullptr;    ///< the processes that evaluate together; null: there are none
};

/// Stops at the first logit that is not finite. Leaves the model in evaluation mode. `go_on` is asked after
/// every batch, with about how many images are done; nothing is returned if it said no. Of a group each
/// loader has its process's share of the batches, in order, and everyone gets the result, which is that of
/// one process to the bit; nothing if `go_on` of any said no.
std::optional<Evaluation> evaluate(Module& model, Loader& loader, const EvaluationOptions& options,
                                   const std::function<bool(std::int64_t images)>& go_on,
                                   const SeeLogits& see = {});

}  // namespace generous
