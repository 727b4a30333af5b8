// Convolutions with few channels, in bands: some rows of an image that a block keeps in its memory, with a
// border of zeros. 16 neighbouring pixels of a row, a segment, are the rows of a tensor core's matrix, 16
// channels its columns; for each of the nine taps the same memory is read, a pixel further on. Products are
// of bf16, sums f32.

#include <utility>

#include "core/functors.h"
#include "cuda/begin_kernel.h"
#include "cuda/channel_sums.h"
#include "cuda/cuda_backend.h"
#include "cuda/few_channels.h"
#include "cuda/tensor_cores.h"
#include "cuda/vector_access.h"

namespace generous::cuda {
namespace {

constexpr int side = 16;  ///< of a product's matrices
constexpr int taps = 9;
constexpr int warps = block_threads / 32;
constexpr int pixels_of_a_band = 256;          ///< two segments for each warp
constexpr int chunk = vector_width<bfloat16>;  ///< channels that a thread copies at once

/// How images {N, H, W, C} are cut into bands.
template <int width>
struct Bands {
  static constexpr int rows = pixels_of_a_band / width;  ///< of a band; fewer in the last one of an image
  static constexpr int pitch = width + 2;                ///< of a band with border
  static constexpr int pixels_with_border = (rows + 2) * pitch;

  int height;  ///< H
  int of_an_image;
  int images;  ///< N

  explicit Bands(const Shape& shape)
      : height(static_cast<int>(shape[1])),
        of_an_image((height + rows - 1) / rows),
        images(static_cast<int>(shape[0])) {}

  GENEROUS_HOST_DEVICE int count() const { return images * of_an_image; }
};

/// One of them.
struct Band {
  std::int64_t image;  ///< its first pixel, in {N, H, W}
  int first_row;

  template <int width>
  __device__ Band(const Bands<width>& bands, int number)
      : image(static_cast<std::int64_t>(number / bands.of_an_image) * bands.height * width),
        first_row(number % bands.of_an_image * bands.rows) {}
};

/// Eight channels as they lie in memory.
using Chunk = uint4;
static_assert(sizeof(Chunk) == chunk * sizeof(bfloat16));

/// Copies load(i) to to[i] for the threads' shares of [0, count); several loads are on their way at a time.
template <int count, class Load>
__device__ void copy_chunks(bfloat16* to, Load&& load) {
  constexpr int at_once = 4;
  for (int begin = static_cast<int>(threadIdx.x); begin < count; begin += at_once * block_threads) {
    Chunk loaded[at_once];
    for (int i = 0; i < at_once; ++i)
      loaded[i] = begin + i * block_threads < count ? load(begin + i * block_threads) : Chunk{};
    for (int i = 0; i < at_once; ++i)
      if (begin + i * block_threads < count)
        reinterpret_cast<Chunk*>(to)[begin + i * block_threads] = loaded[i];
  }
}

/// The band of x {N, H, W, 16}, with a border of zeros, to `to` {rows + 2, W + 2, 16}.
template <int width>
__device__ void copy_with_border(const Bands<width>& bands, const Band& band, const bfloat16* x,
                                 bfloat16* to) {
  constexpr int chunks = side / chunk;
  constexpr int pitch = bands.pitch;
  const auto* const image = reinterpret_cast<const Chunk*>(x) + band.image * chunks;
  copy_chunks<bands.pixels_with_border * chunks>(to, [&](int i) {
    const int pixel = i / chunks;
    const int h = band.first_row + pixel / pitch - 1;
    const int w = pixel % pitch - 1;
    const bool inside = h >= 0 && h < bands.height && w >= 0 && w < width;
    return inside ? image[(h * width + w) * chunks + i % chunks] : Chunk{};
  });
}

/// The band of x {N, H, W, channels} to `to` {rows, W, channels}; zeros below the image.
template <int channels, int width>
__device__ void copy_band(const Bands<width>& bands, const Band& band, const bfloat16* x, bfloat16* to) {
  constexpr int chunks = channels / chunk;
  const int inside = (bands.height - band.first_row) * width * chunks;
  const auto* const first =
      reinterpret_cast<const Chunk*>(x) + (band.image + band.first_row * width) * chunks;
  copy_chunks<pixels_of_a_band * chunks>(to, [&](int i) { return i < inside ? first[i] : Chunk{}; });
}

/// Calls f(constant) for every tap.
template <class F>
__device__ void for_each_tap(F&& f) {
  [&]<int... tap>(std::integer_sequence<int, tap...>) { (f(std::integral_constant<int, tap>{}), ...); }
  (std::make_integer_sequence<int, taps>{});
}

/// Where a segment begins in its band.
template <int width>
struct Segment {
  int row, column;

