// The gradient of the filters, dw = G' [sum over tiles (A dy A') * (B' x B)] G. Some tiles at a time are
// transformed, then each of the 36 sums grows by a matrix product. Where the sums are small, every thread has
// sums of its own and its share of the tiles; where they are large, all threads work on the same ones.

#include "core/cpu/block_product.h"
#include "core/cpu/parallel.h"
#include "core/cpu/winograd.h"
#include "core/cpu/winograd_tiles.h"

namespace generous {

using namespace winograd;

namespace {

/// So many tiles at a time that both sets of planes stay in the caches, but enough to pay for reading the
/// sums.
std::int64_t tiles_at_a_time(std::int64_t channels) {
  constexpr std::int64_t cached_floats = 1 << 17;
  return std::max<std::int64_t>(64, cached_floats / (products * channels));
}

/// How many parts of the tiles are summed apart from each other.
std::int64_t independent_sums(const Tensor& dweight) {
  constexpr std::int64_t small = 128 * 128;
  return dweight.size(0) * dweight.size(3) <= small ? omp_get_max_threads() : 1;
}

/// The planes of one part: transformed inputs {tiles, C}, output gradients {tiles, K}, sums {K, C}.
struct Planes {
  float* v;
  std::int64_t v_stride;
  float* z;
  std::int64_t z_stride;
  float* sums;
  std::int64_t sum_stride;
};

/// sums = sum over [first, last) of A dy A' times B' x B; on all threads, unless called on one of several.
template <class T>
void sum_products(const Tiling& tiling, Range tiles, const TileSource<T>& x, const TileSource<T>& dy,
                  const Planes& planes) {
  const std::int64_t in = x.channels;
  const std::int64_t out = dy.channels;
  const std::int64_t most = tiles_at_a_time(in + out);
  for (std::int64_t first = tiles.begin; first < tiles.end; first += most) {
    const std::int64_t count = std::min(most, tiles.end - first);
    parallel_for(count, 8, [&](std::int64_t t) {
      gather_input(tiling, first + t, x, planes.v + t * in, planes.v_stride);
      gather_output_gradient(tiling, first + t, dy, planes.z + t * out, planes.z_stride);
    });
    const std::int64_t groups = out / lane_count;
    parallel_for(products * groups, 1, [&](std::int64_t job) {
      const std::int64_t i = job / groups;
      const std::int64_t k = job % groups * lane_count;
      multiply({.a = planes.z + i * planes.z_stride + k,
                .a_row_stride = 1,
                .a_depth_stride = out,
                .b = planes.v + i * planes.v_stride,
                .b_stride = in,
                .c = planes.sums + i * planes.sum_stride + k * in,
                .c_stride = in,
                .depth = count,
                .add_to_c = first > tiles.begin},
               lane_count, in);
    });
  }
}

/// dweight {K, 3, 3, C} = G' sums G, sums {parts, 36 planes {K, C}} added up in order.
void store_gradient(const Tensor& sums, std::int64_t stride, Tensor& dweight) {
  const std::int64_t parts = sums.size(0);
  const std::int64_t part_size = sums.size(1);
  const float* planes = sums.data<float>().data();
  const std::int64_t channels = dweight.size(3);
  float* dw = dweight.data<float>().data();
  parallel_for(dweight.size(0), 1, [=](std::int64_t k) {
    for (std::int64_t c = 0; c < channels; c += lane_count)
      transform_square<FilterGradientTransform, Lanes>(
          [&](std::size_t i, std::size_t j) {
            Lanes sum = load_plane<Lanes>(planes + k * channels + c, stride, i, j);
            for (std::int64_t part = 1; part < parts; ++part)
              sum += load_plane<Lanes>(planes + part * part_size + k * channels + c, stride, i, j);
            return sum;
          },
          [&](std::size_t r, std::size_t s, Lanes value) {
            const auto tap = static_cast<std::int64_t>(r * taps + s);
            store(dw + (k * static_cast<std::int64_t>(taps * taps) + tap) * channels + c, value);
          });
  });
}

template <class T>
void backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight) {
  const Tiling tiling(x.shape());
  const std::int64_t in = x.size(3);
  const std::int64_t out = dy.size(3);
  const std::int64_t parts = std::min(independent_sums(dweight), tiling.count());
  const std::int64_t most = std::min(tiles_at_a_time(in + out), tiling.count());
  const std::int64_t v_stride = plane_stride(most, in);
  const std::int64_t z_stride = plane_stride(most, out);
  const std::int64_t sum_stride = plane_stride(out, in);
  const Tensor zeros = Tensor::zeros({std::max(in, out)}, x.dtype());
  Tensor v = Tensor::empty({parts, products * v_stride});
  Tensor z = Tensor::empty({parts, products * z_stride});
  Tensor sums = Tensor::empty({parts, products * sum_stride});
  const TileSource<T> image{x.data<T>().data(), in, zeros.data<T>().data()};
  const TileSource<T> gradient{dy.data<T>().data(), out, zeros.data<T>().data()};
  parallel_for(parts, 1, [&](std::int64_t part) {
    sum_products(tiling, range_of_thread(tiling.count(), static_cast<int>(part), static_cast<int>(parts)),
                 image, gradient,
                 {.v = v.data<float>().data() + part * v.size(1),
                  .v_stride = v_stride,
                  .z = z.data<float>().data() + part * z.size(1),
                  .z_stride = z_stride,
                  .sums = sums.data<float>().data() + part * sums.size(1),
                  .sum_stride = sum_stride});
  });
  store_gradient(sums, sum_stride, dweight);
}

}  // namespace

void winograd_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight) {
  visit_floating(x.dtype(), [&]<class T>(T) { backward_weight<T>(x, dy, dweight); });
}

}  // namespace generous
