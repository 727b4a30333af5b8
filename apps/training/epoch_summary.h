// What TensorBoard shows of an epoch.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "apps/tensorboard/event_file.h"
#include "apps/training/evaluation.h"
#include "core/safetensors.h"

namespace generous {

/// What an epoch has, measured already.
struct EpochFacts {
  std::int64_t epoch = 0;  ///< from 1
  // Of metrics.csv, without the epoch.
  std::span<const std::string> columns;
  std::span<const double> values;
  std::span<const std::string> terms;  ///< of the loss
  const Evaluation& test;
  const NamedTensors& weights;  ///< of the network, on the host
};

/// Scalars: every column ("test_loss" as test/loss, the loss's terms as train/loss/TERM), and logits/std, the
/// mean over the test images of the logits' standard deviation. Histograms: logits/std_by_test_image;
/// weights/classifier, the numbers of the last matrix; weights/norm_by_layer, the Euclidean norm of each
/// matrix and each convolution's weights.
EpochSummary summary_of(const EpochFacts& facts);

/// A text as TensorBoard's pages show it letter by letter.
std::string as_code(const std::string& text);

}  // namespace generous
