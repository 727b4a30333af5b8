// Ops on logits {B, C} and labels {B}. H(x) = exp(x) / sum exp(x) is the softmax of a row.

#include "core/ops.h"
#include "core/ops/check.h"

namespace generous {
namespace {

void check_rows(std::string_view name, const Tensor& x) {
  check_f32(name, {&x});
  require(x.shape().rank() == 2 && x.size(1) >= 1, "{}: needs logits {{B, C}}, not shape {}", name,
          x.shape().str());
}

void check_labels(std::string_view name, const Tensor& labels, std::int64_t batch) {
  require(labels.defined() && labels.dtype() == DType::i64 && labels.shape() == Shape{batch},
          "{}: needs {} labels of i64, not {} {}", name, batch, name_of(labels.dtype()),
          labels.shape().str());
}

}  // namespace

// y = x - log sum_c exp(x_c);  dx = dy - H(x) sum_c dy_c
Tensor log_softmax(const Tensor& x) {
  check_rows("log_softmax", x);
  Tensor y = empty_like(x);
  backend_of(x).log_softmax(x, y);
  return record("log_softmax", y, {x}, [y](const Tensor& dy) -> Gradients {
    Tensor dx = empty_like(y);
    backend_of(y).log_softmax_backward(y, dy, dx);
    return {dx};
  });
}

// loss = mean_b -log H(x_b)[label_b];  dx = dloss / B (H(x) - onehot(labels))
Tensor cross_entropy(const Tensor& logits, const Tensor& labels) {
  check_rows("cross_entropy", logits);
  check_labels("cross_entropy", labels, logits.size(0));
  require(logits.size(0) > 0, "cross_entropy: the batch is empty");
  Tensor probabilities = empty_like(logits);
  Tensor loss = empty_beside(logits, {});
  backend_of(logits).cross_entropy(logits, labels, probabilities, loss);
  return record("cross_entropy", loss, {logits}, [probabilities, labels](const Tensor& dloss) -> Gradients {
    Tensor dx = empty_like(probabilities);
    backend_of(dx).cross_entropy_backward(probabilities, labels, dloss, dx);
    return {dx};
  });
}

Tensor one_hot(const Tensor& labels, std::int64_t classes) {
  require(classes >= 1, "one_hot: {} classes", classes);
  check_labels("one_hot", labels, labels.numel());
  Tensor y = Tensor::empty({labels.size(0), classes}, DType::f32, labels.device());
  backend_of(labels).one_hot(labels, y);
  return y;
}

Tensor argmax_rows(const Tensor& x) {
  check_rows("argmax_rows", x);
  Tensor y = Tensor::empty({x.size(0)}, DType::i64, x.device());
  backend_of(x).argmax_rows(x, y);
  return y;
}

Tensor max_rows(const Tensor& x) { return sum_rows(one_hot(argmax_rows(x), x.size(1)) * x); }

Tensor count_top_k(const Tensor& logits, const Tensor& labels, std::int64_t k) {
  check_rows("count_top_k", logits);
  check_labels("count_top_k", labels, logits.size(0));
  require(k >= 1, "count_top_k: k is {} and has to be at least 1", k);
  return backend_of(logits).count_top_k(logits, labels, k);
}

}  // namespace generous
