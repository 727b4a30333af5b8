// How threads share the elements of a result: each takes single ones, in strides of the whole grid.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace generous::cuda {

/// f(i) for every i in [0, count), each once among all threads of the grid.
template <class F>
__device__ inline void for_each_index(std::int64_t count, F&& f) {
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += threads)
    f(i);
}

/// Where an element lies in images {N, height, width, C}.
struct Place {
  std::int64_t n, h, w, c;
};

__device__ inline Place place_of(std::int64_t index, std::int64_t height, std::int64_t width,
                                 std::int64_t channels) {
  const std::int64_t pixel = index / channels;
  const std::int64_t row = pixel / width;
  return {.n = row / height, .h = row % height, .w = pixel % width, .c = index - pixel * channels};
}

__device__ inline std::int64_t index_of(const Place& at, std::int64_t height, std::int64_t width,
                                        std::int64_t channels) {
  return ((at.n * height + at.h) * width + at.w) * channels + at.c;
}

}  // namespace generous::cuda
