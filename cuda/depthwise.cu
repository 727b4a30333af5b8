// Depthwise convolutions. A thread takes four channels at a time: 16 bytes of f32, 8 of bf16, whose
// arithmetic is in f32. Its 36 weights lie one after the other in memory and stay in registers.

#include "cuda/begin_kernel.h"
#include "cuda/channel_sums.h"
#include "cuda/cuda_backend.h"
#include "cuda/depthwise.h"
#include "cuda/place.h"
#include "cuda/vector_access.h"

namespace generous::cuda {

bool is_depthwise(const ConvolutionProblem& problem) {
  const std::int64_t channels = problem.x[3];
  return problem.params.groups == channels && problem.weight == Shape{channels, 3, 3, 1} && channels % 4 == 0;
}

namespace {

/// x {N, H, W, C}, weight {C, 3, 3, 1}, y {N, P, Q, C}
struct Extents {
  std::int64_t n, h, w, c, p, q;
  std::int64_t stride, padding;

  explicit Extents(const ConvolutionProblem& problem)
      : n(problem.x[0]),
        h(problem.x[1]),
        w(problem.x[2]),
        c(problem.x[3]),
        p(problem.y[1]),
        q(problem.y[2]),
        stride(problem.params.stride),
        padding(problem.params.padding) {}
};

constexpr int width = 4;  ///< channels of a thread
constexpr int taps = 9;

/// Of four neighbouring channels.
struct Filter {
  float weights[width * taps];  ///< {4, 3, 3}

  template <class T>
  __device__ Filter(const T* weight, std::int64_t channel) {
    for (int i = 0; i < taps; ++i) {
      const auto some = load<width>(weight + channel * taps + i * width);
      for (int k = 0; k < width; ++k) weights[i * width + k] = some[k];
    }
  }
  __device__ void add(int tap, const Floats<width>& x, Floats<width>& sum) const {
    for (int k = 0; k < width; ++k) sum[k] += weights[k * taps + tap] * x[k];
  }
};

/// Along one axis: which of the `extent` pixels of x a tap of y's pixel `at` reads or, backward, of dy a tap
/// of dx's; negative: none.
template <bool backward>
__device__ std::int64_t pixel_at(std::int64_t at, int tap, const Extents& e, std::int64_t extent) {
  if constexpr (!backward) {
    const std::int64_t from = at * e.stride + tap - e.padding;
    return from < extent ? from : -1;
  } else {
    const std::int64_t ahead = at + e.padding - tap;
    return ahead >= 0 && ahead % e.stride == 0 && ahead / e.stride < extent ? ahead / e.stride : -1;
  }
}

/// y of x or, backward, dx of dy: `to` {N, rows, columns, C} of `from` {N, height, width, C}. Threads take
/// pixels that are neighbours in a column of blocks, so that they share their rows' cache lines.
template <bool backward, class T>
__global__ void depthwise_kernel(Extents e, bool adds, const T* __restrict__ from,
                                 const T* __restrict__ weight, T* __restrict__ to) {
  begin_kernel();
  constexpr int strip = 4;  // pixels of a row, for one load of the weights
  const std::int64_t rows = backward ? e.h : e.p;
  const std::int64_t columns = backward ? e.w : e.q;
  const std::int64_t height = backward ? e.p : e.h;
  const std::int64_t line = backward ? e.q : e.w;
  const std::int64_t groups = e.c / width;
  const std::int64_t strips = (columns + strip - 1) / strip;
  for_each_index(e.n * rows * strips * groups, [&](std::int64_t i) {
    const Place at = place_of(i, rows, strips, groups);
    const std::int64_t channel = at.c * width;
    const std::int64_t first = at.w * strip;
    const Filter filter(weight, channel);
    for (std::int64_t column = first; column < first + strip && column < columns; ++column) {
      Floats<width> sum{};
      for (int r = 0; r < 3; ++r) {
        const std::int64_t h = pixel_at<backward>(at.h, r, e, height);
        if (h < 0) continue;
        for (int s = 0; s < 3; ++s) {
          const std::int64_t w = pixel_at<backward>(column, s, e, line);
          if (w < 0) continue;
          filter.add(3 * r + s, load<width>(from + ((at.n * height + h) * line + w) * e.c + channel), sum);
        }
      }
      T* const result = to + ((at.n * rows + at.h) * columns + column) * e.c + channel;
      if (adds) sum += load<width>(result);
      store(result, sum);
    }
  });
}

/// Of some pixels of dy, for a channel: the sums of their products with x.
struct TapSums {
  float of[taps];

  __device__ void merge(const TapSums& other) {
    for (int i = 0; i < taps; ++i) of[i] += other.of[i];
  }
};

/// dweight {C, 3, 3}; the rows of the Tiling are the pixels of dy {N, P, Q, C}.
template <class T>
__global__ void __launch_bounds__(block_threads)
    depthwise_weight_kernel(Tiling tiling, Extents e, const T* __restrict__ x, const T* __restrict__ dy,
                            Meeting<TapSums> meeting, T* __restrict__ dweight) {
  begin_kernel();
  const Share share = share_of<width>(tiling);
  TapSums own[width] = {};
  for (std::int64_t pixel = share.row; pixel < share.end; pixel += tiling.lines) {
    const std::int64_t column = pixel % e.q;
    const std::int64_t row = pixel / e.q % e.p;
    const std::int64_t image = pixel / e.q / e.p;
    const auto gradient = load<width>(dy + pixel * e.c + share.channel);
    for (int r = 0; r < 3; ++r) {
      const std::int64_t h = pixel_at<false>(row, r, e, e.h);
      if (h < 0) continue;
      for (int s = 0; s < 3; ++s) {
        const std::int64_t w = pixel_at<false>(column, s, e, e.w);
        if (w < 0) continue;
        const auto values = load<width>(x + ((image * e.h + h) * e.w + w) * e.c + share.channel);
        for (int k = 0; k < width; ++k) own[k].of[3 * r + s] += gradient[k] * values[k];
      }
    }
  }
  sum_up<width>(tiling, share, own, meeting, [&](std::int64_t c, const TapSums& all) {
    for (int i = 0; i < taps; ++i) dweight[c * taps + i] = rounded<T>(all.of[i]);
  });
}

}  // namespace

void CudaBackend::convolve_depthwise(const ConvolutionProblem& problem, const ConvolutionOperands& operands) {
  const std::string_view op = name_of(problem.direction);
  const Extents e(problem);
  visit_floating(problem.dtype, [&]<class T>(T) {
    auto* x = static_cast<T*>(operands.x);
    auto* weight = static_cast<T*>(operands.weight);
    auto* y = static_cast<T*>(operands.y);
    const auto strips = [&](const Shape& of) { return grid_of(of.numel() / width / 4 + 1); };
    switch (problem.direction) {
      case Direction::forward:
        return run(op, strips(problem.y), depthwise_kernel<false, T>, e, false, x, weight, y);
      case Direction::backward_data:
        return run(op, strips(problem.x), depthwise_kernel<true, T>, e, problem.adds, y, weight, x);
      case Direction::backward_weight: {
        const auto kernel = depthwise_weight_kernel<T>;
        const Tiling tiling = tiling_of(e.n * e.p * e.q, e.c, width, tiles_of_sums, blocks_at_once(kernel));
        const MeetingRoom<TapSums> room(tiling, tickets());
        return run(op, tiling.shape(), kernel, tiling, e, x, y, room.meeting(), weight);
      }
    }
  });
}

}  // namespace generous::cuda
