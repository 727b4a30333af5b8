// Forward convolution and the gradient of the input. Every thread takes blocks of tiles: it transforms a
// block's inputs, multiplies it with all filters, and transforms the products back, in memory that stays in
// its second-level cache.

#include "core/cpu/winograd.h"

#include "core/cpu/block_product.h"
#include "core/cpu/parallel.h"
#include "core/cpu/winograd_tiles.h"

namespace generous {

using namespace winograd;

namespace {

constexpr std::int64_t block_tiles = 24;  // a multiple of both numbers of register_rows
constexpr std::int64_t taps_2d = taps * taps;
constexpr std::int64_t block_outputs = 64;  // output channels computed together

/// Columns of a panel of the transformed filter that begins at output channel k.
std::int64_t panel_width(std::int64_t outputs_left) { return std::min(outputs_left, block_outputs); }

/// The operands of `store_tile`.
template <class T>
struct TileStore {
  const float* sums;  ///< row of the first product's plane
  std::int64_t stride;
  const float* bias;  ///< or nullptr
  bool relu;
  bool has_residual;
  std::array<std::array<T*, outputs>, outputs> y;               ///< at the first channel of the image
  std::array<std::array<const T*, outputs>, outputs> residual;  ///< likewise
};

/// y {4, 4, channels k to k + width} = [relu](A' sums A [+ bias] [+ residual])
template <class T>
void store_tile(const TileStore<T>& tile, std::int64_t k, std::int64_t width) {
  for (std::int64_t c = 0; c < width; c += lane_count) {
    const Lanes shift = tile.bias != nullptr ? load<Lanes>(tile.bias + k + c) : Lanes{};
    transform_square<OutputTransform, Lanes>(
        [&](std::size_t i, std::size_t j) { return load_plane<Lanes>(tile.sums + c, tile.stride, i, j); },
        [&](std::size_t i, std::size_t j, Lanes y) {
          y += shift;
          if (tile.has_residual) y += load<Lanes>(tile.residual[i][j] + k + c);
          store(tile.y[i][j] + k + c, tile.relu ? rectified(y) : y);
        });
  }
}

/// Shape of a transformed filter: 36 planes of {panels of up to 64 outputs, inputs, 64}.
Tensor empty_filter(std::int64_t in, std::int64_t out) {
  return Tensor::empty({products, plane_stride(in, out)});
}

/// Where the rows of output channel k's panel begin in a plane.
std::int64_t panel_offset(std::int64_t in, std::int64_t k) { return k / block_outputs * block_outputs * in; }

/// Writes G w G' of one input channel for 16 output channels, the lanes; w(r, s) are the taps.
template <class Taps>
void store_filter(Taps&& w, float* first, std::int64_t stride) {
  transform_square<FilterTransform, Lanes>(
      w, [&](std::size_t i, std::size_t j, Lanes value) { store_plane(first, stride, i, j, value); });
}

/// Calls f(first output channel) for every group of 16, in parallel.
template <class F>
void for_each_output_group(std::int64_t out, F&& f) {
  parallel_for(out / lane_count, 1, [&](std::int64_t group) { f(group * lane_count); });
}

}  // namespace

bool winograd_applies(const Conv2dParams& params, const Tensor& x, const Shape& weight) {
#ifdef __AVX512F__
  const bool shape_fits = weight[1] == taps && weight[2] == taps && params.stride == 1 &&
                          params.padding == 1 && params.groups == 1;
  return shape_fits && x.size(3) % lane_count == 0 && weight[0] % lane_count == 0;
#else
  (void)params, (void)x, (void)weight;
  return false;
#endif
}

// Direct convolution multiplies bf16 twice as fast as f32, so Winograd's fewer f32 products pay only where
// transforms are a small part: not with few channels, nor with more filters than tiles.
bool winograd_convolves_faster(const Tensor& x, const Shape& weight) {
  const std::int64_t fewest = std::min(weight[0], weight[3]);
  const std::int64_t most = std::max(weight[0], weight[3]);
  return x.dtype() == DType::f32 || (fewest >= 32 && Tiling(x.shape()).count() > most);
}

Tensor winograd_filter(const Tensor& weight) {
  const std::int64_t out = weight.size(0);
  const std::int64_t in = weight.size(3);
  Tensor filter = empty_filter(in, out);
  const float* w = weight.data<float>().data();
  float* u = filter.data<float>().data();
  const std::int64_t stride = filter.size(1);
  for_each_output_group(out, [=](std::int64_t k) {
    const std::int64_t width = panel_width(out - k / block_outputs * block_outputs);
    float* panel = u + panel_offset(in, k) + k % block_outputs;
    for (std::int64_t c = 0; c < in; c += lane_count) {
      // The lanes of w are input channels, those of the filter output channels.
      std::array<std::array<std::array<float, lane_count>, lane_count>, taps * taps> turned;
      for (std::size_t lane = 0; lane < lane_count; ++lane)
        for (std::size_t tap = 0; tap < taps * taps; ++tap) {
          const float* from =
              w +
              ((k + static_cast<std::int64_t>(lane)) * taps * taps + static_cast<std::int64_t>(tap)) * in + c;
          for (std::size_t i = 0; i < lane_count; ++i) turned[tap][i][lane] = from[i];
        }
      for (std::size_t i = 0; i < lane_count; ++i) {
        const auto w_of_tap = [&](std::size_t r, std::size_t s) {
          return load<Lanes>(turned[r * taps + s][i].data());
        };
        store_filter(w_of_tap, panel + (c + static_cast<std::int64_t>(i)) * width, stride);
      }
    }
  });
  return filter;
}

Tensor winograd_filter_backward(const Tensor& weight) {
  const std::int64_t in = weight.size(0);  // the gradient goes from K to C channels
  const std::int64_t out = weight.size(3);
  Tensor filter = empty_filter(in, out);
  const float* w = weight.data<float>().data();
  float* u = filter.data<float>().data();
  const std::int64_t stride = filter.size(1);
  for_each_output_group(out, [=](std::int64_t c) {
    const std::int64_t width = panel_width(out - c / block_outputs * block_outputs);
    float* panel = u + panel_offset(in, c) + c % block_outputs;
    for (std::int64_t k = 0; k < in; ++k) {
      const auto mirrored = [&](std::size_t r, std::size_t s) {
        const auto tap = static_cast<std::int64_t>((taps - 1 - r) * taps + (taps - 1 - s));
        return load<Lanes>(w + (k * taps_2d + tap) * out + c);
      };
      store_filter(mirrored, panel + k * width, stride);
    }
  });
  return filter;
}

namespace {

template <class T>
void convolve(const Tensor& x, const Tensor& filter, const Tensor& bias, const Conv2dEpilogue& epilogue,
              Tensor& y) {
  const Tiling tiling(x.shape());
  const std::int64_t in = x.size(3);
  const std::int64_t out = y.size(3);
  const float* u = filter.data<float>().data();
  const std::int64_t u_stride = filter.size(1);
  T* to = y.data<T>().data();
  const auto* residual = static_cast<const T*>(epilogue.residual.raw());

  const std::int64_t width_of_m = panel_width(out);
  const std::int64_t v_stride = plane_stride(block_tiles, in);
  const std::int64_t m_stride = plane_stride(block_tiles, width_of_m);
  const std::int64_t threads = omp_get_max_threads();
  const Tensor zeros = Tensor::zeros({std::max(in, out)}, x.dtype());
  Tensor planes = Tensor::empty({threads, products * (v_stride + m_stride)});
  Tensor beyond = Tensor::empty({threads, out}, y.dtype());  // takes what is computed beyond the image
  const TileSource<T> source{x.data<T>().data(), in, zeros.data<T>().data()};

  const std::int64_t blocks = (tiling.count() + block_tiles - 1) / block_tiles;
  parallel_ranges(blocks, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    float* v = planes.data<float>().data() + thread * planes.size(1);
    float* m = v + products * v_stride;
    T* outside = beyond.data<T>().data() + thread * out;
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t first = block * block_tiles;
      const std::int64_t tiles = std::min(block_tiles, tiling.count() - first);
      for (std::int64_t t = 0; t < tiles; ++t) gather_input(tiling, first + t, source, v + t * in, v_stride);
      for (std::int64_t k = 0; k < out; k += block_outputs) {
        const std::int64_t width = panel_width(out - k);
        for (std::int64_t i = 0; i < products; ++i)
          multiply({.a = v + i * v_stride,
                    .a_row_stride = in,
                    .a_depth_stride = 1,
                    .b = u + i * u_stride + panel_offset(in, k),
                    .b_stride = width,
                    .c = m + i * m_stride,
                    .c_stride = width_of_m,
                    .depth = in,
                    .add_to_c = false},
                   tiles, width);
        for (std::int64_t t = 0; t < tiles; ++t) {
          TileStore<T> tile{.sums = m + t * width_of_m,
                            .stride = m_stride,
                            .bias = static_cast<const float*>(bias.raw()),
                            .relu = epilogue.relu,
                            .has_residual = residual != nullptr,
                            .y = {},
                            .residual = {}};
          tiling.window(first + t, 0, to, out, outside, tile.y);
          if (residual != nullptr) tiling.window(first + t, 0, residual, out, source.zeros, tile.residual);
          store_tile(tile, k, width);
        }
      }
    }
  });
}

}  // namespace

void winograd_convolve(const Tensor& x, const Tensor& filter, const Tensor& bias,
                       const Conv2dEpilogue& epilogue, Tensor& y) {
  visit_floating(x.dtype(), [&]<class T>(T) { convolve<T>(x, filter, bias, epilogue, y); });
}

}  // namespace generous
