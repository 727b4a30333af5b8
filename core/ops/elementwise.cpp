// Elementwise ops. The formulas and their derivatives are in core/functors.h.

#include "core/functors.h"
#include "core/ops.h"
#include "core/ops/check.h"

namespace generous {
namespace {

Tensor unary(std::string_view name, Unary op, const Tensor& x) {
  check_floating(name, {&x});
  Tensor y = empty_like(x);
  backend_of(x).unary(op, x, y);
  return record(name, y, {x}, [op, x = x.detach(), y](const Tensor& dy) -> Gradients {
    Tensor dx = empty_like(x);
    backend_of(x).unary_backward(op, x, y, dy, dx);
    return {dx};
  });
}

/// The shape to which both operands broadcast.
Shape common_shape(std::string_view name, const Shape& a, const Shape& b) {
  const Shape& larger = a.rank() >= b.rank() ? a : b;
  std::vector<std::int64_t> dims(larger.dims().begin(), larger.dims().end());
  for (int axis = 1; axis <= std::min(a.rank(), b.rank()); ++axis) {
    const std::int64_t left = a[-axis];
    const std::int64_t right = b[-axis];
    if (left != right && left != 1 && right != 1)
      fail("{}: shapes {} and {} do not broadcast", name, a.str(), b.str());
    dims[dims.size() - static_cast<std::size_t>(axis)] = left == 1 ? right : left;
  }
  return Shape(dims);
}

Tensor binary(std::string_view name, Binary op, const Tensor& left, const Tensor& right) {
  check_floating(name, {&left, &right});
  const Shape shape = common_shape(name, left.shape(), right.shape());
  const Tensor a = broadcast_to(left, shape);
  const Tensor b = broadcast_to(right, shape);
  Tensor y = empty_like(a);
  backend_of(a).binary(op, a, b, y);
  const bool need_a = needs_gradient(a);
  const bool need_b = needs_gradient(b);
  return record(name, y, {a, b},
                [op, need_a, need_b, a = a.detach(), b = b.detach()](const Tensor& dy) -> Gradients {
                  if (op == Binary::add) return {dy, dy};  // common enough to skip a multiplication by 1
                  Tensor da = need_a ? empty_like(a) : Tensor();
                  Tensor db = need_b ? empty_like(b) : Tensor();
                  backend_of(a).binary_backward(op, a, b, dy, da, db);
                  return {da, db};
                });
}

/// scale * x + shift
Tensor affine(const Tensor& x, float scale, float shift) {
  check_floating("affine", {&x});
  Tensor y = empty_like(x);
  backend_of(x).affine(x, scale, shift, y);
  return record("affine", y, {x}, [scale](const Tensor& dy) -> Gradients {
    Tensor dx = empty_like(dy);
    backend_of(dy).affine(dy, scale, 0.0F, dx);
    return {dx};
  });
}

}  // namespace

Tensor operator+(const Tensor& a, const Tensor& b) { return binary("add", Binary::add, a, b); }
Tensor operator-(const Tensor& a, const Tensor& b) { return binary("subtract", Binary::subtract, a, b); }
Tensor operator*(const Tensor& a, const Tensor& b) { return binary("multiply", Binary::multiply, a, b); }
Tensor operator/(const Tensor& a, const Tensor& b) { return binary("divide", Binary::divide, a, b); }
Tensor operator+(const Tensor& x, float shift) { return affine(x, 1.0F, shift); }
Tensor operator-(const Tensor& x, float shift) { return affine(x, 1.0F, -shift); }
Tensor operator*(const Tensor& x, float scale) { return affine(x, scale, 0.0F); }
Tensor operator*(float scale, const Tensor& x) { return affine(x, scale, 0.0F); }
Tensor operator/(const Tensor& x, float divisor) { return affine(x, 1.0F / divisor, 0.0F); }
Tensor operator-(const Tensor& x) { return affine(x, -1.0F, 0.0F); }

Tensor relu(const Tensor& x) { return unary("relu", Unary::relu, x); }
Tensor relu6(const Tensor& x) { return unary("relu6", Unary::relu6, x); }
Tensor exp(const Tensor& x) { return unary("exp", Unary::exp, x); }
Tensor log(const Tensor& x) { return unary("log", Unary::log, x); }
Tensor sqrt(const Tensor& x) { return unary("sqrt", Unary::sqrt, x); }
Tensor square(const Tensor& x) { return unary("square", Unary::square, x); }
Tensor sigmoid(const Tensor& x) { return unary("sigmoid", Unary::sigmoid, x); }
Tensor softplus(const Tensor& x) { return unary("softplus", Unary::softplus, x); }
Tensor smooth_l1(const Tensor& x) { return unary("smooth_l1", Unary::smooth_l1, x); }
Tensor abs(const Tensor& x) { return unary("abs", Unary::abs, x); }
Tensor step(const Tensor& x) { return unary("step", Unary::step, x); }

Tensor dropout(const Tensor& x, const DropoutParams& params) {
  check_floating("dropout", {&x});
  require(params.p >= 0.0F && params.p < 1.0F, "dropout: the probability {} is not in [0, 1)", params.p);
  require(params.first >= 0, "dropout: the first element is {}, expected at least 0", params.first);
  if (params.step.defined()) {
    check_device("dropout", {&x, &params.step});
    require(params.step.dtype() == DType::i64 && params.step.numel() == 1,
            "dropout: the step is {} {}, expected i64 with one element", name_of(params.step.dtype()),
            params.step.shape().str());
  }
  Tensor y = empty_like(x);
  backend_of(x).dropout(x, params, y);
  return record("dropout", y, {x}, [params](const Tensor& dy) -> Gradients {
    Tensor dx = empty_like(dy);
    backend_of(dy).dropout(dy, params, dx);  // the same mask
    return {dx};
  });
}

Tensor cast(const Tensor& x, DType dtype) {
  require(x.defined(), "cast: the argument is an undefined tensor");
  const bool known = (x.dtype() == DType::f32 && dtype == DType::bf16) || dtype == DType::f32;
  if (!known || x.dtype() == DType::i64)
    fail("cast: no conversion from {} to {}", name_of(x.dtype()), name_of(dtype));
  if (x.dtype() == dtype) return x;
  Tensor y = Tensor::empty(x.shape(), dtype, x.device());
  backend_of(x).cast(x, y);
  return record("cast", y, {x},
                [from = x.dtype()](const Tensor& dy) -> Gradients { return {cast(dy, from)}; });
}

}  // namespace generous
