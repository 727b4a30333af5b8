// Images in another size, by nearest neighbours or by means, and rows picked by their numbers. A thread
// gathers what belongs to its element of the result, so every sum has its order.

#include "core/nearest_pixel.h"
#include "core/pool_bins.h"
#include "cuda/begin_kernel.h"
#include "cuda/cuda_backend.h"
#include "cuda/place.h"
#include "cuda/vector_access.h"

namespace generous::cuda {
namespace {

/// Images {N, height, width, C}.
struct Extents {
  std::int64_t images, height, width, channels;

  explicit Extents(const Shape& shape)
      : images(shape[0]), height(shape[1]), width(shape[2]), channels(shape[3]) {}
  __device__ std::int64_t count() const { return images * height * width * channels; }
};

__device__ Place place_in(const Extents& in, std::int64_t i) {
  return place_of(i, in.height, in.width, in.channels);
}

template <class T>
__global__ void resample_kernel(Extents from, const T* __restrict__ x, Extents to, T* __restrict__ y) {
  begin_kernel();
  for_each_index(to.count(), [&](std::int64_t i) {
    const Place at = place_in(to, i);
    const std::int64_t h = nearest_source(at.h, from.height, to.height);
    const std::int64_t w = nearest_source(at.w, from.width, to.width);
    y[i] = x[((at.n * from.height + h) * from.width + w) * from.channels + at.c];
  });
}

template <class T>
__global__ void resample_backward_kernel(Extents from, Extents to, const T* __restrict__ dy,
                                         T* __restrict__ dx) {
  begin_kernel();
  for_each_index(from.count(), [&](std::int64_t i) {
    const Place at = place_in(from, i);
    const std::int64_t last_p = first_nearest_target(at.h + 1, from.height, to.height);
    const std::int64_t last_q = first_nearest_target(at.w + 1, from.width, to.width);
    float sum = 0.0F;
    for (std::int64_t p = first_nearest_target(at.h, from.height, to.height); p < last_p; ++p)
      for (std::int64_t q = first_nearest_target(at.w, from.width, to.width); q < last_q; ++q)
        sum += static_cast<float>(dy[((at.n * to.height + p) * to.width + q) * to.channels + at.c]);
    dx[i] = rounded<T>(sum);
  });
}

template <class T>
__global__ void adaptive_pool_kernel(Extents from, const T* __restrict__ x, Extents to, T* __restrict__ y) {
  begin_kernel();
  for_each_index(to.count(), [&](std::int64_t i) {
    const Place at = place_in(to, i);
    const PoolBin rows = pool_bin(at.h, from.height, to.height);
    const PoolBin columns = pool_bin(at.w, from.width, to.width);
    float sum = 0.0F;
    for (std::int64_t h = rows.begin; h < rows.end; ++h)
      for (std::int64_t w = columns.begin; w < columns.end; ++w)
        sum += static_cast<float>(x[((at.n * from.height + h) * from.width + w) * from.channels + at.c]);
    y[i] = rounded<T>(sum / static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin)));
  });
}

template <class T>
__global__ void adaptive_pool_backward_kernel(Extents from, Extents to, const T* __restrict__ dy,
                                              T* __restrict__ dx) {
  begin_kernel();
  for_each_index(from.count(), [&](std::int64_t i) {
    const Place at = place_in(from, i);
    const PoolBin ps = pool_bin(at.h, to.height, from.height);
    const PoolBin qs = pool_bin(at.w, to.width, from.width);
    float sum = 0.0F;
    for (std::int64_t p = ps.begin; p < ps.end; ++p)
      for (std::int64_t q = qs.begin; q < qs.end; ++q) {
        const PoolBin rows = pool_bin(p, from.height, to.height);
        const PoolBin columns = pool_bin(q, from.width, to.width);
        const float share =
            1.0F / static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
        sum += share * static_cast<float>(dy[((at.n * to.height + p) * to.width + q) * to.channels + at.c]);
      }
    dx[i] = rounded<T>(sum);
  });
}

__global__ void gather_rows_kernel(std::int64_t count, std::int64_t rows, std::int64_t columns,
                                   const float* __restrict__ x, const std::int64_t* __restrict__ indices,
                                   float* __restrict__ y) {
  begin_kernel();
  for_each_index(count * columns, [&](std::int64_t i) {
    const std::int64_t row = indices[i / columns];
    y[i] = row >= 0 && row < rows ? x[row * columns + i % columns] : 0.0F;
  });
}

/// Every element of dx looks through all indices for its row: neighbouring threads, of one row, for the same
/// ones.
__global__ void gather_rows_backward_kernel(std::int64_t count, std::int64_t rows, std::int64_t columns,
                                            const std::int64_t* __restrict__ indices,
                                            const float* __restrict__ dy, float* __restrict__ dx) {
  begin_kernel();
  for_each_index(rows * columns, [&](std::int64_t i) {
    const std::int64_t row = i / columns;
    const std::int64_t column = i - row * columns;
    float sum = 0.0F;
    for (std::int64_t k = 0; k < count; ++k)
      if (indices[k] == row) sum += dy[k * columns + column];
    dx[i] = sum;
  });
}

}  // namespace

void CudaBackend::resample_nearest(const Tensor& x, Tensor& y) {
  visit_floating(x.dtype(), [&]<class T>(T) {
    run("resample_nearest", grid_of(y.numel()), resample_kernel<T>, Extents(x.shape()), x, Extents(y.shape()),
        y);
  });
}

void CudaBackend::resample_nearest_backward(const Tensor& dy, Tensor& dx) {
  visit_floating(dy.dtype(), [&]<class T>(T) {
    run("resample_nearest backward", grid_of(dx.numel()), resample_backward_kernel<T>, Extents(dx.shape()),
        Extents(dy.shape()), dy, dx);
  });
}

void CudaBackend::adaptive_avg_pool(const Tensor& x, Tensor& y) {
  visit_floating(x.dtype(), [&]<class T>(T) {
    run("adaptive_avg_pool", grid_of(y.numel()), adaptive_pool_kernel<T>, Extents(x.shape()), x,
        Extents(y.shape()), y);
  });
}

void CudaBackend::adaptive_avg_pool_backward(const Tensor& dy, Tensor& dx) {
  visit_floating(dy.dtype(), [&]<class T>(T) {
    run("adaptive_avg_pool backward", grid_of(dx.numel()), adaptive_pool_backward_kernel<T>,
        Extents(dx.shape()), Extents(dy.shape()), dy, dx);
  });
}

void CudaBackend::gather_rows(const Tensor& x, const Tensor& indices, Tensor& y) {
  run("gather_rows", grid_of(y.numel()), gather_rows_kernel, indices.numel(), x.size(0), x.size(1), x,
      indices, y);
}

void CudaBackend::gather_rows_backward(const Tensor& indices, const Tensor& dy, Tensor& dx) {
  run("gather_rows backward", grid_of(dx.numel()), gather_rows_backward_kernel, indices.numel(), dx.size(0),
      dx.size(1), indices, dy, dx);
}

}  // namespace generous::cuda
