#include "library_arithmetic.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "memory.h"

namespace generous::emulation {
namespace {

/// A library's kernels see the device's memory alone; here they could read any.
void require_device_memory(const void* data, std::size_t bytes) {
  if (bytes != 0 && memory().containing(data, bytes) == nullptr)
    throw std::runtime_error(
        fmt::format("an operand of {} bytes at {} ({}) is not in one allocation of device memory", bytes,
                    data, memory().describe(data)));
}

/// Bytes from the first element to behind the last.
std::size_t span_of(const Layout4d& layout, Element element) {
  if (layout.elements() == 0) return 0;
  std::int64_t last = 0;
  for (std::size_t axis = 0; axis < 4; ++axis) last += (layout.extents[axis] - 1) * layout.strides[axis];
  return static_cast<std::size_t>(last + 1) *
         (element == Element::f32 ? sizeof(float) : sizeof(std::uint16_t));
}

float value_of(float stored) { return stored; }

/// bf16 is the upper half of an f32.
float value_of(std::uint16_t stored) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(stored) << 16);
}

void assign(float& stored, float value) { stored = value; }

/// To nearest; of two equally near, the one whose last bit is 0.
void assign(std::uint16_t& stored, float value) {
  if (std::isnan(value)) {
    stored = 0x7fff;
    return;
  }
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t kept = bits >> 16;
  const std::uint32_t dropped = bits & 0xffffU;
  const bool up = dropped > 0x8000U || (dropped == 0x8000U && (kept & 1U) != 0);
  stored = static_cast<std::uint16_t>(up ? kept + 1 : kept);
}

/// Calls row(offset in memory, offset in the packed copy) for every innermost row of the array.
template <class Row>
void for_each_row(const Layout4d& layout, Row&& row) {
  std::int64_t packed = 0;
  for (std::int64_t i = 0; i < layout.extents[0]; ++i)
    for (std::int64_t j = 0; j < layout.extents[1]; ++j)
      for (std::int64_t k = 0; k < layout.extents[2]; ++k) {
        row(i * layout.strides[0] + j * layout.strides[1] + k * layout.strides[2], packed);
        packed += layout.extents[3];
      }
}

template <class Stored>
void load_as(const Stored* data, const Layout4d& layout, std::vector<float>& values) {
  for_each_row(layout, [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t l = 0; l < layout.extents[3]; ++l)
      values[static_cast<std::size_t>(to + l)] = value_of(data[from + l * layout.strides[3]]);
  });
}

template <class Stored>
void store_as(const std::vector<float>& values, float alpha, float beta, Stored* data,
              const Layout4d& layout) {
  for_each_row(layout, [&](std::int64_t to, std::int64_t from) {
    for (std::int64_t l = 0; l < layout.extents[3]; ++l) {
      Stored& out = data[to + l * layout.strides[3]];
      const float scaled = alpha * values[static_cast<std::size_t>(from + l)];
      assign(out, beta == 0.0F ? scaled : scaled + beta * value_of(out));
    }
  });
}

/// The part of add_products for `lanes` neighbouring columns: their sums stay in registers.
template <int lanes>
void add_columns(std::int64_t count, Factors factors, const float* rows, std::int64_t row_stride,
                 float* out) {
  float sums[lanes] = {};
  for (std::int64_t i = 0; i < count; ++i) {
    const float factor = factors.first[i * factors.stride];
    const float* row = rows + i * row_stride;
    for (int j = 0; j < lanes; ++j) sums[j] += factor * row[j];
  }
  for (int j = 0; j < lanes; ++j) out[j] += sums[j];
}

}  // namespace

float to_tf32(float value) {
  if (!std::isfinite(value)) return value;
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(value) + 0x1000U) & ~0x1fffU);
}

std::vector<float> load(const void* data, Element element, const Layout4d& layout, bool tf32) {
  require_device_memory(data, span_of(layout, element));
  std::vector<float> values(static_cast<std::size_t>(layout.elements()));
  if (element == Element::f32)
    load_as(static_cast<const float*>(data), layout, values);
  else
    load_as(static_cast<const std::uint16_t*>(data), layout, values);
  if (tf32)
    for (float& value : values) value = to_tf32(value);
  return values;
}

void store(const std::vector<float>& values, float alpha, float beta, void* data, Element element,
           const Layout4d& layout) {
  require_device_memory(data, span_of(layout, element));
  if (element == Element::f32)
    store_as(values, alpha, beta, static_cast<float*>(data), layout);
  else
    store_as(values, alpha, beta, static_cast<std::uint16_t*>(data), layout);
}

void add_products(std::int64_t count, Factors factors, const float* rows, std::int64_t row_stride,
                  std::int64_t width, float* out) {
  std::int64_t j = 0;
  for (; j + 64 <= width; j += 64) add_columns<64>(count, factors, rows + j, row_stride, out + j);
  for (; j + 16 <= width; j += 16) add_columns<16>(count, factors, rows + j, row_stride, out + j);
  for (; j + 4 <= width; j += 4) add_columns<4>(count, factors, rows + j, row_stride, out + j);
  for (; j < width; ++j) add_columns<1>(count, factors, rows + j, row_stride, out + j);
}

void poison(void* scratch, std::size_t bytes) {
  require_device_memory(scratch, bytes);
  if (bytes != 0) std::memset(scratch, 0xFF, bytes);
}

}  // namespace generous::emulation
