// Broadcasting and its transpose, summing, over the folded axes of a pair of shapes.

#include <array>
#include <vector>

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"
#include "core/fold.h"

namespace generous {
namespace {

/// Calls f(large, small) for every element of the larger tensor, in order, with both flat indices.
template <class F>
void for_each_pair(const Fold& folded, std::int64_t count, F&& f) {
  // Strides in the smaller tensor; 0 where it is stretched.
  std::array<std::int64_t, Shape::max_rank> strides{};
  std::int64_t stride = 1;
  for (int axis = folded.rank - 1; axis >= 0; --axis) {
    const auto [extent, stretched] = folded.axes[static_cast<std::size_t>(axis)];
    strides[static_cast<std::size_t>(axis)] = stretched ? 0 : stride;
    if (!stretched) stride *= extent;
  }
  std::array<std::int64_t, Shape::max_rank> index{};
  std::int64_t small = 0;
  for (std::int64_t large = 0; large < count; ++large) {
    f(large, small);
    for (int axis = folded.rank - 1; axis >= 0; --axis) {
      const auto a = static_cast<std::size_t>(axis);
      small += strides[a];
      if (++index[a] < folded.axes[a].extent) break;
      small -= strides[a] * index[a];
      index[a] = 0;
    }
  }
}

/// Sums of the columns of x {rows, columns}: blocks of rows in f32, blocks and threads added up in double, in
/// order.
template <class T>
void sum_columns(const T* x, std::int64_t rows, std::int64_t columns, float* y) {
  constexpr std::int64_t block = 64;
  const auto width = static_cast<std::size_t>(columns);
  std::vector<std::vector<double>> totals(static_cast<std::size_t>(omp_get_max_threads()));
  const std::int64_t grain = std::max<std::int64_t>(1, elementwise_grain / columns);
  parallel_ranges(rows, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
    std::vector<double>& total = totals[static_cast<std::size_t>(thread)];
    total.assign(width, 0.0);
    std::vector<float> part(width);
    for (std::int64_t first = begin; first < end; first += block) {
      std::fill(part.begin(), part.end(), 0.0F);
      for (std::int64_t row = first; row < std::min(first + block, end); ++row)
        for (std::size_t c = 0; c < width; ++c)
          part[c] += static_cast<float>(x[static_cast<std::size_t>(row) * width + c]);
      for (std::size_t c = 0; c < width; ++c) total[c] += static_cast<double>(part[c]);
    }
  });
  for (std::size_t c = 0; c < width; ++c) {
    double sum = 0.0;
    for (const std::vector<double>& total : totals) sum += total.empty() ? 0.0 : total[c];
    y[c] = static_cast<float>(sum);
  }
}

}  // namespace

void EigenBackend::broadcast(const Tensor& x, Tensor& y) {
  const float* in = x.data<float>().data();
  float* out = y.data<float>().data();
  for_each_pair(fold(x.shape(), y.shape()), y.numel(),
                [=](std::int64_t large, std::int64_t small) { out[large] = in[small]; });
}

void EigenBackend::sum_to(const Tensor& x, Tensor& y) {
  float* out = y.data<float>().data();
  const Fold folded = fold(y.shape(), x.shape());
  visit_floating(x.dtype(), [&]<class T>(T) {
    const T* in = x.data<T>().data();
    if (folded.rank == 2 && folded.axes[0].stretched && x.numel() > 0)  // a bias gradient
      return sum_columns(in, folded.axes[0].extent, folded.axes[1].extent, out);
    std::vector<double> totals(static_cast<std::size_t>(y.numel()), 0.0);
    for_each_pair(folded, x.numel(), [&](std::int64_t large, std::int64_t small) {
      totals[static_cast<std::size_t>(small)] += static_cast<double>(static_cast<float>(in[large]));
    });
    for (std::size_t i = 0; i < totals.size(); ++i) out[i] = static_cast<float>(totals[i]);
  });
}

}  // namespace generous
