// A Tensor is a small value: a shared handle to storage, a shape, a dtype and, if it takes part in a
// gradient, a node of the autograd graph. Always contiguous. Copying a Tensor copies the handle; `clone`
// copies the elements.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/allocator.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/shape.h"

namespace generous {

struct Node;

class Tensor {
 public:
  /// An undefined tensor: no storage. Optional tensor arguments are passed as `{}`.
  Tensor() = default;

  /// Uninitialised elements.
  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);
  /// An f32 tensor whose every element is `value`.
  static Tensor full(const Shape& shape, float value, Device device = Device::cpu);
  /// A host tensor holding a copy of `values`. Throws Error unless values.size() == shape.numel().
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape);
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape) {
    return from(std::span<const T>(values), shape);
  }

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  std::int64_t size(int axis) const { return shape_[axis]; }
  std::int64_t numel() const { return shape_.numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const;

  /// The elements, for host tensors of element type T; throws Error otherwise.
  template <class T>
  std::span<T> data();
  template <class T>
  std::span<const T> data() const;
  /// The address on the tensor's device, unchecked.
  void* raw() const;
  /// What the tensor's backend keeps beside its storage: the backend's own, empty at first.
  std::shared_ptr<Companion>& companion() const { return storage_->companion(); }
  /// The only element of an f32 tensor with one element, copied to the host if need be.
  float item() const;

  /// A fresh copy of the elements, without gradient history.
  Tensor clone() const;
  /// The same elements on `device`: this tensor itself if it is there already. Without gradient history.
  Tensor to(Device device) const;
  /// Moves the elements of this tensor and of all that share its storage to `device`, gradient history and
  /// all. Throws Error if a gradient was already accumulated.
  void move_to(Device device);
  /// The same storage without gradient history.
  Tensor detach() const;
  /// The same storage, without gradient history, under another shape of equally many elements.
  /// (`reshape` in core/ops.h is the differentiable form.)
  Tensor view(const Shape& shape) const;
  /// True when no other Tensor shares this storage.
  bool unique() const { return storage_.use_count() == 1; }

  // Autograd (core/autograd.h)

  bool requires_grad() const { return node_ != nullptr; }
  /// Makes this f32 tensor a leaf of the graph, whose gradient `backward` accumulates. Returns *this.
  Tensor& require_grad();
  /// The accumulated gradient of a leaf, in f32; undefined before the first `backward`.
  const Tensor& grad() const;
  /// The same as the backend left it: in f32, or with the same values in bf16.
  const Tensor& grad_as_kept() const;
  /// Forgets the accumulated gradient of a leaf.
  void clear_grad();
  /// Gives a leaf this gradient of its shape, in f32 or bf16, or, undefined, none.
  void set_grad(Tensor gradient);
  const std::shared_ptr<Node>& node() const { return node_; }
  void set_node(std::shared_ptr<Node> node) { node_ = std::move(node); }

 private:
  void check_host_access(DType wanted) const;

  std::shared_ptr<Storage> storage_;
  Shape shape_;
  DType dtype_ = DType::f32;
  std::shared_ptr<Node> node_;
};

template <class T>
std::span<T> Tensor::data() {
  check_host_access(dtype_of<T>);
  return {static_cast<T*>(raw()), static_cast<std::size_t>(numel())};
}

template <class T>
std::span<const T> Tensor::data() const {
  check_host_access(dtype_of<T>);
  return {static_cast<const T*>(raw()), static_cast<std::size_t>(numel())};
}

template <class T>
Tensor Tensor::from(std::span<const T> values, const Shape& shape) {
  require(static_cast<std::int64_t>(values.size()) == shape.numel(), "{} values do not fill shape {}",
          values.size(), shape.str());
  Tensor tensor = empty(shape, dtype_of<T>);
  std::copy(values.begin(), values.end(), tensor.data<T>().begin());
  return tensor;
}

}  // namespace generous
