// Rows picked by their numbers.

#include "core/ops.h"
#include "core/ops/check.h"

namespace generous {

// y[i] = x[indices[i]];  dx[m] = the sum of dy[i] over all i with indices[i] = m
Tensor gather_rows(const Tensor& x, const Tensor& indices) {
  check_f32("gather_rows", {&x});
  check_device("gather_rows", {&x, &indices});
  const int rank = indices.shape().rank();
  if (x.shape().rank() != 2 || indices.dtype() != DType::i64 || rank < 1 || rank > 2)
    fail("gather_rows: needs rows {{M, D}} and indices {{B}} or {{B, K}} of i64, not {} and {} {}",
         x.shape().str(), name_of(indices.dtype()), indices.shape().str());
  Tensor y = empty_beside(
      x, rank == 1 ? Shape{indices.size(0), x.size(1)} : Shape{indices.size(0), indices.size(1), x.size(1)});
  backend_of(x).gather_rows(x, indices, y);
  return record("gather_rows", y, {x}, [indices, from = x.shape()](const Tensor& dy) -> Gradients {
    Tensor dx = empty_beside(dy, from);
    backend_of(dy).gather_rows_backward(indices, dy, dx);
    return {dx};
  });
}

}  // namespace generous
