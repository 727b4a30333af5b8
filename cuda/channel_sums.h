// Two sums per channel over the rows of {M, C}, in two kernels: blocks add up ranges of rows, then one kernel
// adds up what the blocks found. The order depends on the shape alone. A kernel of the first kind calls
// share_of and add_up_block, one of the second kind totals_of.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/launch.h"

namespace generous::cuda {

constexpr int block_threads = 256;

/// How the blocks of a kernel share the rows of {M, C}. The threads of a block lie `columns` side by side,
/// each with its own group of channels, and `lines` below one another, each on its own row at a time: so
/// neighbouring threads read neighbouring memory, and a thread keeps to its channels. A few threads may be
/// left over; they idle.
struct Tiling {
  std::int64_t rows = 0;
  std::int64_t channels = 0;
  int columns = 0;
  int lines = 0;
  std::int64_t tiles = 0;           ///< blocks side by side that cover the channels
  std::int64_t parts = 0;           ///< blocks below one another that cover the rows
  std::int64_t rows_of_a_part = 0;  ///< fewer in the last one

  LaunchShape shape() const { return {.blocks = tiles * parts, .threads = block_threads}; }
};

/// Threads of at least four rows each (so that loading the coefficients of a channel pays), at most so many
/// blocks. Depends on shapes alone, as the order of all sums does.
inline Tiling tiling_of(std::int64_t rows, std::int64_t channels, int width, std::int64_t most_blocks) {
  constexpr std::int64_t most_columns = 32;
  constexpr std::int64_t fewest_rows = 4;
  const auto quotient_up = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
  const std::int64_t groups = channels / width;
  Tiling tiling{.rows = rows, .channels = channels};
  tiling.tiles = quotient_up(groups, most_columns);
  tiling.columns = static_cast<int>(quotient_up(groups, tiling.tiles));
  tiling.lines = block_threads / tiling.columns;
  const std::int64_t parts = std::clamp<std::int64_t>(quotient_up(rows, fewest_rows * tiling.lines), 1,
                                                      std::max<std::int64_t>(1, most_blocks / tiling.tiles));
  tiling.rows_of_a_part = std::max<std::int64_t>(1, quotient_up(rows, parts));
  tiling.parts = std::max<std::int64_t>(1, quotient_up(rows, tiling.rows_of_a_part));
  return tiling;
}

/// Enough blocks to keep every memory channel busy; more would only leave more sums to add up.
constexpr std::int64_t most_summing_blocks = 512;
constexpr std::int64_t most_mapping_blocks = 4096;

/// What one thread has of a Tiling.
struct Share {
  std::int64_t channel;   ///< the first of its channels
  std::int64_t row, end;  ///< its rows: from `row`, every `lines`-th, up to `end`
  std::int64_t part;      ///< of its block
  int line;
  bool idle;  ///< no channels, so no rows either
};

template <int width>
__device__ Share share_of(const Tiling& tiling) {
  const std::int64_t part = blockIdx.x / tiling.tiles;
  const std::int64_t tile = blockIdx.x % tiling.tiles;
  const int line = static_cast<int>(threadIdx.x) / tiling.columns;
  const int column = static_cast<int>(threadIdx.x) % tiling.columns;
  Share share;
  share.channel = (tile * tiling.columns + column) * width;
  share.part = part;
  share.line = line;
  share.idle = line >= tiling.lines || share.channel >= tiling.channels;
  share.row = part * tiling.rows_of_a_part + line;
  const std::int64_t end = (part + 1) * tiling.rows_of_a_part;
  share.end = share.idle ? share.row : (end < tiling.rows ? end : tiling.rows);
  return share;
}

/// The indices of a thread's first channel in the same row of two tensors.
struct Place {
  std::int64_t here;   ///< in the {M, C} that is tiled
  std::int64_t whole;  ///< in what {M, C} is a part of
};

/// The rows that {M, C} is a part of: their length, and which channel of theirs is the first.
struct Whole {
  std::int64_t channels;
  std::int64_t first;
};

/// Calls use(place, load(place)) for a thread's rows in turn. The loads of several rows are on their way
/// before the first is used: a GPU has too few threads to keep its memory busy with one row each.
template <class Load, class Use>
__device__ inline void for_each_row(const Tiling& tiling, const Share& share, const Whole& whole, Load&& load,
                                    Use&& use) {
  constexpr int at_once = 4;  // of three tensors of eight channels each: room for two blocks
  const std::int64_t step = tiling.lines * tiling.channels;
  const std::int64_t end = share.end * tiling.channels;
  const std::int64_t whole_step = tiling.lines * whole.channels;
  Place place{.here = share.row * tiling.channels + share.channel,
              .whole = share.row * whole.channels + whole.first + share.channel};
  const auto after = [&](int rows) {
    return Place{place.here + rows * step, place.whole + rows * whole_step};
  };
  for (; place.here + (at_once - 1) * step < end; place = after(at_once)) {
    decltype(load(place)) loaded[at_once];
    for (int i = 0; i < at_once; ++i) loaded[i] = load(after(i));
    for (int i = 0; i < at_once; ++i) use(after(i), loaded[i]);
  }
  for (; place.here < end; place = after(1)) use(place, load(place));
}

/// The values that each thread of a block has to be added to those of other threads.
template <int count>
using BlockSums = double[count][block_threads];

/// Adds the values of the threads in the same column: afterwards line 0 has the sums of its column. To be
/// called by all threads of the block; those beyond `lines` lines take no part.
template <int count>
__device__ void add_lines(BlockSums<count>& sums, int columns, int lines) {
  const int line = static_cast<int>(threadIdx.x) / columns;
  for (int left = lines; left > 1;) {
    const int kept = (left + 1) / 2;
    __syncthreads();  // the lines about to be read are complete
    if (line < left - kept)
      for (int i = 0; i < count; ++i) sums[i][threadIdx.x] += sums[i][threadIdx.x + kept * columns];
    left = kept;
  }
}

/// Adds up the two sums {width} that every thread brings, over the block, into its part of partial {parts, 2,
/// C}.
template <int width>
__device__ void add_up_block(const Tiling& tiling, const Share& share, const double (&first)[width],
                             const double (&second)[width], double* __restrict__ partial) {
  __shared__ BlockSums<2 * width> sums;
  for (int i = 0; i < width; ++i) {
    sums[i][threadIdx.x] = first[i];
    sums[width + i][threadIdx.x] = second[i];
  }
  add_lines(sums, tiling.columns, tiling.lines);
  if (share.line > 0 || share.idle) return;
  double* to = partial + share.part * 2 * tiling.channels + share.channel;
  for (int i = 0; i < width; ++i) {
    to[i] = sums[i][threadIdx.x];
    to[tiling.channels + i] = sums[width + i][threadIdx.x];
  }
}

/// A block of the kernels that add up the partial sums has this many channels.
constexpr int channels_of_a_block = 8;

inline LaunchShape shape_of_totals(std::int64_t channels) {
  return {.blocks = (channels + channels_of_a_block - 1) / channels_of_a_block, .threads = block_threads};
}

/// The channel whose totals thread 0 to channels_of_a_block - 1 of a block gets.
inline __device__ std::int64_t channel_of_totals() {
  return static_cast<std::int64_t>(blockIdx.x) * channels_of_a_block + threadIdx.x % channels_of_a_block;
}

struct Totals {
  double first, second;
  bool valid;  ///< in one thread for each channel
};

/// The sums over all parts of partial {parts, 2, C} of channel_of_totals().
inline __device__ Totals totals_of(const double* __restrict__ partial, std::int64_t parts,
                                   std::int64_t channels) {
  constexpr int lines = block_threads / channels_of_a_block;
  __shared__ BlockSums<2> sums;
  const std::int64_t channel = channel_of_totals();
  double first = 0.0;
  double second = 0.0;
  if (channel < channels)
    for (std::int64_t part = threadIdx.x / channels_of_a_block; part < parts; part += lines) {
      const double* from = partial + part * 2 * channels + channel;
      first += from[0];
      second += from[channels];
    }
  sums[0][threadIdx.x] = first;
  sums[1][threadIdx.x] = second;
  add_lines(sums, channels_of_a_block, lines);
  return {sums[0][threadIdx.x], sums[1][threadIdx.x],
          threadIdx.x < channels_of_a_block && channel < channels};
}

}  // namespace generous::cuda
