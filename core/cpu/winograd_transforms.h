// The one-dimensional transforms of Winograd's F(4, 3): four outputs of a filter with three taps from six
// inputs, with six multiplications instead of twelve (Lavin & Gray 2016). They are a Toom-Cook convolution
// evaluated at the points 0, a, -a, b, -b and infinity; in two dimensions every row, then every column is
// transformed. With d {6 x 6} inputs, w {3 x 3} taps, y {4 x 4} outputs:
//   y = A' [(G w G') * (B' d B)] A        and, transposed for the gradient of the taps,
//   dw = G' [sum over tiles (A dy A') * (B' d B)] G
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "core/cpu/vector_lanes.h"

namespace generous::winograd {

constexpr std::size_t outputs = 4;  ///< along each axis of a tile
constexpr std::size_t inputs = 6;   ///< along each axis of a tile
constexpr std::size_t taps = 3;
constexpr std::int64_t products = 36;  ///< matrix products a convolution becomes

// Small points keep the powers in A and B near 1, which keeps rounding errors small; these are exact in
// binary.
constexpr float a = 0.625F;
constexpr float b = 1.5F;
constexpr float a2 = a * a;
constexpr float b2 = b * b;

/// An index known to the compiler, so that a line of values needs no memory.
template <std::size_t i>
constexpr std::integral_constant<std::size_t, i> at{};

/// f(at<0>), f(at<1>), ..., f(at<count - 1>)
template <std::size_t count, class F>
inline void for_each_index(F&& f) {
  [&]<std::size_t... i>(std::index_sequence<i...>) { (f(at<i>), ...); }
  (std::make_index_sequence<count>{});
}

// Each transform reads element i of a line by get(at<i>) and writes it by put(at<i>, value).

/// B' d, six to six: rows are the coefficients of M(x) / (x - p) for each point p, M(x) = x (x^2 - a^2)
/// (x^2 - b^2), and of M(x) itself.
struct InputTransform {
  static constexpr std::size_t from = inputs;
  static constexpr std::size_t to = inputs;
  static constexpr std::size_t passes = 2;

  template <class Get, class Put>
  static void apply(Get&& get, Put&& put) {
    const auto d1 = get(at<1>), d2 = get(at<2>), d3 = get(at<3>), d4 = get(at<4>);
    const auto even_a = d4 - b2 * d2;
    const auto odd_a = d3 - b2 * d1;
    const auto even_b = d4 - a2 * d2;
    const auto odd_b = d3 - a2 * d1;
    put(at<0>, a2 * b2 * get(at<0>) + (d4 - (a2 + b2) * d2));
    put(at<1>, even_a + a * odd_a);
    put(at<2>, even_a - a * odd_a);
    put(at<3>, even_b + b * odd_b);
    put(at<4>, even_b - b * odd_b);
    put(at<5>, a2 * b2 * d1 + (get(at<5>) - (a2 + b2) * d3));
  }
};

/// A' m, six to four: rows are the powers 0 to 3 of the points.
struct OutputTransform {
  static constexpr std::size_t from = inputs;
  static constexpr std::size_t to = outputs;
  static constexpr std::size_t passes = 2;

  template <class Get, class Put>
  static void apply(Get&& get, Put&& put) {
    const auto sum_a = get(at<1>) + get(at<2>);
    const auto difference_a = get(at<1>) - get(at<2>);
    const auto sum_b = get(at<3>) + get(at<4>);
    const auto difference_b = get(at<3>) - get(at<4>);
    put(at<0>, get(at<0>) + sum_a + sum_b);
    put(at<1>, a * difference_a + b * difference_b);
    put(at<2>, a2 * sum_a + b2 * sum_b);
    put(at<3>, a * a2 * difference_a + (b * b2 * difference_b + get(at<5>)));
  }
};

/// A dy, four to six.
struct OutputGradientTransform {
  static constexpr std::size_t from = outputs;
  static constexpr std::size_t to = inputs;
  static constexpr std::size_t passes = 2;

