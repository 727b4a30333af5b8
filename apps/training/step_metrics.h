// What training steps measure. It stays on their device, one row of a table a step, until somebody reads it:
// on a GPU reading waits for everything before it, so many steps are read in one copy.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/tensor.h"

namespace generous {

struct StepMetrics {
  float loss = 0.0F;
  std::vector<float> terms;
  float correct = 0.0F;  ///< how many images have their label as the largest logit; of mixed ones, the label
                         ///< with the larger share
  std::optional<float> flat_rows;  ///< Loss::flat_rows; nothing likewise
};

class MetricsTable;

/// A step's metrics, which stay those of this step whatever is run after it.
class PendingMetrics {
 public:
  /// Waits for the step. The first of several reads for all of them.
  StepMetrics read() const;

 private:
  friend class MetricsTable;
  struct Rows;
  PendingMetrics(std::shared_ptr<Rows> rows, std::int64_t row) : rows_(std::move(rows)), row_(row) {}

  std::shared_ptr<Rows> rows_;
  std::int64_t row_;
};

class MetricsTable {
 public:
  /// For losses of so many terms.
  MetricsTable(std::size_t terms, Device device);

  /// To be called before a step.
  void begin_step();
  /// In a step, kernels alone: {} each, `flat_rows` undefined where there is none. Every step has the same.
  void store(const Tensor& loss, const std::vector<Tensor>& terms, const Tensor& correct,
             const Tensor& flat_rows);
  /// Of the step that was run since begin_step, by itself or as a replay.
  PendingMetrics end_step();

 private:
  Tensor count_;  ///< {} of i64: of the steps, on the device
  Tensor table_;  ///< {rows, scalars}
  bool flat_rows_ = false;
  std::int64_t steps_ = 0;                      ///< the same count here
  std::shared_ptr<PendingMetrics::Rows> rows_;  ///< of the latest steps
};

}  // namespace generous