  __device__ explicit Segment(int number) : row(number * side / width), column(number * side % width) {}
  /// Its first pixel in a band with border, as tap 0 reads it.
  __device__ int pixel() const { return row * Bands<width>::pitch + column; }
  /// How far on a tap reads.
  static constexpr int shift(int tap) { return tap / 3 * Bands<width>::pitch + tap % 3; }
};

/// Which row, and which half of its 16 elements, a lane names for load_matrices to load a matrix {16, 16} in
/// the order that a wants (tensor_cores.h): upper left, lower left, upper right, lower right.
struct LaneOfA {
  int row, column;

  __device__ explicit LaneOfA(int lane) : row(lane % 16), column(lane / 16 * 8) {}
};
/// The same in the order that b wants: upper left, upper right, lower left, lower right.
struct LaneOfB {
  int row, column;

  __device__ explicit LaneOfB(int lane) : row(lane / 16 * 8 + lane % 8), column(lane / 8 % 2 * 8) {}
};

/// What becomes of the sums. Null: there is none.
struct Finish {
  const bfloat16* bias;      ///< {16}
  const bfloat16* residual;  ///< {N, H, W, 16}; y itself where it is added to
  bool activated;
  float ceiling;

  template <int width>
  __device__ Floats<width> operator()(Floats<width> values, std::int64_t index, int channel) const {
    if (bias != nullptr) values += load<width>(bias + channel);
    if (residual != nullptr) values += load<width>(residual + index);
    if (activated)
      for (int i = 0; i < width; ++i) {
        const float positive = Relu::forward(values[i]);
        values[i] = positive > ceiling ? ceiling : positive;
      }
    return values;
  }
};

/// The filter as the kernel below wants it, to `to` {out, taps, in}. Forward it lies so in memory. Backward,
/// of weight {out of the forward pass, taps, in of it}, y's channels are the last ones, and the taps run
/// backward.
template <bool backward>
__device__ void copy_filter(const bfloat16* weight, bfloat16* to) {
  if constexpr (backward) {
    for (int i = static_cast<int>(threadIdx.x); i < side * taps * side; i += block_threads) {
      const int in = i / side / taps;
      const int tap = taps - 1 - i / side % taps;
      const int out = i % side;
      to[(out * taps + tap) * side + in] = weight[i];
    }
  } else {
    const auto* const chunks = reinterpret_cast<const Chunk*>(weight);
    copy_chunks<side * taps * side / chunk>(to, [&](int i) { return chunks[i]; });
  }
}

// y[p, o] = sum over taps t and i of x[p + t - 1, i] filter[o, t, i], 16 channels each. A block takes a band,
// a warp two of its segments.
template <bool backward, int width>
__global__ void __launch_bounds__(block_threads)
    few_channels_kernel(Bands<width> bands, const bfloat16* __restrict__ x,
                        const bfloat16* __restrict__ weight, Finish finish, bfloat16* y) {
  begin_kernel();
  constexpr int segments = pixels_of_a_band / side / warps;
  alignas(16) __shared__ bfloat16 image[bands.pixels_with_border * side];
  alignas(16) __shared__ bfloat16 filter[side * taps * side];
  const Band band(bands, static_cast<int>(blockIdx.x));
  copy_with_border(bands, band, x, image);
  copy_filter<backward>(weight, filter);
  __syncthreads();

  // The filter is b: row `o` of what is loaded is a column. A lane is to get four neighbouring channels, so
  // column 2t + i of half h is channel 4t + 2h + i.
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const LaneOfB of_filter(lane);
  const int half = of_filter.row / 8;
  const int channel_of_row = of_filter.row % 8 / 2 * 4 + half * 2 + of_filter.row % 2;
  const bfloat16* const filter_row = filter + channel_of_row * taps * side + of_filter.column;
  const LaneOfA of_image(lane);
  const int first_segment = static_cast<int>(threadIdx.x) / 32 * segments;
  const bfloat16* pixels[segments];
  for (int s = 0; s < segments; ++s)
    pixels[s] = image + (Segment<width>(first_segment + s).pixel() + of_image.row) * side + of_image.column;
  Sums sums[segments];
  for_each_tap([&](auto tap) {
    const Matrices b = load_matrices<false>(filter_row + tap * side);
    for (int s = 0; s < segments; ++s)
      multiply_add(sums[s], load_matrices<false>(pixels[s] + Segment<width>::shift(tap) * side), b);
  });

  constexpr int channels = 4;  // of a lane
  const int channel = lane % 4 * channels;
  for (int s = 0; s < segments; ++s) {
    const Segment<width> segment(first_segment + s);
    const int row = band.first_row + segment.row;
    if (row >= bands.height) continue;
    for (int lower = 0; lower < 2; ++lower) {
      const std::int64_t pixel = band.image + row * width + segment.column + lower * 8 + lane / 4;
      const std::int64_t index = pixel * side + channel;
      const auto& halves = sums[s].halves;
      const Floats<channels> values{
          {halves[0][2 * lower], halves[0][2 * lower + 1], halves[1][2 * lower], halves[1][2 * lower + 1]}};
      store(y + index, finish(values, index, channel));
    }
  }
}

// parts[b, o, t, i] = sum over the pixels p of the bands of block b of dy[p, o] x[p + t - 1, i], of 16
// channels i. A warp takes 16 of the `out` channels o, and shares the segments with the warps that have the
// same ones.
template <int out, int width>
__global__ void __launch_bounds__(block_threads, 2)
    few_channels_weight_kernel(Bands<width> bands, const bfloat16* __restrict__ x,
                               const bfloat16* __restrict__ dy, float* __restrict__ parts) {
  begin_kernel();
  constexpr int weights = out * taps * side;
  constexpr int tiles = out / side;
  constexpr int sharing = warps / tiles;  // of the segments
  constexpr int bytes = (bands.pixels_with_border * side + pixels_of_a_band * out) * 2;
  static_assert(bytes >=
                weights * 4);  // so that there is room for the sums, when the images are not needed any more
  alignas(16) __shared__ unsigned char memory[bytes];
  bfloat16* const image = reinterpret_cast<bfloat16*>(memory);
  bfloat16* const gradient = image + bands.pixels_with_border * side;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int first_out = warp % tiles * side;
  const int share = warp / tiles;
  // Pixels are the inner extent: both factors lie with their pixels one below the other, and are loaded
  // transposed. So a, whose rows are dy's channels, wants of what lies there the upper left, upper right,
  // lower left, lower right.
  const LaneOfB of_gradient(lane);
  const LaneOfA of_image(lane);
  Sums sums[taps];
  for (int number = static_cast<int>(blockIdx.x); number < bands.count();
       number += static_cast<int>(gridDim.x)) {
    const Band band(bands, number);
    __syncthreads();  // the band before is not needed any more
    copy_with_border(bands, band, x, image);
    copy_band<out>(bands, band, dy, gradient);
    __syncthreads();
    for (int s = share; s < pixels_of_a_band / side; s += sharing) {
      const int first_pixel = s * side + of_gradient.row;
      const Matrices a = load_matrices<true>(gradient + first_pixel * out + first_out + of_gradient.column);
      const bfloat16* const pixel =
          image + (Segment<width>(s).pixel() + of_image.row) * side + of_image.column;
      for_each_tap([&](auto tap) {
        multiply_add(sums[tap], a, load_matrices<true>(pixel + Segment<width>::shift(tap) * side));
      });
    }
  }

  // The warps of a tile one after the other: the same order in every run.
  float* const all = reinterpret_cast<float*>(memory);
  for (int turn = 0; turn < sharing; ++turn) {
    __syncthreads();
    if (share != turn) continue;
    for (int tap = 0; tap < taps; ++tap)
      for (int half = 0; half < 2; ++half)
        for (int i = 0; i < 4; ++i) {
          const int o = first_out + lane / 4 + i / 2 * 8;
          float& sum = all[(o * taps + tap) * side + half * 8 + lane % 4 * 2 + i % 2];
          sum = (turn > 0 ? sum : 0.0F) + sums[tap].halves[half][i];
        }
  }
  __syncthreads();
  constexpr int four = vector_width<float>;
  for (int i = static_cast<int>(threadIdx.x) * four; i < weights; i += block_threads * four)
    store(parts + static_cast<std::int64_t>(blockIdx.x) * weights + i, load<four>(all + i));
}

struct PartSum {
  float sum;