  template <class Get, class Put>
  static void apply(Get&& get, Put&& put) {
    const auto y0 = get(at<0>), y1 = get(at<1>), y2 = get(at<2>), y3 = get(at<3>);
    const auto even_a = y0 + a2 * y2;
    const auto odd_a = y1 + a2 * y3;
    const auto even_b = y0 + b2 * y2;
    const auto odd_b = y1 + b2 * y3;
    put(at<0>, y0);
    put(at<1>, even_a + a * odd_a);
    put(at<2>, even_a - a * odd_a);
    put(at<3>, even_b + b * odd_b);
    put(at<4>, even_b - b * odd_b);
    put(at<5>, y3);
  }
};

// What the filter's values at the points are divided by: the product of (p - q) over the other finite points.
constexpr float inverse_norm_0 = 1.0F / (a2 * b2);
constexpr float inverse_norm_a = 1.0F / (2.0F * a2 * (a2 - b2));
constexpr float inverse_norm_b = 1.0F / (2.0F * b2 * (b2 - a2));

/// G w, three to six: the filter's values at the points, normalised.
struct FilterTransform {
  static constexpr std::size_t from = taps;
  static constexpr std::size_t to = inputs;
  static constexpr std::size_t passes = 1;

  template <class Get, class Put>
  static void apply(Get&& get, Put&& put) {
    const auto w0 = get(at<0>), w1 = get(at<1>), w2 = get(at<2>);
    const auto even_a = inverse_norm_a * (w0 + a2 * w2);
    const auto odd_a = (inverse_norm_a * a) * w1;
    const auto even_b = inverse_norm_b * (w0 + b2 * w2);
    const auto odd_b = (inverse_norm_b * b) * w1;
    put(at<0>, inverse_norm_0 * w0);
    put(at<1>, even_a + odd_a);
    put(at<2>, even_a - odd_a);
    put(at<3>, even_b + odd_b);
    put(at<4>, even_b - odd_b);
    put(at<5>, w2);
  }
};

/// G' m, six to three.
struct FilterGradientTransform {
  static constexpr std::size_t from = inputs;
  static constexpr std::size_t to = taps;
  static constexpr std::size_t passes = 1;

  template <class Get, class Put>
  static void apply(Get&& get, Put&& put) {
    const auto sum_a = inverse_norm_a * (get(at<1>) + get(at<2>));
    const auto sum_b = inverse_norm_b * (get(at<3>) + get(at<4>));
    put(at<0>, inverse_norm_0 * get(at<0>) + sum_a + sum_b);
    put(at<1>,
        (inverse_norm_a * a) * (get(at<1>) - get(at<2>)) + (inverse_norm_b * b) * (get(at<3>) - get(at<4>)));
    put(at<2>, a2 * sum_a + b2 * sum_b + get(at<5>));
  }
};

/// The transform of the columns, then of the rows, of a square: reads element (i, j) by get(i, j), writes it
/// by put(i, j, value). V is the type of an element. In several passes, each of which reads everything and
/// makes some of the rows, where all rows at once would not fit the registers.
template <class Transform, class V, class Get, class Put>
inline void transform_square(Get&& get, Put&& put) {
  constexpr std::size_t rows = Transform::to / Transform::passes;
  for_each_index<Transform::passes>([&](auto pass) {
    std::array<V, rows * Transform::from> half;
    for_each_index<Transform::from>([&](auto j) {
      Transform::apply([&](auto i) { return get(i, j); },
                       [&](auto i, V value) {
                         if constexpr (i / rows == pass) half[i % rows * Transform::from + j] = value;
                       });
    });
    for_each_index<rows>([&](auto row) {
      Transform::apply([&](auto j) { return half[row * Transform::from + j]; },
                       [&](auto j, V value) { put(pass * rows + row, j, value); });
    });
  });
}

/// Element (i, j) of 36 planes, at planes + (6 i + j) * stride.
template <class V>
inline V load_plane(const float* planes, std::int64_t stride, std::size_t i, std::size_t j) {
  return load<V>(planes + static_cast<std::int64_t>(inputs * i + j) * stride);
}
template <class V>
inline void store_plane(float* planes, std::int64_t stride, std::size_t i, std::size_t j, V value) {
  store(planes + static_cast<std::int64_t>(inputs * i + j) * stride, value);
}

}  // namespace generous::winograd
