// Matrix products.

#include "core/ops.h"
#include "core/ops/check.h"

namespace generous {
namespace {

Tensor gemm(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  const std::int64_t rows = a.size(transpose_a ? -1 : -2);
  const std::int64_t columns = b.size(transpose_b ? -2 : -1);
  Tensor c = empty_beside(a, a.shape().rank() == 2 ? Shape{rows, columns} : Shape{a.size(0), rows, columns});
  backend_of(a).gemm({.transpose_a = transpose_a, .transpose_b = transpose_b}, a, b, c);
  return c;
}

// C = op(A) op(B).  Without transposes: dA = dC B',  dB = A' dC; a transposed operand's gradient is
// transposed.
Tensor product(std::string_view op, const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  if (a.size(transpose_a ? -2 : -1) != b.size(transpose_b ? -1 : -2))
    fail("{}: {}{} times {}{}: the inner extents differ", op, a.shape().str(), transpose_a ? "'" : "",
         b.shape().str(), transpose_b ? "'" : "");
  const bool need_a = needs_gradient(a);
  const bool need_b = needs_gradient(b);
  return record(op, gemm(a, b, transpose_a, transpose_b), {a, b},
                [=, a = a.detach(), b = b.detach()](const Tensor& dc) -> Gradients {
                  Tensor da;
                  Tensor db;
                  if (need_a)
                    da = transpose_a ? gemm(b, dc, transpose_b, true) : gemm(dc, b, false, !transpose_b);
                  if (need_b)
                    db = transpose_b ? gemm(dc, a, true, transpose_a) : gemm(a, dc, !transpose_a, false);
                  return {da, db};
                });
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  check_f32("matmul", {&a, &b});
  if (a.shape().rank() != 2 || b.shape().rank() != 2)
    fail("matmul: {} and {} have to be matrices", a.shape().str(), b.shape().str());
  return product("matmul", a, b, transpose_a, transpose_b);
}

Tensor batched_matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  check_f32("batched_matmul", {&a, &b});
  if (a.shape().rank() != 3 || b.shape().rank() != 3 || a.size(0) != b.size(0))
    fail("batched_matmul: {} and {} have to be equally many matrices", a.shape().str(), b.shape().str());
  return product("batched_matmul", a, b, transpose_a, transpose_b);
}

// y = x W' + b;  dx = dy W,  dW = dy' x,  db = sum of dy's rows
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (x.defined() && x.dtype() == DType::bf16) return linear(cast(x, DType::f32), weight, bias);
  check_f32("linear", {&x, &weight});
  if (x.shape().rank() != 2 || weight.shape().rank() != 2 || x.size(1) != weight.size(1))
    fail("linear: x {} does not fit weight {}", x.shape().str(), weight.shape().str());
  if (bias.defined() && bias.shape() != Shape{weight.size(0)})
    fail("linear: bias {} does not fit weight {}", bias.shape().str(), weight.shape().str());
  Tensor y = empty_beside(x, {x.size(0), weight.size(0)});
  if (bias.defined()) backend_of(x).broadcast(bias, y);
  backend_of(x).gemm({.transpose_b = true, .beta = bias.defined() ? 1.0F : 0.0F}, x, weight, y);
  const bool need_x = needs_gradient(x);
  const bool need_weight = needs_gradient(weight);
  const bool need_bias = needs_gradient(bias);
  return record("linear", y, {x, weight, bias},
                [=, x = x.detach(), weight = weight.detach()](const Tensor& dy) -> Gradients {
                  return {need_x ? gemm(dy, weight, false, false) : Tensor(),
                          need_weight ? gemm(dy, x, true, false) : Tensor(),
                          need_bias ? sum_to(dy, {dy.size(1)}) : Tensor()};
                });
}

}  // namespace generous
