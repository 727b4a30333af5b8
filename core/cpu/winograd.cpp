// Forward convolution and the gradient of the input, in three parts: the inputs of some tiles are
// transformed, multiplied with all filters, and the products transformed back.

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
constexpr std::int64_t part_tiles = 192;    // tiles that all threads take through one part together
constexpr std::size_t cached_filter_bytes = 16U << 20U;  // about what a third-level cache has to spare

/// Columns of a panel of the transformed filter that begins at output channel k.
std::int64_t panel_width(std::int64_t outputs_left) { return std::min(outputs_left, block_outputs); }

/// The operands of `store_tile`.
template <class T>
struct TileStore {
  const float* sums;  ///< row of the first product's plane
  std::int64_t stride;
  const float* bias;  ///< or nullptr
  Activation activation;
  bool has_residual;
  bool streamed;                                                ///< past the caches
  std::array<std::array<T*, outputs>, outputs> y;               ///< at the first channel of the image
  std::array<std::array<const T*, outputs>, outputs> residual;  ///< likewise
};

/// y {4, 4, channels k to k + width} = activation(A' sums A [+ bias] [+ residual])
template <class T>
void store_tile(const TileStore<T>& tile, std::int64_t k, std::int64_t width) {
  for (std::int64_t c = 0; c < width; c += lane_count) {
    const Lanes shift = tile.bias != nullptr ? load<Lanes>(tile.bias + k + c) : Lanes{};
    transform_square<OutputTransform, Lanes>(
        [&](std::size_t i, std::size_t j) { return load_plane<Lanes>(tile.sums + c, tile.stride, i, j); },
        [&](std::size_t i, std::size_t j, Lanes y) {
          y += shift;
          if (tile.has_residual) y += load<Lanes>(tile.residual[i][j] + k + c);
          if (tile.activation != Activation::none) y = clipped(y, ceiling_of(tile.activation));
          store(tile.y[i][j] + k + c, y, tile.streamed);
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
// transforms are a small part: not with few channels, nor with many more filters than tiles.
bool winograd_convolves_faster(const Tensor& x, const Shape& weight) {
  const std::int64_t fewest = std::min(weight[0], weight[3]);
  const std::int64_t most = std::max(weight[0], weight[3]);
  return x.dtype() == DType::f32 || (fewest >= 32 && 4 * Tiling(x.shape()).count() >= most);
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

/// Transformed inputs {tiles, C} and products {tiles, some output channels}, 36 planes of each.
struct Planes {
  float* v;
  std::int64_t v_stride;
  float* m;
  std::int64_t m_stride;
  std::int64_t m_width;  ///< output channels from one tile to the next
};

/// The three parts of a convolution, each of some tiles or output channels.
template <class T>
class Convolution {
 public:
  Convolution(const Tensor& x, const Tensor& filter, const Tensor& bias, const Conv2dEpilogue& epilogue,
              Tensor& y)
      : tiling(x.shape()),
        in(x.size(3)),
        out(y.size(3)),
        zeros_(Tensor::zeros({std::max(in, out)}, x.dtype())),
        source_{x.data<T>().data(), in, zeros_.data<T>().data()},
        u_(filter.data<float>().data()),
        u_stride_(filter.size(1)),
        bias_(static_cast<const float*>(bias.raw())),
        activation_(epilogue.activation),
        residual_(static_cast<const T*>(epilogue.residual.raw())),
        streamed_(worth_streaming(y.bytes(), static_cast<std::size_t>(out) * sizeof(T))),
        y_(y.data<T>().data()) {}

  const Tiling tiling;
  const std::int64_t in;   ///< channels
  const std::int64_t out;  ///< channels

  /// V of the tile into row `row`.
  void gather(std::int64_t tile, std::int64_t row, const Planes& planes) const {
    gather_input(tiling, tile, source_, planes.v + row * in, planes.v_stride);
  }

  /// Product i of `tiles` rows with the panel of output channel k, into columns from m_column on.
  void multiply_panel(std::int64_t i, std::int64_t tiles, std::int64_t k, const Planes& planes,
                      std::int64_t m_column) const {
    const std::int64_t width = panel_width(out - k);
    multiply({.a = planes.v + i * planes.v_stride,
              .a_row_stride = in,
              .a_depth_stride = 1,
              .b = u_ + i * u_stride_ + panel_offset(in, k),
              .b_stride = width,
              .c = planes.m + i * planes.m_stride + m_column,
              .c_stride = planes.m_width,
              .depth = in,
              .add_to_c = false},
             tiles, width);
  }

  /// The tile's outputs of channels k to k + width from the sums of row `row`. `outside` {K} takes what is
  /// computed beyond the image.
  void scatter(std::int64_t tile, std::int64_t row, std::int64_t k, std::int64_t width, const Planes& planes,
               T* outside) const {
    TileStore<T> store{.sums = planes.m + row * planes.m_width,
                       .stride = planes.m_stride,
                       .bias = bias_,
                       .activation = activation_,
                       .has_residual = residual_ != nullptr,
                       .streamed = streamed_,
                       .y = {},
                       .residual = {}};
    tiling.window(tile, 0, y_, out, outside, store.y);
    if (residual_ != nullptr) tiling.window(tile, 0, residual_, out, source_.zeros, store.residual);
    store_tile(store, k, width);
  }

 private:
  Tensor zeros_;
  TileSource<T> source_;
  const float* u_;
  std::int64_t u_stride_;
  const float* bias_;
  Activation activation_;
  const T* residual_;
  bool streamed_;
  T* y_;
};

/// Every thread takes blocks of tiles through all three parts, in memory that stays in its second-level
/// cache.
template <class T>
void convolve_by_blocks(const Convolution<T>& convolution) {
  const std::int64_t in = convolution.in;
  const std::int64_t out = convolution.out;
  const std::int64_t count = convolution.tiling.count();
  const std::int64_t v_stride = plane_stride(block_tiles, in);
  const std::int64_t m_stride = plane_stride(block_tiles, panel_width(out));
  const std::int64_t threads = omp_get_max_threads();
  Tensor memory = Tensor::empty({threads, products * (v_stride + m_stride)});
  Tensor beyond = Tensor::empty({threads, out}, dtype_of<T>);
  parallel_ranges((count + block_tiles - 1) / block_tiles, 1,
                  [&](std::int64_t begin, std::int64_t end, int thread) {
                    float* v = memory.data<float>().data() + thread * memory.size(1);
                    T* outside = beyond.data<T>().data() + thread * out;
                    const Planes planes{v, v_stride, v + products * v_stride, m_stride, panel_width(out)};
                    for (std::int64_t block = begin; block < end; ++block) {
                      const std::int64_t first = block * block_tiles;
                      const std::int64_t tiles = std::min(block_tiles, count - first);
                      for (std::int64_t t = 0; t < tiles; ++t) convolution.gather(first + t, t, planes);
                      for (std::int64_t k = 0; k < out; k += block_outputs) {
                        for (std::int64_t i = 0; i < products; ++i)
                          convolution.multiply_panel(i, tiles, k, planes, 0);
                        for (std::int64_t t = 0; t < tiles; ++t)
                          convolution.scatter(first + t, t, k, panel_width(out - k), planes, outside);
                      }
                    }
                  });
}

/// All threads take one part after the other, of many tiles at a time: a filter too large for the caches is
/// then read a few times only, not once for every small block.
template <class T>
void convolve_by_parts(const Convolution<T>& convolution) {
  const std::int64_t in = convolution.in;
  const std::int64_t out = convolution.out;
  const std::int64_t count = convolution.tiling.count();
  const std::int64_t most = std::min(part_tiles, count);
  const std::int64_t v_stride = plane_stride(most, in);
  const std::int64_t m_stride = plane_stride(most, out);
  Tensor v = Tensor::empty({products, v_stride});
  Tensor m = Tensor::empty({products, m_stride});
  Tensor beyond = Tensor::empty({omp_get_max_threads(), out}, dtype_of<T>);
  const Planes planes{v.data<float>().data(), v_stride, m.data<float>().data(), m_stride, out};
  const std::int64_t panels = (out + block_outputs - 1) / block_outputs;
  for (std::int64_t first = 0; first < count; first += most) {
    const std::int64_t tiles = std::min(most, count - first);
    parallel_for(tiles, 1, [&](std::int64_t t) { convolution.gather(first + t, t, planes); });
    parallel_for(products * panels, 1, [&](std::int64_t job) {
      const std::int64_t k = job % panels * block_outputs;
      convolution.multiply_panel(job / panels, tiles, k, planes, k);
    });
    parallel_ranges(tiles, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
      T* outside = beyond.data<T>().data() + thread * out;
      for (std::int64_t t = begin; t < end; ++t) convolution.scatter(first + t, t, 0, out, planes, outside);
    });
  }
}

}  // namespace

void winograd_convolve(const Tensor& x, const Tensor& filter, const Tensor& bias,
                       const Conv2dEpilogue& epilogue, Tensor& y) {
  visit_floating(x.dtype(), [&]<class T>(T) {
    const Convolution<T> convolution(x, filter, bias, epilogue, y);
    if (filter.bytes() > cached_filter_bytes)
      convolve_by_parts(convolution);
    else
      convolve_by_blocks(convolution);
  });
}

}  // namespace generous
