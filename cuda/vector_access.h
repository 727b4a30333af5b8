// Memory accesses of 16 bytes a thread, and arithmetic in f32 on what they bring: a float is loaded by fours,
// a bfloat16 by eights. Tensors start at multiples of 256 bytes, so an index that is a multiple of the width
// is aligned; what is left at the end of a tensor goes by ones.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "core/dtype.h"

namespace generous::cuda {

/// How many elements of type T are 16 bytes.
template <class T>
inline constexpr int vector_width = 16 / static_cast<int>(sizeof(T));

/// Neighbouring elements as they lie in memory. `width` is a power of 2.
template <class T, int width>
struct alignas(sizeof(T) * width < 16 ? sizeof(T) * width : 16) Elements {
  T values[width];
};

/// Neighbouring elements as numbers to compute with, in registers.
template <int width>
struct Floats {
  float values[width];

  __device__ float& operator[](int i) { return values[i]; }
  __device__ float operator[](int i) const { return values[i]; }
};

template <int width>
__device__ inline Floats<width>& operator+=(Floats<width>& a, const Floats<width>& b) {
  for (int i = 0; i < width; ++i) a[i] += b[i];
  return a;
}

template <int width>
__device__ inline Floats<width> operator*(float factor, const Floats<width>& a) {
  Floats<width> product;
  for (int i = 0; i < width; ++i) product[i] = factor * a[i];
  return product;
}

/// The `width` elements from `from` on, which is aligned to 16 bytes or to their size if that is less.
template <int width, class T>
__device__ inline Floats<width> load(const T* from) {
  const auto elements = *reinterpret_cast<const Elements<T, width>*>(from);
  Floats<width> result;
  for (int i = 0; i < width; ++i) result[i] = static_cast<float>(elements.values[i]);
  return result;
}

/// Rounds to T, in hardware on a GPU.
template <class T>
__device__ inline T rounded(float number) {
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<T, bfloat16>) {
    bfloat16 result;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(number));
    return result;
  } else
#endif
    return T(number);
}
template <class T, int width>
__device__ inline Elements<T, width> rounded(const Floats<width>& numbers) {
  Elements<T, width> elements;
#ifdef __CUDA_ARCH__
  if constexpr (std::is_same_v<T, bfloat16> && width % 2 == 0) {  // two in one instruction
    std::uint32_t pairs[width / 2];
    for (int i = 0; i < width / 2; ++i)
      asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pairs[i]) : "f"(numbers[2 * i + 1]), "f"(numbers[2 * i]));
    __builtin_memcpy(&elements, pairs, sizeof(elements));
  } else
#endif
    for (int i = 0; i < width; ++i) elements.values[i] = rounded<T>(numbers[i]);
  return elements;
}

/// Rounds to T; `to` is aligned as for `load`.
template <int width, class T>
__device__ inline void store(T* to, const Floats<width>& numbers) {
  const Elements<T, width> elements = rounded<T>(numbers);
  *reinterpret_cast<Elements<T, width>*>(to) = elements;
}

/// A number of neighbouring elements that is known when the kernel is compiled.
template <int width>
using Width = std::integral_constant<int, width>;

/// Shares [begin, end) among `threads` threads, of which this is number `thread`: calls f(Width<width>, i)
/// for whole vectors and f(Width<1>, i) for each element left at the end. `begin` is a multiple of `width`.
template <int width, class F>
__device__ inline void for_each_vector(std::int64_t begin, std::int64_t end, std::int64_t thread,
                                       std::int64_t threads, F&& f) {
  const std::int64_t whole = begin + (end - begin) / width * width;
  for (std::int64_t i = begin + thread * width; i < whole; i += threads * width) f(Width<width>{}, i);
  for (std::int64_t i = whole + thread; i < end; i += threads) f(Width<1>{}, i);
}

/// Shares [0, count) among all threads of the grid.
template <int width, class F>
__device__ inline void for_each_vector(std::int64_t count, F&& f) {
  for_each_vector<width>(0, count, static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x,
                         static_cast<std::int64_t>(gridDim.x) * blockDim.x, f);
}

}  // namespace generous::cuda
