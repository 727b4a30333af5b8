// What the emulated cuBLAS and cuDNN compute with: operands read from device memory into packed f32, sums of
// products in f32, results written back. Written from what the libraries promise, not from our CPU kernels.
// What reaches beyond one allocation of device memory (or of pinned memory) throws, which fails the device
// work.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace generous::emulation {

enum class Element : std::uint8_t { f32, bf16 };

/// A four-dimensional array of the caller's: the extents and, in elements, the strides of its axes, outermost
/// first. Packed copies of it have the same axes in the same order.
struct Layout4d {
  std::array<std::int64_t, 4> extents{};
  std::array<std::int64_t, 4> strides{};

  std::int64_t elements() const { return extents[0] * extents[1] * extents[2] * extents[3]; }
};

/// `value` as tensor cores take it where TF32 is allowed: rounded to 10 bits of mantissa.
float to_tf32(float value);

/// The elements of `data`, packed in the order of the axes and, if `tf32`, rounded to TF32.
std::vector<float> load(const void* data, Element element, const Layout4d& layout, bool tf32);

/// data = alpha * values + beta * data, rounded to the element once. With beta == 0, `data` is not read.
void store(const std::vector<float>& values, float alpha, float beta, void* data, Element element,
           const Layout4d& layout);

/// `count` numbers, `stride` apart.
struct Factors {
  const float* first;
  std::int64_t stride;
};

/// out[j] += factors[0] * rows[0][j] + factors[1] * rows[1][j] + ... for the `width` elements j of contiguous
/// rows that begin `row_stride` apart. The sum of one call is taken in that order before it is added to out.
void add_products(std::int64_t count, Factors factors, const float* rows, std::int64_t row_stride,
                  std::int64_t width, float* out);

/// Overwrites scratch memory with NaN, as a library may leave anything there.
void poison(void* scratch, std::size_t bytes);

}  // namespace generous::emulation
