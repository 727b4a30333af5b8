// Argument checks shared by the ops.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "core/backend.h"
#include "core/tensor.h"

namespace generous {

/// Throws Error unless every tensor is defined and on the same device.
inline void check_device(std::string_view op, std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* tensor : tensors) {
    require(tensor->defined(), "{}: an argument is an undefined tensor", op);
    require(tensor->device() == (*tensors.begin())->device(), "{}: the arguments are on different devices",
            op);
  }
}

/// Throws Error unless every tensor is defined, of `dtype` and on the same device.
inline void check_dtype(std::string_view op, DType dtype, std::initializer_list<const Tensor*> tensors) {
  check_device(op, tensors);
  for (const Tensor* tensor : tensors)
    require(tensor->dtype() == dtype, "{}: an argument is {} and has to be {}", op, name_of(tensor->dtype()),
            name_of(dtype));
}
inline void check_f32(std::string_view op, std::initializer_list<const Tensor*> tensors) {
  check_dtype(op, DType::f32, tensors);
}
/// For ops that store bf16 as well: all arguments are of the first one's dtype, f32 or bf16.
inline void check_floating(std::string_view op, std::initializer_list<const Tensor*> tensors) {
  const Tensor& first = **tensors.begin();
  check_dtype(op, first.dtype() == DType::bf16 ? DType::bf16 : DType::f32, tensors);
}

/// An uninitialised tensor on the device of `like` and of its dtype.
inline Tensor empty_like(const Tensor& like) {
  return Tensor::empty(like.shape(), like.dtype(), like.device());
}
inline Tensor empty_beside(const Tensor& like, const Shape& shape) {
  return Tensor::empty(shape, like.dtype(), like.device());
}

/// The shape of x with another number of channels, the last axis.
inline Shape with_channels(const Shape& x, std::int64_t channels) {
  std::vector<std::int64_t> extents(x.dims().begin(), x.dims().end());
  extents.back() = channels;
  return Shape(extents);
}

inline Backend& backend_of(const Tensor& tensor) { return backend(tensor.device()); }

}  // namespace generous