  __device__ void merge(const PartSum& other) { sum += other.sum; }
};

/// dweight {out, 3, 3, 16} = the sum of parts {blocks, out, 3, 3, 16}.
__global__ void __launch_bounds__(block_threads)
    add_parts_kernel(Tiling tiling, const float* __restrict__ parts, Meeting<PartSum> meeting,
                     bfloat16* __restrict__ dweight) {
  begin_kernel();
  constexpr int width = vector_width<float>;
  const Share share = share_of<width>(tiling);
  Floats<width> sum{};
  for_each_row(
      tiling, share, {}, [=](const RowPlace& place) { return load<width>(parts + place.here); },
      [&](const RowPlace&, const Floats<width>& values) { sum += values; });
  PartSum own[width];
  for (int i = 0; i < width; ++i) own[i] = {sum[i]};
  sum_up<width>(tiling, share, own, meeting, [&](std::int64_t weight, const PartSum& all) {
    dweight[weight] = rounded<bfloat16>(all.sum);
  });
}

/// Calls f(Width<width>).
template <class F>
void visit_width(std::int64_t width, F&& f) {
  if (width == 16) return f(Width<16>{});
  if (width == 32) return f(Width<32>{});
  f(Width<64>{});
}

}  // namespace

bool has_few_channels(const ConvolutionProblem& problem) {
  const Conv2dParams& params = problem.params;
  const std::int64_t in = problem.x[3];
  const std::int64_t out = problem.y[3];
  const std::int64_t width = problem.x[2];
  const bool weight_of_more = problem.direction == Direction::backward_weight && out == 2 * side;
  return in == side && (out == side || weight_of_more) && problem.dtype == DType::bf16 &&
         params.stride == 1 && params.padding == 1 && params.groups == 1 && problem.weight[1] == 3 &&
         problem.weight[2] == 3 && (width == 16 || width == 32 || width == 64) && !problem.sums;
}

void CudaBackend::convolve_few_channels(const ConvolutionProblem& problem,
                                        const ConvolutionOperands& operands) {
  const std::string_view op = name_of(problem.direction);
  auto* const x = static_cast<bfloat16*>(operands.x);
  auto* const weight = static_cast<bfloat16*>(operands.weight);
  auto* const y = static_cast<bfloat16*>(operands.y);
  const ConvolutionEpilogue& epilogue = problem.epilogue;
  visit_width(problem.x[2], [&]<int width>(Width<width>) {
    const Bands<width> bands(problem.x);
    const LaunchShape a_band_each{.blocks = bands.count(), .threads = block_threads};
    if (problem.direction == Direction::forward)
      return run(
          op, a_band_each, few_channels_kernel<false, width>, bands, x, weight,
          Finish{.bias = epilogue.bias ? static_cast<const bfloat16*>(operands.bias) : nullptr,
                 .residual = epilogue.residual ? static_cast<const bfloat16*>(operands.residual) : nullptr,
                 .activated = epilogue.activation != Activation::none,
                 .ceiling = ceiling_of(epilogue.activation)},
          y);
    if (problem.direction == Direction::backward_data)
      return run(
          op, a_band_each, few_channels_kernel<true, width>, bands, y, weight,
          Finish{
              .bias = nullptr, .residual = problem.adds ? x : nullptr, .activated = false, .ceiling = 0.0F},
          x);
    const auto add_up = [&](auto kernel) {
      const std::int64_t blocks = std::min<std::int64_t>(bands.count(), blocks_at_once(kernel));
      const std::int64_t weights = problem.weight.numel();
      const Tensor parts = Tensor::empty({blocks, weights}, DType::f32, Device::cuda);
      run(op, {.blocks = blocks, .threads = block_threads}, kernel, bands, x, y, parts);
      constexpr TileLimits tiles{.columns = 4,
                                 .parts = 1};  // there are enough of them to need no more blocks
      const Tiling tiling =
          tiling_of(blocks, weights, vector_width<float>, tiles, blocks_at_once(add_parts_kernel));
      const MeetingRoom<PartSum> room(tiling, tickets());
      run(op, tiling.shape(), add_parts_kernel, tiling, parts, room.meeting(), weight);
    };
    if (problem.y[3] == side) return add_up(few_channels_weight_kernel<side, width>);
    add_up(few_channels_weight_kernel<2 * side, width>);
  });
}

}  // namespace generous::cuda
