// The inner kernel of our own matrix products: a block of C that fits the vector registers.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "core/cpu/vector_lanes.h"

namespace generous {

/// The operands of C {rows, columns} = [C +] A {rows, depth} B {depth, columns}. A may be transposed: any two
/// strides. Columns of B and C are contiguous.
struct ProductOperands {
  const float* a;
  std::int64_t a_row_stride;
  std::int64_t a_depth_stride;
  const float* b;
  std::int64_t b_stride;
  float* c;
  std::int64_t c_stride;
  std::int64_t depth;
  bool add_to_c;
};

/// rows x (16 vectors) of C, kept in registers over the whole depth.
template <int rows, int vectors>
void multiply_in_registers(const ProductOperands& o) {
  std::array<std::array<Lanes, vectors>, rows> sum{};
  const float* a = o.a;
  const float* b = o.b;
  for (std::int64_t d = 0; d < o.depth; ++d, a += o.a_depth_stride, b += o.b_stride) {
    std::array<Lanes, vectors> columns;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) columns[v] = load<Lanes>(b + v * lane_count);
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[i][v] += a[i * o.a_row_stride] * columns[v];
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      float* c = o.c + i * o.c_stride + v * lane_count;
      store(c, o.add_to_c ? load<Lanes>(c) + sum[i][v] : sum[i][v]);
    }
}

/// Rows of C that are kept in registers for so many vectors of columns: 32 registers hold the sums, a row of
/// B and one more.
constexpr int register_rows(int vectors) { return vectors == 4 ? 6 : 12; }

/// Any number of rows, 16 `vectors` columns (vectors 1, 2 or 4).
template <int vectors>
void multiply_rows(ProductOperands o, std::int64_t rows) {
  constexpr int most = register_rows(vectors);
  for (; rows >= most; rows -= most) {
    multiply_in_registers<most, vectors>(o);
    o.a += most * o.a_row_stride;
    o.c += most * o.c_stride;
  }
  const auto rest = [&]<int... i>(std::integer_sequence<int, i...>) {
    (void)((rows == i + 1 && (multiply_in_registers<i + 1, vectors>(o), true)) || ...);
  };
  rest(std::make_integer_sequence<int, most - 1>{});
}

/// Any number of rows and any depth; `columns` is a multiple of 16. The depth is taken in steps: that part of
/// B stays in the first-level cache while the rows pass by, and sums of short sums round
/// less than long ones.
inline void multiply(const ProductOperands& operands, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t depth_step = 64;
  for (std::int64_t column = 0; column < columns;) {
    const std::int64_t left = (columns - column) / lane_count;
    ProductOperands o = operands;
    o.b += column;
    o.c += column;
    for (std::int64_t begin = 0; begin < operands.depth; begin += depth_step) {
      o.depth = std::min(depth_step, operands.depth - begin);
      if (left >= 4)
        multiply_rows<4>(o, rows);
      else if (left >= 2)
        multiply_rows<2>(o, rows);
      else
        multiply_rows<1>(o, rows);
      o.a += o.depth * o.a_depth_stride;
      o.b += o.depth * o.b_stride;
      o.add_to_c = true;
    }
    column += lane_count * (left >= 4 ? 4 : left >= 2 ? 2 : 1);
  }
}

}  // namespace generous
