// The extents of a tensor, row-major: the last axis is contiguous. Images are {N, H, W, C}.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace generous {

class Shape {
 public:
  static constexpr int max_rank = 5;

  /// Rank 0: a scalar, one element.
  Shape() = default;
  /// Throws Error for more than max_rank axes, a negative extent, or a product beyond 2^63.
  Shape(std::initializer_list<std::int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const std::int64_t> dims);

  int rank() const { return rank_; }
  /// The extent of `axis`; negative axes count from the end. Throws Error when out of range.
  std::int64_t operator[](int axis) const;
  std::int64_t numel() const { return numel_; }
  std::span<const std::int64_t> dims() const { return {dims_.data(), static_cast<std::size_t>(rank_)}; }
  /// "{8, 32, 32, 16}"
  std::string str() const;

  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, max_rank> dims_{};
  int rank_ = 0;
  std::int64_t numel_ = 1;
};

}  // namespace generous
