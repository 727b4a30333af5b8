// Images in another size, by nearest neighbours or by means, and rows picked by their numbers.

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"
#include "core/nearest_pixel.h"
#include "core/pool_bins.h"

namespace generous {

namespace {

/// The channels of one pixel, in f32.
using Pixel = std::vector<float>;

/// sum += share * the pixel of x {N, H, W, C} at that place.
template <class T>
void add_pixel(Pixel& sum, const Tensor& x, std::int64_t image, std::int64_t h, std::int64_t w, float share) {
  const T* from = x.data<T>().data() + ((image * x.size(1) + h) * x.size(2) + w) * x.size(3);
  for (std::size_t c = 0; c < sum.size(); ++c) sum[c] += share * static_cast<float>(from[c]);
}

/// Every pixel of y {N, P, Q, C}: f(pixel, image, p, q) makes it of zeros.
template <class T, class F>
void make_pixels(Tensor& y, F&& f) {
  T* out = y.data<T>().data();
  const std::int64_t channels = y.size(3);
  parallel_ranges(y.size(0) * y.size(1), 1, [&](std::int64_t begin, std::int64_t end, int) {
    Pixel pixel(static_cast<std::size_t>(channels));
    for (std::int64_t row = begin; row < end; ++row)
      for (std::int64_t q = 0; q < y.size(2); ++q) {
        std::fill(pixel.begin(), pixel.end(), 0.0F);
        f(pixel, row / y.size(1), row % y.size(1), q);
        T* to = out + (row * y.size(2) + q) * channels;
        for (std::size_t c = 0; c < pixel.size(); ++c) to[c] = static_cast<T>(pixel[c]);
      }
  });
}

}  // namespace

void EigenBackend::resample_nearest(const Tensor& x, Tensor& y) {
  const std::int64_t width = y.size(2);
  const std::int64_t channels = y.size(3);
  visit_floating(x.dtype(), [&]<class T>(T) {
    const T* in = x.data<T>().data();
    T* out = y.data<T>().data();
    parallel_for(y.size(0) * y.size(1), 1, [&](std::int64_t row) {
      const std::int64_t image = row / y.size(1);
      const std::int64_t h = nearest_source(row % y.size(1), x.size(1), y.size(1));
      const T* from = in + (image * x.size(1) + h) * x.size(2) * channels;
      for (std::int64_t q = 0; q < width; ++q)
        std::copy_n(from + nearest_source(q, x.size(2), width) * channels, channels,
                    out + (row * width + q) * channels);
    });
  });
}

void EigenBackend::resample_nearest_backward(const Tensor& dy, Tensor& dx) {
  visit_floating(dy.dtype(), [&]<class T>(T) {
    make_pixels<T>(dx, [&](Pixel& pixel, std::int64_t image, std::int64_t h, std::int64_t w) {
      const std::int64_t last_p = first_nearest_target(h + 1, dx.size(1), dy.size(1));
      const std::int64_t last_q = first_nearest_target(w + 1, dx.size(2), dy.size(2));
      for (std::int64_t p = first_nearest_target(h, dx.size(1), dy.size(1)); p < last_p; ++p)
        for (std::int64_t q = first_nearest_target(w, dx.size(2), dy.size(2)); q < last_q; ++q)
          add_pixel<T>(pixel, dy, image, p, q, 1.0F);
    });
  });
}

void EigenBackend::adaptive_avg_pool(const Tensor& x, Tensor& y) {
  visit_floating(x.dtype(), [&]<class T>(T) {
    make_pixels<T>(y, [&](Pixel& pixel, std::int64_t image, std::int64_t p, std::int64_t q) {
      const PoolBin rows = pool_bin(p, x.size(1), y.size(1));
      const PoolBin columns = pool_bin(q, x.size(2), y.size(2));
      for (std::int64_t h = rows.begin; h < rows.end; ++h)
        for (std::int64_t w = columns.begin; w < columns.end; ++w) add_pixel<T>(pixel, x, image, h, w, 1.0F);
      const auto count = static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
      for (float& channel : pixel) channel /= count;
    });
  });
}

void EigenBackend::adaptive_avg_pool_backward(const Tensor& dy, Tensor& dx) {
  visit_floating(dy.dtype(), [&]<class T>(T) {
    make_pixels<T>(dx, [&](Pixel& pixel, std::int64_t image, std::int64_t h, std::int64_t w) {
      const PoolBin ps = pool_bin(h, dy.size(1), dx.size(1));
      const PoolBin qs = pool_bin(w, dy.size(2), dx.size(2));
      for (std::int64_t p = ps.begin; p < ps.end; ++p)
        for (std::int64_t q = qs.begin; q < qs.end; ++q) {
          const PoolBin rows = pool_bin(p, dx.size(1), dy.size(1));
          const PoolBin columns = pool_bin(q, dx.size(2), dy.size(2));
          const auto count = static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
          add_pixel<T>(pixel, dy, image, p, q, 1.0F / count);
        }
    });
  });
}

void EigenBackend::gather_rows(const Tensor& x, const Tensor& indices, Tensor& y) {
  const std::int64_t columns = x.size(1);
  const std::span<const std::int64_t> rows = indices.data<std::int64_t>();
  for (const std::int64_t row : rows)
    require(row >= 0 && row < x.size(0), "gather_rows: there is no row {} in x {}", row, x.shape().str());
  const float* in = x.data<float>().data();
  float* out = y.data<float>().data();
  parallel_for(indices.numel(),
               std::max<std::int64_t>(1, elementwise_grain / std::max<std::int64_t>(1, columns)),
               [=](std::int64_t i) {
                 std::copy_n(in + rows[static_cast<std::size_t>(i)] * columns, columns, out + i * columns);
               });
}

void EigenBackend::gather_rows_backward(const Tensor& indices, const Tensor& dy, Tensor& dx) {
  const std::int64_t columns = dx.size(1);
  const std::span<const std::int64_t> rows = indices.data<std::int64_t>();
  const float* in = dy.data<float>().data();
  float* out = dx.data<float>().data();
  fill(dx, 0.0);
  // Threads share the columns, so that a row's sum has the order of the indices.
  parallel_ranges(columns,
                  std::max<std::int64_t>(16, elementwise_grain / std::max<std::int64_t>(1, indices.numel())),
                  [=](std::int64_t begin, std::int64_t end, int) {
                    const float* from = in;
                    for (const std::int64_t row : rows) {
                      float* to = out + row * columns;
                      for (std::int64_t c = begin; c < end; ++c) to[c] += from[c];
                      from += columns;
                    }
                  });
}

}  // namespace generous
