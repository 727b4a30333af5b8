#include "core/shape.h"

#include "core/error.h"

namespace generous {

Shape::Shape(std::span<const std::int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  require(dims.size() <= max_rank, "a tensor has at most {} axes, not {}", max_rank, dims.size());
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    require(dims[axis] >= 0, "axis {} of a shape has the negative extent {}", axis, dims[axis]);
    require(!__builtin_mul_overflow(numel_, dims[axis], &numel_), "a shape has more than 2^63 elements");
    dims_[axis] = dims[axis];
  }
}

std::int64_t Shape::operator[](int axis) const {
  const int index = axis < 0 ? axis + rank_ : axis;
  if (index < 0 || index >= rank_) fail("axis {} does not exist in shape {}", axis, str());
  return dims_[static_cast<std::size_t>(index)];
}

std::string Shape::str() const {
  std::string text = "{";
  for (int axis = 0; axis < rank_; ++axis)
    text += (axis > 0 ? ", " : "") + std::to_string(dims_[static_cast<std::size_t>(axis)]);
  return text + "}";
}

}  // namespace generous
