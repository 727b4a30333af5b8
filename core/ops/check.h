// Argument checks shared by the ops.
#pragma once

#include <initializer_list>
#include <string_view>

#include "core/backend.h"
#include "core/tensor.h"

namespace generous {

/// Throws Error unless every tensor is defined, f32 and on the same device.
inline void check_f32(std::string_view op, std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* tensor : tensors) {
    require(tensor->defined(), "{}: an argument is an undefined tensor", op);
    require(tensor->dtype() == DType::f32, "{}: an argument is {} and has to be f32", op,
            name_of(tensor->dtype()));
    require(tensor->device() == (*tensors.begin())->device(), "{}: the arguments are on different devices",
            op);
  }
}

/// An uninitialised f32 tensor on the device of `like`.
inline Tensor empty_like(const Tensor& like) {
  return Tensor::empty(like.shape(), DType::f32, like.device());
}
inline Tensor empty_beside(const Tensor& like, const Shape& shape) {
  return Tensor::empty(shape, DType::f32, like.device());
}

inline Backend& backend_of(const Tensor& tensor) { return backend(tensor.device()); }

}  // namespace generous
