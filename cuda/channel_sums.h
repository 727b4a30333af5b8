// Sums per channel over the rows of {M, C}, or of each matrix of {outer, M, C}, in one kernel: the threads of
// a block add up its rows, the block hands in what it found, and the last block of a tile to do so adds up
// what all of them handed in. The order of the additions depends on the shape and the number of blocks alone.
// Which block comes last does not matter to it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "cuda/last_block.h"
#include "cuda/launch.h"

namespace generous::cuda {

constexpr int block_threads = 256;

/// How the blocks of a kernel share the rows of {outer, M, C}. The threads of a block lie `columns` side by
/// side, each with its own group of channels, and `lines` below one another, each on its own row at a time:
/// so neighbouring threads read neighbouring memory, and a thread keeps to its channels. A few threads may be
/// left over; they idle.
struct Tiling {
  std::int64_t outer = 1;
  std::int64_t rows = 0;
  std::int64_t channels = 0;
  int threads = block_threads;  ///< of a block, at most so many
  int columns = 0;
  int lines = 0;
  std::int64_t tiles = 0;           ///< blocks side by side that cover the channels
  std::int64_t parts = 0;           ///< blocks below one another that cover the rows
  std::int64_t rows_of_a_part = 0;  ///< fewer in the last one

  LaunchShape shape() const { return {.blocks = outer * tiles * parts, .threads = threads}; }
};

/// How large tiles and how many parts of each there may be.
struct TileLimits {
  std::int64_t columns;
  std::int64_t parts;
};

constexpr std::int64_t as_many_as_fit = std::numeric_limits<std::int64_t>::max();
/// Sums want narrow tiles, 64 bytes a row: the last block of each has less to add up. For a map of all
/// elements, whole lines of memory are better.
constexpr TileLimits tiles_of_sums{.columns = 4, .parts = as_many_as_fit};
constexpr TileLimits tiles_of_maps{.columns = 32, .parts = as_many_as_fit};

/// Threads of at least four rows each (so that loading the coefficients of a channel pays), at most
/// `most_blocks` blocks unless the channels or matrices alone take more. Small matrices get small blocks.
inline Tiling tiling_of(std::int64_t rows, std::int64_t channels, int width, const TileLimits& most,
                        std::int64_t most_blocks, std::int64_t outer = 1) {
  constexpr std::int64_t fewest_rows = 4;
  constexpr int fewest_threads = 32;
  const auto quotient_up = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
  const std::int64_t groups = channels / width;
  Tiling tiling{.outer = outer, .rows = rows, .channels = channels};
  tiling.tiles = quotient_up(groups, most.columns);
  tiling.columns = static_cast<int>(quotient_up(groups, tiling.tiles));
  while (tiling.threads > fewest_threads && tiling.threads / 2 >= tiling.columns * rows) tiling.threads /= 2;
  tiling.lines = tiling.threads / tiling.columns;
  const std::int64_t tiles_of_all = outer * tiling.tiles;
  const std::int64_t parts_at_once = tiles_of_all > most_tickets ? 1 : most_blocks / tiles_of_all;
  const std::int64_t most_parts = std::min(parts_at_once, most.parts);
  const std::int64_t parts = std::clamp<std::int64_t>(quotient_up(rows, fewest_rows * tiling.lines), 1,
                                                      std::max<std::int64_t>(1, most_parts));
  tiling.rows_of_a_part = std::max<std::int64_t>(1, quotient_up(rows, parts));
  tiling.parts = std::max<std::int64_t>(1, quotient_up(rows, tiling.rows_of_a_part));
  return tiling;
}

/// What one thread has of a Tiling.
struct Share {
  std::int64_t channel;   ///< the first of its channels
  std::int64_t row, end;  ///< its rows: from `row`, every `lines`-th, up to `end`
  std::int64_t outer;     ///< of its block,
  std::int64_t part;      ///< likewise,
  std::int64_t tile;      ///< likewise
  int line;
  bool idle;  ///< no channels, so no rows either
};

template <int width>
__device__ Share share_of(const Tiling& tiling) {
  Share share;
  share.tile = blockIdx.x % tiling.tiles;
  share.part = blockIdx.x / tiling.tiles % tiling.parts;
  share.outer = blockIdx.x / tiling.tiles / tiling.parts;
  share.line = static_cast<int>(threadIdx.x) / tiling.columns;
  const int column = static_cast<int>(threadIdx.x) % tiling.columns;
  share.channel = (share.tile * tiling.columns + column) * width;
  share.idle = share.line >= tiling.lines || share.channel >= tiling.channels;
  share.row = share.part * tiling.rows_of_a_part + share.line;
  const std::int64_t end = (share.part + 1) * tiling.rows_of_a_part;
  share.end = share.idle ? share.row : (end < tiling.rows ? end : tiling.rows);
  return share;
}

/// The indices of a thread's first channel in the same row of two tensors.
struct RowPlace {
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
  RowPlace place{.here = share.row * tiling.channels + share.channel,
                 .whole = share.row * whole.channels + whole.first + share.channel};
  const auto after = [&](int rows) {
    return RowPlace{place.here + rows * step, place.whole + rows * whole_step};
  };
  for (; place.here + (at_once - 1) * step < end; place = after(at_once)) {
    decltype(load(place)) loaded[at_once];
    for (int i = 0; i < at_once; ++i) loaded[i] = load(after(i));
    for (int i = 0; i < at_once; ++i) use(after(i), loaded[i]);
  }
  for (; place.here < end; place = after(1)) use(place, load(place));
}

/// Merges the sums {count, threads of the block} of the threads in the same column: afterwards line 0 has
/// those of its column. To be called by all threads of the block; those beyond `lines` lines take no part.
template <int count, class Sums>
__device__ void merge_lines(Sums (*sums)[block_threads], int columns, int lines) {
  const int line = static_cast<int>(threadIdx.x) / columns;
  for (int left = lines; left > 1;) {
    const int kept = (left + 1) / 2;
    __syncthreads();  // the lines about to be read are complete
    if (line < left - kept)
      for (int i = 0; i < count; ++i) sums[i][threadIdx.x].merge(sums[i][threadIdx.x + kept * columns]);
    left = kept;
  }
}

/// Where the blocks of a kernel meet: sums of each part {outer, parts, C}, and a counter for each tile of
/// each matrix, which is 0 before and after; with one part a tile, none of them counts.
template <class Sums>
struct Meeting {
  Sums* parts;
  unsigned* tickets;
};

/// The memory for one.
template <class Sums>
class MeetingRoom {
 public:
  MeetingRoom(const Tiling& tiling, unsigned* tickets)
      : sums_(Tensor::empty({tiling.outer * tiling.parts, tiling.channels, sizeof(Sums)}, DType::u8,
                            Device::cuda)),
        tickets_(tickets) {}
  Meeting<Sums> meeting() const {
    return {.parts = reinterpret_cast<Sums*>(data_of<std::uint8_t>(sums_)), .tickets = tickets_};
  }

