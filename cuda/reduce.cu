// Broadcasting and its transpose, summing. A sum over several groups of axes is taken one group at a time,
// each the same problem: {outer, rows, columns} summed over the rows (channel_sums.h).

#include "core/fold.h"
#include "cuda/begin_kernel.h"
#include "cuda/channel_groups.h"
#include "cuda/channel_sums.h"
#include "cuda/cuda_backend.h"

namespace generous::cuda {
namespace {

/// The index in the smaller tensor of element `large` of the larger one.
__device__ std::int64_t smaller_index(const Fold& folded, std::int64_t large) {
  std::int64_t small = 0;
  std::int64_t stride = 1;
  for (int axis = folded.rank - 1; axis >= 0; --axis) {
    const auto [extent, stretched] = folded.axes[static_cast<std::size_t>(axis)];
    const std::int64_t outer = large / extent;
    if (!stretched) {
      small += stride * (large - outer * extent);
      stride *= extent;
    }
    large = outer;
  }
  return small;
}

template <class T>
__global__ void broadcast_kernel(const __grid_constant__ Fold folded, std::int64_t count,
                                 const T* __restrict__ x, T* __restrict__ y) {
  begin_kernel();
  for_each_vector<vector_width<T>>(count, [&]<int width>(Width<width>, std::int64_t i) {
    Floats<width> values;
    for (int k = 0; k < width; ++k) values[k] = static_cast<float>(x[smaller_index(folded, i + k)]);
    store(y + i, values);
  });
}

/// A sum over some rows; in double for f32, of which long sums ask more than f32 has.
template <class Number>
struct RowSum {
  Number sum;

  __device__ void merge(const RowSum& other) { sum += other.sum; }
};
template <class T>
using RowSumOver = RowSum<std::conditional_t<std::is_same_v<T, float>, double, float>>;

/// y {outer, C} = sums over the rows of x {outer, M, C}.
template <int width, class T>
__global__ void __launch_bounds__(block_threads)
    sum_rows_kernel(Tiling tiling, const T* __restrict__ x, Meeting<RowSumOver<T>> meeting,
                    float* __restrict__ y) {
  begin_kernel();
  constexpr int most_at_once = 64;  // more cost accuracy
  const Share share = share_of<width>(tiling);
  const T* const matrix = x + share.outer * tiling.rows * tiling.channels;
  RowSumOver<T> own[width] = {};
  Floats<width> sum{};
  int summed = 0;
  const auto take = [&] {
    for (int i = 0; i < width; ++i) own[i].sum += sum[i];
    sum = {};
    summed = 0;
  };
  for_each_row(
      tiling, share, {}, [=](const RowPlace& place) { return load<width>(matrix + place.here); },
      [&](const RowPlace&, const Floats<width>& values) {
        sum += values;
        if (++summed == most_at_once) take();
      });
  take();
  sum_up<width>(tiling, share, own, meeting, [&](std::int64_t c, const RowSumOver<T>& all) {
    y[share.outer * tiling.channels + c] = static_cast<float>(all.sum);
  });
}

}  // namespace

void CudaBackend::broadcast(const Tensor& x, Tensor& y) {
  visit_floating(x.dtype(), [&]<class T>(T) {
    constexpr int width = vector_width<T>;
    run("broadcast", grid_of((y.numel() + width - 1) / width), broadcast_kernel<T>,
        fold(x.shape(), y.shape()), y.numel(), x, y);
  });
}

void CudaBackend::sum_to(const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return fill(y, 0.0);
  if (x.numel() == y.numel()) return x.dtype() == DType::f32 ? copy(x, y) : cast(x, y);

  /// to {outer, columns} = from {outer, rows, columns} summed over the rows.
  const auto sum_over_rows = [&](const Tensor& from, std::int64_t outer, std::int64_t rows,
                                 std::int64_t columns, const Tensor& to) {
    visit_groups(from.dtype(), columns, [&]<class T, int width>(T, Width<width>) {
      const auto kernel = sum_rows_kernel<width, T>;
      const Tiling tiling = tiling_of(rows, columns, width, tiles_of_sums, blocks_at_once(kernel), outer);
      const MeetingRoom<RowSumOver<T>> room(tiling, tickets());
      run("sum_to", tiling.shape(), kernel, tiling, from, room.meeting(), to);
    });
  };

  // The innermost stretched axis first: every one leaves a smaller tensor to the next.
  Fold folded = fold(y.shape(), x.shape());
  Tensor from = x.detach();
  std::int64_t columns = 1;
  std::int64_t outer = x.numel();
  int stretched = 0;
  for (int axis = 0; axis < folded.rank; ++axis)
    stretched += folded.axes[static_cast<std::size_t>(axis)].stretched ? 1 : 0;
  for (int axis = folded.rank - 1; stretched > 0; --axis) {
    const Fold::Axis& here = folded.axes[static_cast<std::size_t>(axis)];
    outer /= here.extent;
    if (here.stretched) {
      const Tensor to = --stretched == 0 ? y : Tensor::empty({outer, columns}, DType::f32, Device::cuda);
      sum_over_rows(from, outer, here.extent, columns, to);
      from = to;
    } else {
      columns *= here.extent;
    }
  }
}

}  // namespace generous::cuda
