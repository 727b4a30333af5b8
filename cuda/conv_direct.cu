// Convolution by its definition, for what the library has no algorithm for: every number of the result is one
// sum, whose terms are added in f32 and in one order. No thread shares a result with another one, so nothing
// depends on which runs first.

#include "cuda/begin_kernel.h"
#include "cuda/block_reduce.h"
#include "cuda/conv_direct.h"
#include "cuda/launch.h"
#include "cuda/place.h"
#include "cuda/vector_access.h"

namespace generous::cuda {
namespace {

/// x {n, h, w, c}, weight {k, r, s, c/groups}, y {n, p, q, k}.
struct Extents {
  std::int64_t n, h, w, c, k, r, s, p, q;
  std::int64_t stride, padding;
  std::int64_t group_c, group_k;  ///< channels of x and of y in a group
};

Extents extents_of(const ConvolutionProblem& problem) {
  const Shape& x = problem.x;
  const Shape& weight = problem.weight;
  return {.n = x[0],
          .h = x[1],
          .w = x[2],
          .c = x[3],
          .k = weight[0],
          .r = weight[1],
          .s = weight[2],
          .p = problem.y[1],
          .q = problem.y[2],
          .stride = problem.params.stride,
          .padding = problem.params.padding,
          .group_c = weight[3],
          .group_k = weight[0] / problem.params.groups};
}

/// The sum over i of a[i * step_a] * b[i * step_b].
template <class T>
__device__ float dot(const T* a, std::int64_t step_a, const T* b, std::int64_t step_b, std::int64_t count) {
  float sum = 0.0F;
  for (std::int64_t i = 0; i < count; ++i)
    sum += static_cast<float>(a[i * step_a]) * static_cast<float>(b[i * step_b]);
  return sum;
}

// y[n, p, q, k] = sum over r, s, c of x[n, p * stride + r - padding, q * stride + s - padding, c] * weight[k,
// r, s, c]
template <class T>
__global__ void forward_kernel(Extents e, const T* x, const T* weight, T* y) {
  begin_kernel();
  for_each_index(e.n * e.p * e.q * e.k, [&](std::int64_t index) {
    const Place at = place_of(index, e.p, e.q, e.k);
    const std::int64_t first_channel = at.c / e.group_k * e.group_c;
    float sum = 0.0F;
    for (std::int64_t r = 0; r < e.r; ++r)
      for (std::int64_t s = 0; s < e.s; ++s) {
        const std::int64_t h = at.h * e.stride + r - e.padding;
        const std::int64_t w = at.w * e.stride + s - e.padding;
        if (h < 0 || h >= e.h || w < 0 || w >= e.w) continue;
        const T* pixel = x + ((at.n * e.h + h) * e.w + w) * e.c + first_channel;
        const T* tap = weight + ((at.c * e.r + r) * e.s + s) * e.group_c;
        sum += dot(pixel, 1, tap, 1, e.group_c);
      }
    y[index] = rounded<T>(sum);
  });
}

// dx[n, h, w, c] = sum over the r, s for which a window (p, q) has its tap there, and over k, of dy[n, p, q,
// k] * weight[k, r, s, c], and what dx holds if `adds`
template <class T>
__global__ void backward_data_kernel(Extents e, bool adds, const T* dy, const T* weight, T* dx) {
  begin_kernel();
  for_each_index(e.n * e.h * e.w * e.c, [&](std::int64_t index) {
    const Place at = place_of(index, e.h, e.w, e.c);
    const std::int64_t first_k = at.c / e.group_c * e.group_k;
    float sum = 0.0F;
    for (std::int64_t r = 0; r < e.r; ++r)
      for (std::int64_t s = 0; s < e.s; ++s) {
        const std::int64_t down = at.h + e.padding - r;
        const std::int64_t right = at.w + e.padding - s;
        if (down < 0 || right < 0 || down % e.stride != 0 || right % e.stride != 0) continue;
        const std::int64_t p = down / e.stride;
        const std::int64_t q = right / e.stride;
        if (p >= e.p || q >= e.q) continue;
        const T* gradient = dy + ((at.n * e.p + p) * e.q + q) * e.k + first_k;
        const T* tap = weight + ((first_k * e.r + r) * e.s + s) * e.group_c + at.c % e.group_c;
        sum += dot(gradient, 1, tap, e.r * e.s * e.group_c, e.group_k);
      }
    dx[index] = rounded<T>(adds ? static_cast<float>(dx[index]) + sum : sum);
  });
}

// dweight[k, r, s, c] = sum over n, p, q of x[n, p * stride + r - padding, q * stride + s - padding, c] *
// dy[n, p, q, k]: a block for each, whose threads share the windows.
template <class T>
__global__ void backward_weight_kernel(Extents e, const T* x, const T* dy, T* dweight) {
  begin_kernel();
  const std::int64_t count = e.k * e.r * e.s * e.group_c;
  for (std::int64_t index = blockIdx.x; index < count; index += gridDim.x) {
    const Place at = place_of(index, e.r, e.s, e.group_c);  // an "image" of weights is a filter
    const std::int64_t channel = at.n / e.group_k * e.group_c + at.c;
    float sum = 0.0F;
    for (std::int64_t window = threadIdx.x; window < e.n * e.p * e.q; window += blockDim.x) {
      const Place of = place_of(window, e.p, e.q, 1);
      const std::int64_t h = of.h * e.stride + at.h - e.padding;
      const std::int64_t w = of.w * e.stride + at.w - e.padding;
      if (h < 0 || h >= e.h || w < 0 || w >= e.w) continue;
      sum += static_cast<float>(x[((of.n * e.h + h) * e.w + w) * e.c + channel]) *
             static_cast<float>(dy[window * e.k + at.n]);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) dweight[index] = rounded<T>(sum);
  }
}

}  // namespace

void convolve_directly(const ConvolutionProblem& problem, const ConvolutionOperands& operands,
                       cudaStream_t stream) {
  const std::string_view op = name_of(problem.direction);
  visit_floating(problem.dtype, [&]<class T>(T) {
    const Extents extents = extents_of(problem);
    auto* x = static_cast<T*>(operands.x);
    auto* weight = static_cast<T*>(operands.weight);
    auto* y = static_cast<T*>(operands.y);
    switch (problem.direction) {
      case Direction::forward:
        return launch(op, stream, grid_of(problem.y.numel()), forward_kernel<T>, extents, x, weight, y);
      case Direction::backward_data:
        return launch(op, stream, grid_of(problem.x.numel()), backward_data_kernel<T>, extents, problem.adds,
                      y, weight, x);
      case Direction::backward_weight:
        return launch(op, stream, {.blocks = grid_of(problem.weight.numel(), 1).blocks, .threads = 256},
                      backward_weight_kernel<T>, extents, x, y, weight);
    }
  });
}

}  // namespace generous::cuda
