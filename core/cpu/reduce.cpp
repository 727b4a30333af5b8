// Broadcasting and its transpose, summing, over the folded axes of a pair of shapes.

#include <algorithm>
#include <vector>

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"
#include "core/fold.h"

namespace generous {
namespace {

/// The elements [begin, end) of the larger tensor as runs along its last folded axis: calls f(large, small,
/// count) with the first one's flat index in both tensors. Along a run the smaller tensor moves on as well,
/// or stays where that axis is stretched.
template <class F>
void for_each_run(const Fold& folded, std::int64_t begin, std::int64_t end, F&& f) {
  if (folded.rank == 0) return f(begin, begin, end - begin);
  const auto [length, stretched] = folded.axes[static_cast<std::size_t>(folded.rank - 1)];
  for (std::int64_t large = begin; large < end;) {
    std::int64_t outer = large / length;
    const std::int64_t first = large - outer * length;
    std::int64_t small = stretched ? 0 : first;
    std::int64_t stride = stretched ? 1 : length;
    for (int axis = folded.rank - 2; axis >= 0; --axis) {
      const auto [extent, stays] = folded.axes[static_cast<std::size_t>(axis)];
      const std::int64_t next = outer / extent;
      if (!stays) {
        small += stride * (outer - next * extent);
        stride *= extent;
      }
      outer = next;
    }
    const std::int64_t count = std::min(length - first, end - large);
    f(large, small, count);
    large += count;
  }
}

/// Whether a run stays at one element of the smaller tensor.
bool runs_stay(const Fold& folded) {
  return folded.rank > 0 && folded.axes[static_cast<std::size_t>(folded.rank - 1)].stretched;
}

/// totals[small] += x[large] for the elements [begin, end), in order.
template <class T>
void add_up(const Fold& folded, const T* x, std::int64_t begin, std::int64_t end, double* totals) {
  const bool stay = runs_stay(folded);
  for_each_run(folded, begin, end, [=](std::int64_t large, std::int64_t small, std::int64_t count) {
    const T* from = x + large;
    double* to = totals + small;
    if (stay) {
      double total = *to;
      for (std::int64_t i = 0; i < count; ++i) total += static_cast<double>(static_cast<float>(from[i]));
      *to = total;
    } else {
      for (std::int64_t i = 0; i < count; ++i) to[i] += static_cast<double>(static_cast<float>(from[i]));
    }
  });
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
  const Fold folded = fold(x.shape(), y.shape());
  const bool stay = runs_stay(folded);
  visit_floating(x.dtype(), [&]<class T>(T) {
    const T* in = x.data<T>().data();
    T* out = y.data<T>().data();
    parallel_ranges(y.numel(), elementwise_grain, [&](std::int64_t begin, std::int64_t end, int) {
      for_each_run(folded, begin, end, [=](std::int64_t large, std::int64_t small, std::int64_t count) {
        if (stay)
          std::fill_n(out + large, count, in[small]);
        else
          std::copy_n(in + small, count, out + large);
      });
    });
  });
}

void EigenBackend::sum_to(const Tensor& x, Tensor& y) {
  float* out = y.data<float>().data();
  const Fold folded = fold(y.shape(), x.shape());
  visit_floating(x.dtype(), [&]<class T>(T) {
    const T* in = x.data<T>().data();
    if (folded.rank == 2 && folded.axes[0].stretched && x.numel() > 0)  // a bias gradient
      return sum_columns(in, folded.axes[0].extent, folded.axes[1].extent, out);
    const auto results = static_cast<std::size_t>(y.numel());
    std::vector<double> totals(results, 0.0);
    if (folded.rank > 0 && !folded.axes[0].stretched) {
      // Each thread has sums of its own.
      const std::int64_t slice = x.numel() / folded.axes[0].extent;
      parallel_ranges(folded.axes[0].extent,
                      std::max<std::int64_t>(1, elementwise_grain / std::max<std::int64_t>(1, slice)),
                      [&](std::int64_t begin, std::int64_t end, int) {
                        add_up(folded, in, begin * slice, end * slice, totals.data());
                      });
    } else {
      // All have parts of all sums, which are added in the order of the threads.
      std::vector<std::vector<double>> parts(static_cast<std::size_t>(omp_get_max_threads()));
      parallel_ranges(x.numel(), std::max<std::int64_t>(elementwise_grain, y.numel()),
                      [&](std::int64_t begin, std::int64_t end, int thread) {
                        std::vector<double>& part = parts[static_cast<std::size_t>(thread)];
                        part.assign(results, 0.0);
                        add_up(folded, in, begin, end, part.data());
                      });
      for (const std::vector<double>& part : parts)
        for (std::size_t i = 0; i < part.size(); ++i) totals[i] += part[i];
    }
    for (std::size_t i = 0; i < results; ++i) out[i] = static_cast<float>(totals[i]);
  });
}

}  // namespace generous
