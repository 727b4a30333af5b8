// Pooling of images {N, H, W, C} into windows {N, P, Q, C}. A thread owns `width` neighbouring channels of
// one pixel of its output and gathers what belongs there, forward from the taps of a window, backward from
// the windows over a pixel: no two threads add to the same place, and every sum has its order. The arithmetic
// is in f32.

#include <cmath>
#include <limits>

#include "cuda/begin_kernel.h"
#include "cuda/channel_groups.h"
#include "cuda/cuda_backend.h"
#include "cuda/place.h"

namespace generous::cuda {
namespace {

struct Pooling {
  Pool2dParams window;
  std::int64_t images, height, width;  ///< N, H, W
  std::int64_t rows, columns;          ///< P, Q
  std::int64_t channels;
};

/// `image` {N, H, W, C} pooled into `pooled` {N, P, Q, C}.
Pooling pooling_of(const Pool2dParams& window, const Shape& image, const Shape& pooled) {
  return {.window = window,
          .images = image[0],
          .height = image[1],
          .width = image[2],
          .rows = pooled[1],
          .columns = pooled[2],
          .channels = image[3]};
}

/// What each tap of a window adds to its mean; padding counts, as zeros.
float share_of(const Pool2dParams& window) {
  return 1.0F / static_cast<float>(window.kernel_h * window.kernel_w);
}

/// [begin, end)
struct Range {
  std::int64_t begin, end;
};

/// The taps of window `index` that lie inside an image of so many pixels, along one axis.
__device__ Range taps_inside(std::int64_t index, std::int64_t taps, const Pool2dParams& window,
                             std::int64_t pixels) {
  const std::int64_t first_pixel = index * window.stride - window.padding;
  return {first_pixel < 0 ? -first_pixel : 0, first_pixel + taps > pixels ? pixels - first_pixel : taps};
}

/// The windows, of so many, that contain pixel `index`, along one axis.
__device__ Range windows_over(std::int64_t index, std::int64_t taps, const Pool2dParams& window,
                              std::int64_t windows) {
  const std::int64_t place = index + window.padding;
  const std::int64_t last = place / window.stride;
  const std::int64_t begin = place < taps ? 0 : (place - taps) / window.stride + 1;
  return {begin, last < windows ? last + 1 : windows};
}

/// Calls f(place of its first channel) for every group of `group` channels of images {N, height, width,
/// channels}, each group once among all threads of the grid.
template <int group, class F>
__device__ void for_each_place(std::int64_t images, std::int64_t height, std::int64_t width,
                               std::int64_t channels, F&& f) {
  const std::int64_t groups = channels / group;
  for_each_index(images * height * width * groups, [&](std::int64_t i) {
    Place at = place_of(i, height, width, groups);
    at.c *= group;
    f(at);
  });
}

/// Calls f(tap, index in {N, H, W, C}) for the taps of window `at` that lie inside the image, row by row.
template <class F>
__device__ void for_each_tap(const Pooling& pooling, const Place& at, F&& f) {
  const Pool2dParams& window = pooling.window;
  const Range vertical = taps_inside(at.h, window.kernel_h, window, pooling.height);
  const Range horizontal = taps_inside(at.w, window.kernel_w, window, pooling.width);
  for (std::int64_t r = vertical.begin; r < vertical.end; ++r) {
    const std::int64_t h = at.h * window.stride - window.padding + r;
    const std::int64_t row = (at.n * pooling.height + h) * pooling.width;
    for (std::int64_t s = horizontal.begin; s < horizontal.end; ++s) {
      const std::int64_t w = at.w * window.stride - window.padding + s;
      f(r * window.kernel_w + s, (row + w) * pooling.channels + at.c);
    }
  }
}

/// Calls f(tap, index in {N, P, Q, C}) for the windows that contain pixel `at`, row by row; `tap` is the
/// pixel's number in the window.
template <class F>
__device__ void for_each_window(const Pooling& pooling, const Place& at, F&& f) {
  const Pool2dParams& window = pooling.window;
  const Range vertical = windows_over(at.h, window.kernel_h, window, pooling.rows);
  const Range horizontal = windows_over(at.w, window.kernel_w, window, pooling.columns);
  for (std::int64_t p = vertical.begin; p < vertical.end; ++p) {
    const std::int64_t r = at.h + window.padding - p * window.stride;
    const std::int64_t row = (at.n * pooling.rows + p) * pooling.columns;
    for (std::int64_t q = horizontal.begin; q < horizontal.end; ++q) {
      const std::int64_t s = at.w + window.padding - q * window.stride;
      f(r * window.kernel_w + s, (row + q) * pooling.channels + at.c);
    }
  }
}

/// As on the CPU: the first of equal values wins, NaN is never chosen, and where nothing is above -infinity
/// the tap is 0.
template <int width, class T>
__global__ void max_pool_kernel(Pooling pooling, const T* __restrict__ x, T* __restrict__ y,
                                std::uint8_t* __restrict__ chosen) {
  begin_kernel();
  for_each_place<width>(
      pooling.images, pooling.rows, pooling.columns, pooling.channels, [&](const Place& at) {
        Floats<width> largest;
        Elements<std::uint8_t, width> taps;
        for (int i = 0; i < width; ++i) {
          largest[i] = -std::numeric_limits<float>::infinity();
          taps.values[i] = 0;
        }
        for_each_tap(pooling, at, [&](std::int64_t tap, std::int64_t from) {
          const auto values = load<width>(x + from);
          for (int i = 0; i < width; ++i)
            if (values[i] > largest[i]) {
              largest[i] = values[i];
              taps.values[i] = static_cast<std::uint8_t>(tap);
            }
        });
        const std::int64_t to = index_of(at, pooling.rows, pooling.columns, pooling.channels);
        store(y + to, largest);
        *reinterpret_cast<Elements<std::uint8_t, width>*>(chosen + to) = taps;
      });
}

template <int width, class T>
__global__ void max_pool_backward_kernel(Pooling pooling, const T* __restrict__ dy,
                                         const std::uint8_t* __restrict__ chosen, T* __restrict__ dx) {
  begin_kernel();
  for_each_place<width>(
      pooling.images, pooling.height, pooling.width, pooling.channels, [&](const Place& at) {
        Floats<width> sum{};
        for_each_window(pooling, at, [&](std::int64_t tap, std::int64_t from) {
          const auto taps = *reinterpret_cast<const Elements<std::uint8_t, width>*>(chosen + from);
          const auto gradients = load<width>(dy + from);
          for (int i = 0; i < width; ++i) sum[i] += taps.values[i] == tap ? gradients[i] : 0.0F;
        });
        store(dx + index_of(at, pooling.height, pooling.width, pooling.channels), sum);
      });
}

/// Y is T or float.
template <int width, class T, class Y>
__global__ void avg_pool_kernel(Pooling pooling, float share, const T* __restrict__ x, Y* __restrict__ y) {
  begin_kernel();
  for_each_place<width>(
      pooling.images, pooling.rows, pooling.columns, pooling.channels, [&](const Place& at) {
        Floats<width> sum{};
        for_each_tap(pooling, at, [&](std::int64_t, std::int64_t from) { sum += load<width>(x + from); });
        store(y + index_of(at, pooling.rows, pooling.columns, pooling.channels), share * sum);
      });
}

template <int width, class T, class Y>
__global__ void avg_pool_backward_kernel(Pooling pooling, float share, const Y* __restrict__ dy,
                                         T* __restrict__ dx) {
  begin_kernel();
  for_each_place<width>(
      pooling.images, pooling.height, pooling.width, pooling.channels, [&](const Place& at) {
        Floats<width> sum{};
        for_each_window(pooling, at, [&](std::int64_t, std::int64_t from) { sum += load<width>(dy + from); });
        store(dx + index_of(at, pooling.height, pooling.width, pooling.channels), share * sum);
      });
}

/// A thread for every `width` elements of `output`. Blocks are small, so that small images use the whole GPU.
LaunchShape shape_for(const Tensor& output, int width) { return grid_of(output.numel() / width, 128); }

}  // namespace

void CudaBackend::max_pool(const Pool2dParams& params, const Tensor& x, Tensor& y, Tensor& chosen) {
  const Pooling pooling = pooling_of(params, x.shape(), y.shape());
  visit_groups(x.dtype(), x.size(3), [&]<class T, int width>(T, Width<width>) {
    run("max_pool", shape_for(y, width), max_pool_kernel<width, T>, pooling, x, y, chosen);
  });
}

void CudaBackend::max_pool_backward(const Pool2dParams& params, const Tensor& dy, const Tensor& chosen,
                                    Tensor& dx) {
  const Pooling pooling = pooling_of(params, dx.shape(), dy.shape());
  visit_groups(dy.dtype(), dy.size(3), [&]<class T, int width>(T, Width<width>) {
    run("max_pool backward", shape_for(dx, width), max_pool_backward_kernel<width, T>, pooling, dy, chosen,
        dx);
  });
}

void CudaBackend::avg_pool(const Pool2dParams& params, const Tensor& x, Tensor& y) {
  const Pooling pooling = pooling_of(params, x.shape(), y.shape());
  visit_groups(x.dtype(), x.size(3), [&]<class T, int width>(T, Width<width>) {
    const auto pool = [&](auto kernel) {
      run("avg_pool", shape_for(y, width), kernel, pooling, share_of(params), x, y);
    };
    y.dtype() == DType::f32 ? pool(avg_pool_kernel<width, T, float>) : pool(avg_pool_kernel<width, T, T>);
  });
}

void CudaBackend::avg_pool_backward(const Pool2dParams& params, const Tensor& dy, Tensor& dx) {
  const Pooling pooling = pooling_of(params, dx.shape(), dy.shape());
  visit_groups(dx.dtype(), dy.size(3), [&]<class T, int width>(T, Width<width>) {
    const auto pool = [&](auto kernel) {
      run("avg_pool backward", shape_for(dx, width), kernel, pooling, share_of(params), dy, dx);
    };
    dy.dtype() == DType::f32 ? pool(avg_pool_backward_kernel<width, T, float>)
                             : pool(avg_pool_backward_kernel<width, T, T>);
  });
}

}  // namespace generous::cuda
