#include "core/tensor.h"

#include "core/autograd.h"
#include "core/backend.h"

namespace generous {

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  const auto& allocator = device == Device::cpu ? host_allocator() : backend(device).allocator();
  tensor.storage_ = std::make_shared<Storage>(allocator, tensor.bytes());
  return tensor;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  Tensor tensor = empty(shape, dtype, device);
  backend(device).fill(tensor, 0.0);
  return tensor;
}

Tensor Tensor::full(const Shape& shape, float value, Device device) {
  Tensor tensor = empty(shape, DType::f32, device);
  backend(device).fill(tensor, value);
  return tensor;
}

Device Tensor::device() const {
  require(defined(), "an undefined tensor has no device");
  return storage_->device();
}

void* Tensor::raw() const { return storage_ ? storage_->block() : nullptr; }

void Tensor::check_host_access(DType wanted) const {
  require(defined(), "an undefined tensor has no elements to access");
  require(dtype_ == wanted, "a tensor of {} was accessed as {}", name_of(dtype_), name_of(wanted));
  require(storage_->device() == Device::cpu,
          "elements on a GPU can't be accessed directly: copy the tensor to "
          "Device::cpu first");
}

float Tensor::item() const {
  require(defined() && dtype_ == DType::f32 && numel() == 1,
          "item() needs an f32 tensor with one element, not {} {}", name_of(dtype_), shape_.str());
  float value = 0.0F;
  backend(device()).copy_to_host(*this, &value);
  return value;
}

Tensor Tensor::clone() const {
  Tensor copy = empty(shape_, dtype_, device());
  backend(device()).copy(*this, copy);
  return copy;
}

Tensor Tensor::to(Device target) const {
  if (device() == target) return detach();
  Tensor copy = empty(shape_, dtype_, target);
  if (target == Device::cpu)
    backend(device()).copy_to_host(*this, copy.raw());
  else
    backend(target).copy_from_host(raw(), copy);
  return copy;
}

void Tensor::move_to(Device target) {
  require(node_ == nullptr || !node_->gradient.defined(), "move_to: the tensor has a gradient already");
  if (device() != target) storage_->swap(*to(target).storage_);
}

Tensor Tensor::detach() const {
  Tensor tensor = *this;
  tensor.node_ = nullptr;
  return tensor;
}

Tensor Tensor::view(const Shape& shape) const {
  require(shape.numel() == numel(), "shape {} can't be viewed as {}", shape_.str(), shape.str());
  Tensor tensor = detach();
  tensor.shape_ = shape;
  return tensor;
}

Tensor& Tensor::require_grad() {
  require(defined() && dtype_ == DType::f32, "only f32 tensors can be leaves that require a gradient");
  if (node_ == nullptr) {
    node_ = std::make_shared<Node>();
    node_->shape = shape_;
  }
  return *this;
}

const Tensor& Tensor::grad() const {
  const Tensor& kept = grad_as_kept();
  if (kept.defined() && kept.dtype() != node_->dtype) {
    Tensor converted = empty(shape_, node_->dtype, device());
    backend(device()).cast(kept, converted);
    node_->gradient = converted;
  }
  return kept;
}

const Tensor& Tensor::grad_as_kept() const {
  require(node_ != nullptr, "grad(): this tensor does not require a gradient");
  return node_->gradient;
}

void Tensor::set_grad(Tensor gradient) {
  require(node_ != nullptr, "set_grad(): this tensor does not require a gradient");
  if (gradient.defined() && gradient.shape() != shape_)
    fail("set_grad(): a tensor of shape {} was given a gradient of {}", shape_.str(), gradient.shape().str());
  node_->gradient = std::move(gradient);
}

void Tensor::clear_grad() {
  if (node_ != nullptr) node_->gradient = Tensor();
}

}  // namespace generous
