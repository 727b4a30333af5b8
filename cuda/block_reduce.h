// Sums and maxima over the threads of a warp or a block, the same bits in every thread and in every run: the
// order of the additions depends on nothing but the number of threads.
#pragma once

#include <cuda_runtime.h>

namespace generous::cuda {

inline constexpr int warp_size = 32;
inline constexpr unsigned whole_warp = 0xffffffffU;

struct SumOf {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

/// Of a number and NaN: the number.
struct LargerOf {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

/// `combine` over the values of a warp, in all of its threads; all of them call.
template <class T, class Combine>
__device__ inline T warp_reduce(T value, Combine combine) {
  for (int distance = warp_size / 2; distance > 0; distance /= 2)
    value = combine(value, __shfl_xor_sync(whole_warp, value, distance));
  return value;
}

/// `combine` over the values of a block of whole warps, in all of its threads; all of them call. T is float
/// or double.
template <class T, class Combine>
__device__ inline T block_reduce(T value, Combine combine) {
  __shared__ T of_warp[warp_size];  // a block has at most 32 warps
  value = warp_reduce(value, combine);
  __syncthreads();  // what the previous call left here has been read by all
  if (threadIdx.x % warp_size == 0) of_warp[threadIdx.x / warp_size] = value;
  __syncthreads();
  T result = of_warp[0];
  for (unsigned warp = 1; warp < blockDim.x / warp_size; ++warp) result = combine(result, of_warp[warp]);
  return result;
}

template <class T>
__device__ inline T warp_sum(T value) {
  return warp_reduce(value, SumOf{});
}
__device__ inline float warp_max(float value) { return warp_reduce(value, LargerOf{}); }

template <class T>
__device__ inline T block_sum(T value) {
  return block_reduce(value, SumOf{});
}

}  // namespace generous::cuda
