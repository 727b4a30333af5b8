// The gradient of the filters, dw = G' [sum over tiles (A dy A') * (B' x B)] G. Some tiles at a time are
// transformed by all threads; then the 36 sums grow by a matrix product each, divided among the threads. The
// order of summation does not depend on the number of threads.

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

/// dweight {K, 3, 3, C} = G' sums G, sums: 36 planes {K, C}.
void store_gradient(const float* sums, std::int64_t stride, Tensor& dweight) {
  const std::int64_t channels = dweight.size(3);
  float* dw = dweight.data<float>().data();
  parallel_for(dweight.size(0), 1, [=](std::int64_t k) {
    for (std::int64_t c = 0; c < channels; c += lane_count)
      transform_square<FilterGradientTransform, Lanes>(
          [&](std::size_t i, std::size_t j) {
            return load_plane<Lanes>(sums + k * channels + c, stride, i, j);
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

  const std::int64_t most = std::min(tiles_at_a_time(in + out), tiling.count());
  const std::int64_t v_stride = plane_stride(most, in);
  const std::int64_t z_stride = plane_stride(most, out);
  const std::int64_t sum_stride = plane_stride(out, in);
  Tensor inputs_planes = Tensor::empty({products, v_stride});
  Tensor gradient_planes = Tensor::empty({products, z_stride});
  Tensor sum_planes = Tensor::empty({products, sum_stride});
  const Tensor zeros = Tensor::zeros({std::max(in, out)}, x.dtype());
  float* v = inputs_planes.data<float>().data();
  float* z = gradient_planes.data<float>().data();
  float* sums = sum_planes.data<float>().data();
  const TileSource<T> image{x.data<T>().data(), in, zeros.data<T>().data()};
  const TileSource<T> gradient{dy.data<T>().data(), out, zeros.data<T>().data()};

  for (std::int64_t first = 0; first < tiling.count(); first += most) {
    const std::int64_t tiles = std::min(most, tiling.count() - first);
    parallel_for(tiles, 8, [=, &tiling](std::int64_t t) {
      gather_input(tiling, first + t, image, v + t * in, v_stride);
      gather_output_gradient(tiling, first + t, gradient, z + t * out, z_stride);
    });
    const std::int64_t groups = out / lane_count;
    parallel_for(products * groups, 1, [=](std::int64_t job) {
      const std::int64_t i = job / groups;
      const std::int64_t k = job % groups * lane_count;
      multiply({.a = z + i * z_stride + k,
                .a_row_stride = 1,
                .a_depth_stride = out,
                .b = v + i * v_stride,
                .b_stride = in,
                .c = sums + i * sum_stride + k * in,
                .c_stride = in,
                .depth = tiles,
                .add_to_c = first > 0},
               lane_count, in);
    });
  }
  store_gradient(sums, sum_stride, dweight);
}

}  // namespace

void winograd_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight) {
  visit_floating(x.dtype(), [&]<class T>(T) { backward_weight<T>(x, dy, dweight); });
}

}  // namespace generous
