// Shapes, broadcasting and reductions. Broadcasting and summing are each other's gradients. A sum is f32, of
// whatever it is taken.

#include "core/ops.h"
#include "core/ops/check.h"

namespace generous {
namespace {

void check_broadcasts(std::string_view name, const Shape& smaller, const Shape& larger) {
  bool fits = smaller.rank() <= larger.rank();
  for (int axis = 1; fits && axis <= smaller.rank(); ++axis)
    fits = smaller[-axis] == larger[-axis] || smaller[-axis] == 1;
  if (!fits) fail("{}: shape {} does not broadcast to {}", name, smaller.str(), larger.str());
}

Shape row_shape(std::string_view name, const Tensor& x) {
  require(x.shape().rank() == 2, "{}: needs rows {{B, C}}, not shape {}", name, x.shape().str());
  return {x.size(0), 1};
}

}  // namespace

Tensor reshape(const Tensor& x, const Shape& shape) {
  return record("reshape", x.view(shape), {x},
                [from = x.shape()](const Tensor& dy) -> Gradients { return {dy.view(from)}; });
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  check_floating("broadcast_to", {&x});
  if (x.shape() == shape) return x;
  check_broadcasts("broadcast_to", x.shape(), shape);
  Tensor y = empty_beside(x, shape);
  backend_of(x).broadcast(x, y);
  return record("broadcast_to", y, {x}, [from = x.shape()](const Tensor& dy) -> Gradients {
    return {cast(sum_to(dy, from), dy.dtype())};
  });
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  check_floating("sum_to", {&x});
  if (x.shape() == shape) return cast(x, DType::f32);
  check_broadcasts("sum_to", shape, x.shape());
  Tensor y = Tensor::empty(shape, DType::f32, x.device());
  backend_of(x).sum_to(x, y);
  return record("sum_to", y, {x}, [from = x.shape(), dtype = x.dtype()](const Tensor& dy) -> Gradients {
    return {broadcast_to(cast(dy, dtype), from)};
  });
}

Tensor sum(const Tensor& x) { return sum_to(x, {}); }
Tensor mean(const Tensor& x) { return sum(x) / static_cast<float>(x.numel()); }

Tensor sum_rows(const Tensor& x) { return sum_to(x, row_shape("sum_rows", x)); }

Tensor mean_rows(const Tensor& x) {
  const Shape rows = row_shape("mean_rows", x);
  return sum_to(x, rows) / static_cast<float>(x.size(1));
}

Tensor std_rows(const Tensor& x) {
  row_shape("std_rows", x);
  require(x.size(1) >= 2, "std_rows: an unbiased deviation needs at least 2 columns, not shape {}",
          x.shape().str());
  const Tensor centred = x - mean_rows(x);
  return sqrt(sum_rows(square(centred)) / static_cast<float>(x.size(1) - 1));
}

}  // namespace generous
