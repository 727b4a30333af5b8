// Loss and accuracy over all images of a loader, exactly: sums over images, not means over batches.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "data/loader.h"
#include "nn/module.h"

namespace generous {

/// Images at a time, where nothing else is asked for.
inline constexpr std::int64_t evaluation_batch = 250;

struct Evaluation {
  std::int64_t images = 0;
  double loss = 0.0;          ///< mean cross-entropy
  std::int64_t correct = 0;   ///< images whose label is the largest logit
  std::int64_t correct5 = 0;  ///< among the five largest, or among all of fewer classes

  double top1() const { return percent(correct); }
  double top5() const { return percent(correct5); }

 private:
  double percent(std::int64_t count) const {
    return 100.0 * static_cast<double>(count) / static_cast<double>(images);
  }
};

/// Computes in `dtype`. Leaves the model in evaluation mode. `go_on` is asked after every batch, with the
/// number of images done; nothing is returned if it said no.
std::optional<Evaluation> evaluate(Module& model, Loader& loader, DType dtype,
                                   const std::function<bool(std::int64_t images)>& go_on);

}  // namespace generous