 private:
  Tensor sums_;
  unsigned* tickets_;
};

/// What blocks hand in where that is what their threads have.
struct AsItIs {
  template <class Sums>
  __device__ const Sums& operator()(int, const Sums& sums) const {
    return sums;
  }
};

/// Merges the sums of a channel that blocks handed in: of every `step`-th part from `first` on. Several are
/// on their way before the first is merged, as for_each_row does it.
template <class Part>
__device__ Part merge_parts(const Part* __restrict__ parts, std::int64_t first, std::int64_t step,
                            std::int64_t end, std::int64_t channels, std::int64_t channel) {
  constexpr int at_once = sizeof(Part) > 16 ? 4 : 8;
  Part total{};
  for (std::int64_t begin = first; begin < end; begin += at_once * step) {
    Part loaded[at_once] = {};
    for (int i = 0; i < at_once; ++i)
      if (begin + i * step < end) loaded[i] = parts[(begin + i * step) * channels + channel];
    for (int i = 0; i < at_once; ++i) total.merge(loaded[i]);
  }
  return total;
}

/// Memory of the block for a Part of each thread: that of the sums, where they are of the same type.
template <class Part, class Sums>
__device__ Part (*memory_for_parts(Sums (*sums)[block_threads]))[block_threads] {
  if constexpr (std::is_same_v<Sums, Part>) {
    return sums;
  } else {
    __shared__ Part parts[1][block_threads];
    return parts;
  }
}

/// Merges the sums that each thread brings for its `width` channels over all rows, and calls finish(channel,
/// part) once for each channel. A Sums is trivially copyable, Sums{} is that of no rows, and a.merge(b) adds
/// the rows of b; so is a Part, which close(i, sums) makes of what a block has of a thread's channel i.
template <int width, class Sums, class Part, class Finish, class Close = AsItIs>
__device__ void sum_up(const Tiling& tiling, const Share& share, const Sums (&own)[width],
                       const Meeting<Part>& meeting, Finish&& finish, Close&& close = {}) {
  __shared__ Sums sums[width][block_threads];
  auto* const of_parts = memory_for_parts<Part>(sums);
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = 0; i < width; ++i) sums[i][thread] = own[i];
  merge_lines<width>(sums, tiling.columns, tiling.lines);
  if (tiling.parts == 1) {
    if (share.line == 0 && !share.idle)
      for (int i = 0; i < width; ++i) finish(share.channel + i, close(i, sums[i][thread]));
    return;
  }
  Part* const parts = meeting.parts + share.outer * tiling.parts * tiling.channels;
  if (share.line == 0 && !share.idle)
    for (int i = 0; i < width; ++i)
      parts[share.part * tiling.channels + share.channel + i] = close(i, sums[i][thread]);
  unsigned* const ticket = meeting.tickets + (share.outer * tiling.tiles + share.tile) % most_tickets;
  if (!is_last_block(ticket, tiling.parts)) return;

  const int columns = tiling.columns * width;  // from here on a column is a channel
  const int lines = tiling.threads / columns;
  const int line = thread / columns;
  const std::int64_t channel = share.tile * columns + thread % columns;
  const bool idle = line >= lines || channel >= tiling.channels;
  of_parts[0][thread] =
      idle ? Part{} : merge_parts(parts, line, lines, tiling.parts, tiling.channels, channel);
  merge_lines<1>(of_parts, columns, lines);
  if (line == 0 && !idle) finish(channel, of_parts[0][thread]);
}

}  // namespace generous::cuda
