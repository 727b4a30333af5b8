// The one-dimensional transforms of Winograd's F(4, 3): four outputs of a filter with three taps from six
// inputs, with six multiplications instead of twelve (Lavin & Gray 2016). They are a Toom-Cook convolution
// evaluated at the points 0, a, -a, b, -b and infinity; in two dimensions every row, then every column is
// transformed. With d {6 x 6} inputs, w {3 x 3} taps, y {4 x 4} outputs:
//   y = A' [(G w G') * (B' d B)] A        and, transposed for the gradient of the taps,
//   dw = G' [sum over tiles (A dy A') * (B' d B)] G
#pragma once

#include <array>
#include <cstdint>

namespace generous::winograd {

constexpr std::int64_t outputs = 4;  ///< along each axis of a tile
constexpr std::int64_t inputs = 6;   ///< along each axis of a tile
constexpr std::int64_t taps = 3;
constexpr std::int64_t products = inputs * inputs;  ///< matrix products a convolution becomes

// Small points keep the powers in A and B near 1, which keeps rounding errors small; these are exact in
// binary.
constexpr float a = 0.625F;
constexpr float b = 1.5F;
constexpr float a2 = a * a;
constexpr float b2 = b * b;

template <class V>
using Six = std::array<V, inputs>;
template <class V>
using Four = std::array<V, outputs>;
template <class V>
using Three = std::array<V, taps>;

/// B' d: rows are the coefficients of M(x) / (x - p) for each point p, M(x) = x (x^2 - a^2) (x^2 - b^2).
template <class V>
inline Six<V> transform_input(const Six<V>& d) {
  const V even_a = d[4] - b2 * d[2];
  const V odd_a = d[3] - b2 * d[1];
  const V even_b = d[4] - a2 * d[2];
  const V odd_b = d[3] - a2 * d[1];
  return {a2 * b2 * d[0] + (d[4] - (a2 + b2) * d[2]),
          even_a + a * odd_a,
          even_a - a * odd_a,
          even_b + b * odd_b,
          even_b - b * odd_b,
          a2 * b2 * d[1] + (d[5] - (a2 + b2) * d[3])};
}

/// A' m: rows are the powers 0 to 3 of the points.
template <class V>
inline Four<V> transform_output(const Six<V>& m) {
  const V sum_a = m[1] + m[2];
  const V difference_a = m[1] - m[2];
  const V sum_b = m[3] + m[4];
  const V difference_b = m[3] - m[4];
  return {m[0] + sum_a + sum_b, a * difference_a + b * difference_b, a2 * sum_a + b2 * sum_b,
          a * a2 * difference_a + (b * b2 * difference_b + m[5])};
}

/// A dy, for the gradient of the taps.
template <class V>
inline Six<V> transform_output_gradient(const Four<V>& dy) {
  const V even_a = dy[0] + a2 * dy[2];
  const V odd_a = a * dy[1] + a * a2 * dy[3];
  const V even_b = dy[0] + b2 * dy[2];
  const V odd_b = b * dy[1] + b * b2 * dy[3];
  return {dy[0], even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, dy[3]};
}

// The normalisation N_p = product of (p - q) over the other finite points q.
constexpr float inverse_norm_0 = 1.0F / (a2 * b2);
constexpr float inverse_norm_a = 1.0F / (2.0F * a2 * (a2 - b2));
constexpr float inverse_norm_b = 1.0F / (2.0F * b2 * (b2 - a2));

/// G w: the filter's values at the points, divided by N_p.
template <class V>
inline Six<V> transform_filter(const Three<V>& w) {
  const V even_a = inverse_norm_a * (w[0] + a2 * w[2]);
  const V odd_a = (inverse_norm_a * a) * w[1];
  const V even_b = inverse_norm_b * (w[0] + b2 * w[2]);
  const V odd_b = (inverse_norm_b * b) * w[1];
  return {inverse_norm_0 * w[0], even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, w[2]};
}

/// G' m: the gradient of the taps.
template <class V>
inline Three<V> transform_filter_gradient(const Six<V>& m) {
  const V sum_a = inverse_norm_a * (m[1] + m[2]);
  const V sum_b = inverse_norm_b * (m[3] + m[4]);
  return {inverse_norm_0 * m[0] + sum_a + sum_b,
          (inverse_norm_a * a) * (m[1] - m[2]) + (inverse_norm_b * b) * (m[3] - m[4]),
          a2 * sum_a + b2 * sum_b + m[5]};
}

/// Applies the 1-D transform `f` to the columns of `in` {From x Columns}, then to the rows of the result:
/// {To x To}. f is called with and returns std::arrays of V.
template <class V, std::size_t To, std::size_t From, class F>
inline std::array<std::array<V, To>, To> transform_2d(const std::array<std::array<V, From>, From>& in,
                                                      F&& f) {
  std::array<std::array<V, To>, From> half;  // transposed: one transformed column a row
#pragma GCC unroll 6
  for (std::size_t column = 0; column < From; ++column) {
    std::array<V, From> values;
#pragma GCC unroll 6
    for (std::size_t row = 0; row < From; ++row) values[row] = in[row][column];
    half[column] = f(values);
  }
  std::array<std::array<V, To>, To> out;
#pragma GCC unroll 6
  for (std::size_t row = 0; row < To; ++row) {
    std::array<V, From> values;
#pragma GCC unroll 6
    for (std::size_t column = 0; column < From; ++column) values[column] = half[column][row];
    out[row] = f(values);
  }
  return out;
}

}  // namespace generous::winograd
