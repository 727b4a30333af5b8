#include "apps/training/step_metrics.h"

#include <span>

#include "core/backend.h"

namespace generous {

/// Consecutive steps' rows {rows, scalars}: loss, correct, flat rows if there are, terms.
struct PendingMetrics::Rows {
  static constexpr std::int64_t most = 32;

  Tensor table;
  bool flat_rows = false;
  std::int64_t written = 0;
  std::vector<float> host;  ///< copy of the table
  std::int64_t read = 0;    ///< rows of it that were written then
};

StepMetrics PendingMetrics::read() const {
  Rows& rows = *rows_;
  if (row_ >= rows.read) {
    rows.host.resize(static_cast<std::size_t>(rows.table.numel()));
    backend(rows.table.device()).copy_to_host(rows.table, rows.host.data());
    rows.read = rows.written;
  }
  const auto width = static_cast<std::size_t>(rows.table.size(1));
  const std::span<const float> values =
      std::span(rows.host).subspan(static_cast<std::size_t>(row_) * width, width);
  const std::size_t first_term = rows.flat_rows ? 3 : 2;
  StepMetrics metrics{.loss = values[0],
                      .terms = {values.begin() + static_cast<std::ptrdiff_t>(first_term), values.end()},
                      .correct = values[1],
                      .flat_rows = {}};
  if (rows.flat_rows) metrics.flat_rows = values[2];
  return metrics;
}

// The table is there before the first step, whose memory it would otherwise keep from the second one.
MetricsTable::MetricsTable(std::size_t terms, Device device)
    : count_(Tensor::zeros({}, DType::i64, device)),
      table_(Tensor::empty({PendingMetrics::Rows::most, 2 + static_cast<std::int64_t>(terms)}, DType::f32,
                           device)) {}

void MetricsTable::begin_step() {
  if (steps_ % PendingMetrics::Rows::most != 0) return;
  // The table's rows are about to be written again: who has not read them gets a copy.
  if (rows_ != nullptr && rows_.use_count() > 1 && rows_->read < rows_->written)
    rows_->table = table_.clone();
  rows_ = std::make_shared<PendingMetrics::Rows>();
}

void MetricsTable::store(const Tensor& loss, const std::vector<Tensor>& terms, const Tensor& correct,
                         const Tensor& flat_rows) {
  std::vector<Tensor> scalars{loss, correct};
  if (flat_rows.defined()) scalars.push_back(flat_rows);
  scalars.insert(scalars.end(), terms.begin(), terms.end());
  const auto width = static_cast<std::int64_t>(scalars.size());
  if (steps_ == 0 && flat_rows.defined() && !flat_rows_) {
    table_ = Tensor::empty({PendingMetrics::Rows::most, width}, DType::f32, count_.device());
    flat_rows_ = true;
  }
  require(table_.size(1) == width && flat_rows_ == flat_rows.defined(),
          "the steps of a training measure different things");
  backend(count_.device()).store_scalars(scalars, count_, table_);
}

PendingMetrics MetricsTable::end_step() {
  rows_->table = table_;
  rows_->flat_rows = flat_rows_;
  const std::int64_t row = steps_++ % PendingMetrics::Rows::most;
  rows_->written = row + 1;
  return {rows_, row};
}

}  // namespace generous
