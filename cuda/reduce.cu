// Broadcasting and its transpose, summing. A sum over several groups of axes is taken one group at a time,
// each the same problem: {outer, rows, columns} summed over the rows. Large ones are cut into chunks of rows
// whose sums are summed in turn, so that the order of the additions depends on the shape alone.

#include <algorithm>

#include "core/fold.h"
#include "cuda/cuda_backend.h"
#include "cuda/vector_access.h"

namespace generous::cuda {
namespace {

constexpr int most_threads = 256;
constexpr std::int64_t most_blocks = 8192;  // more are no faster: these take several shares each

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
  for_each_vector<vector_width<T>>(count, [&]<int width>(Width<width>, std::int64_t i) {
    Floats<width> values;
    for (int k = 0; k < width; ++k) values[k] = static_cast<float>(x[smaller_index(folded, i + k)]);
    store(y + i, values);
  });
}

/// How {outer, rows, columns} is shared among blocks. The threads of a block lie `lanes` side by side, each
/// with its own vector of columns, and the others below, each on its own row at a time; both are powers of 2.
struct Tiling {
  std::int64_t outer, rows, columns;
  std::int64_t chunks;         ///< blocks below one another that cover the rows
  std::int64_t rows_of_chunk;  ///< fewer in the last one
  std::int64_t tiles;          ///< blocks side by side that cover the columns
  int lanes;
  int threads;

  GENEROUS_HOST_DEVICE std::int64_t blocks() const { return outer * chunks * tiles; }
};

Tiling tiling_of(std::int64_t outer, std::int64_t rows, std::int64_t columns, int width) {
  constexpr std::int64_t most_lanes = 32;
  constexpr std::int64_t enough_blocks = 1024;
  constexpr std::int64_t fewest_sums = 8;  // of a thread: fewer do not pay for a second pass
  constexpr std::int64_t most_sums = 256;  // more cost accuracy
  const std::int64_t vectors = columns / width;
  int lanes = 1;
  while (lanes < vectors && lanes < most_lanes) lanes *= 2;
  int threads = 32;
  while (threads < lanes * rows && threads < most_threads) threads *= 2;
  const std::int64_t tiles = (vectors + lanes - 1) / lanes;
  const std::int64_t rows_at_once = threads / lanes;
  const std::int64_t wanted = std::max<std::int64_t>(1, enough_blocks / (outer * tiles));
  const std::int64_t sums =
      std::clamp((rows + rows_at_once * wanted - 1) / (rows_at_once * wanted), fewest_sums, most_sums);
  const std::int64_t rows_of_chunk = sums * rows_at_once;
  return {.outer = outer,
          .rows = rows,
          .columns = columns,
          .chunks = (rows + rows_of_chunk - 1) / rows_of_chunk,
          .rows_of_chunk = rows_of_chunk,
          .tiles = tiles,
          .lanes = lanes,
          .threads = threads};
}

/// y {outer, chunks, columns} = sums over each chunk of the rows of x {outer, rows, columns}.
template <int width, class T>
__global__ void __launch_bounds__(most_threads)
    sum_rows_kernel(Tiling tiling, const T* __restrict__ x, float* __restrict__ y) {
  __shared__ float sums[width][most_threads];
  const int thread = static_cast<int>(threadIdx.x);
  const int line = thread / tiling.lanes;
  const int lines = static_cast<int>(blockDim.x) / tiling.lanes;
  for (std::int64_t block = blockIdx.x; block < tiling.blocks(); block += gridDim.x) {
    const std::int64_t tile = block % tiling.tiles;
    const std::int64_t part = block / tiling.tiles;  // in {outer, chunks}
    const std::int64_t chunk = part % tiling.chunks;
    const std::int64_t outer = part / tiling.chunks;
    const std::int64_t column = (tile * tiling.lanes + thread % tiling.lanes) * width;
    const bool idle = column >= tiling.columns;
    Floats<width> sum{};
    if (!idle) {
      const std::int64_t first = chunk * tiling.rows_of_chunk;
      const std::int64_t end =
          first + tiling.rows_of_chunk < tiling.rows ? first + tiling.rows_of_chunk : tiling.rows;
      const T* from = x + outer * tiling.rows * tiling.columns + column;
      for (std::int64_t row = first + line; row < end; row += lines)
        sum += load<width>(from + row * tiling.columns);
    }
    // The lower half of the lines is added to the upper one until the first line has everything. A level
    // writes where the level before did not read, so that one barrier is enough for both.
    for (int half = lines / 2; half > 0; half /= 2) {
      if (line >= half && line < 2 * half)
        for (int i = 0; i < width; ++i) sums[i][thread] = sum[i];
      __syncthreads();
      if (line < half)
        for (int i = 0; i < width; ++i) sum[i] += sums[i][thread + half * tiling.lanes];
    }
    __syncthreads();  // before the next block writes
    if (line == 0 && !idle) store(y + part * tiling.columns + column, sum);
  }
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
  const auto sum_over_rows = [&](Tensor from, std::int64_t outer, std::int64_t rows, std::int64_t columns,
                                 Tensor to) {
    for (bool done = false; !done;) {
      visit_floating(from.dtype(), [&]<class T>(T) {
        const bool whole = columns % vector_width<T> == 0;
        const Tiling tiling = tiling_of(outer, rows, columns, whole ? vector_width<T> : 1);
        done = tiling.chunks == 1;
        const Tensor sums =
            done ? to : Tensor::empty({outer, tiling.chunks, columns}, DType::f32, Device::cuda);
        const LaunchShape shape{.blocks = std::min(tiling.blocks(), most_blocks), .threads = tiling.threads};
        run("sum_to", shape, whole ? sum_rows_kernel<vector_width<T>, T> : sum_rows_kernel<1, T>, tiling,
            from, sums);
        from = sums;
        rows = tiling.chunks;
      });
    }
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
