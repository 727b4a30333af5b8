// Kernels on rows of logits. Sums over a row are in double: rows are short and losses sensitive.

#include <cmath>

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"

namespace generous {
namespace {

constexpr std::int64_t row_grain = 32;

float largest_of(const float* row, std::int64_t classes) { return *std::max_element(row, row + classes); }

/// log sum_c exp(x_c - largest)
double log_sum_exp(const float* row, std::int64_t classes, float largest) {
  double sum = 0.0;
  for (std::int64_t c = 0; c < classes; ++c) sum += static_cast<double>(std::exp(row[c] - largest));
  return std::log(sum);
}

std::int64_t checked_label(const std::int64_t* labels, std::int64_t row, std::int64_t classes) {
  const std::int64_t label = labels[row];
  require(label >= 0 && label < classes, "label {} of row {} is not in [0, {})", label, row, classes);
  return label;
}

}  // namespace

void EigenBackend::log_softmax(const Tensor& x, Tensor& y) {
  const float* in = x.data<float>().data();
  float* out = y.data<float>().data();
  const std::int64_t classes = x.size(1);
  parallel_for(x.size(0), row_grain, [=](std::int64_t row) {
    const float* logits = in + row * classes;
    const float largest = largest_of(logits, classes);
    const auto rest = static_cast<float>(log_sum_exp(logits, classes, largest));
    for (std::int64_t c = 0; c < classes; ++c) out[row * classes + c] = logits[c] - largest - rest;
  });
}

void EigenBackend::log_softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  const float* out = y.data<float>().data();
  const float* dout = dy.data<float>().data();
  float* din = dx.data<float>().data();
  const std::int64_t classes = y.size(1);
  parallel_for(y.size(0), row_grain, [=](std::int64_t row) {
    const std::int64_t first = row * classes;
    double sum = 0.0;
    for (std::int64_t c = 0; c < classes; ++c) sum += static_cast<double>(dout[first + c]);
    for (std::int64_t c = 0; c < classes; ++c)
      din[first + c] = dout[first + c] - std::exp(out[first + c]) * static_cast<float>(sum);
  });
}

void EigenBackend::cross_entropy(const Tensor& x, const Tensor& labels, Tensor& probabilities, Tensor& loss) {
  const float* in = x.data<float>().data();
  const std::int64_t* label = labels.data<std::int64_t>().data();
  float* out = probabilities.data<float>().data();
  const std::int64_t rows = x.size(0);
  const std::int64_t classes = x.size(1);
  double total = 0.0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* logits = in + row * classes;
    const float largest = largest_of(logits, classes);
    const double rest = log_sum_exp(logits, classes, largest);
    for (std::int64_t c = 0; c < classes; ++c)
      out[row * classes + c] = std::exp(logits[c] - largest - static_cast<float>(rest));
    total -= static_cast<double>(logits[checked_label(label, row, classes)] - largest) - rest;
  }
  loss.data<float>()[0] = static_cast<float>(total / static_cast<double>(rows));
}

void EigenBackend::cross_entropy_backward(const Tensor& probabilities, const Tensor& labels,
                                          const Tensor& dloss, Tensor& dx) {
  const float* p = probabilities.data<float>().data();
  const std::int64_t* label = labels.data<std::int64_t>().data();
  float* din = dx.data<float>().data();
  const std::int64_t classes = probabilities.size(1);
  const float scale = dloss.data<float>()[0] / static_cast<float>(probabilities.size(0));
  parallel_for(probabilities.size(0), row_grain, [=](std::int64_t row) {
    for (std::int64_t c = 0; c < classes; ++c)
      din[row * classes + c] = scale * (p[row * classes + c] - (c == label[row] ? 1.0F : 0.0F));
  });
}

void EigenBackend::one_hot(const Tensor& labels, Tensor& y) {
  fill(y, 0.0);
  const std::int64_t* label = labels.data<std::int64_t>().data();
  const std::int64_t classes = y.size(1);
  float* out = y.data<float>().data();
  for (std::int64_t row = 0; row < y.size(0); ++row)
    out[row * classes + checked_label(label, row, classes)] = 1.0F;
}

void EigenBackend::store_scalars(std::span<const Tensor> scalars, Tensor& count, Tensor& table) {
  std::int64_t& counted = count.data<std::int64_t>()[0];
  const auto row = static_cast<std::size_t>(counted++ % table.size(0));
  for (std::size_t i = 0; i < scalars.size(); ++i)
    table.data<float>()[row * scalars.size() + i] = scalars[i].data<float>()[0];
}

void EigenBackend::argmax_rows(const Tensor& x, Tensor& y) {
  const float* in = x.data<float>().data();
  std::int64_t* out = y.data<std::int64_t>().data();
  const std::int64_t classes = x.size(1);
  parallel_for(x.size(0), row_grain, [=](std::int64_t row) {
    const float* logits = in + row * classes;
    std::int64_t best = 0;
    for (std::int64_t c = 1; c < classes && !std::isnan(logits[best]); ++c)
      if (!(logits[c] <= logits[best])) best = c;
    out[row] = best;
  });
}

Tensor EigenBackend::count_top_k(const Tensor& x, const Tensor& labels, std::int64_t k) {
  const float* in = x.data<float>().data();
  const std::int64_t* label = labels.data<std::int64_t>().data();
  const std::int64_t classes = x.size(1);
  std::int64_t rows = 0;
  for (std::int64_t row = 0; row < x.size(0); ++row) {
    const float* logits = in + row * classes;
    const std::int64_t wanted = checked_label(label, row, classes);
    // A row with NaN has no ranking: it counts as wrong.
    std::int64_t ahead = std::isnan(logits[wanted]) ? k : 0;
    for (std::int64_t c = 0; c < classes && ahead < k; ++c)
      if (c != wanted && (!(logits[c] <= logits[wanted]) || (logits[c] == logits[wanted] && c < wanted)))
        ++ahead;
    if (ahead < k) ++rows;
  }
  return Tensor::full({}, static_cast<float>(rows));
}

}  // namespace generous
