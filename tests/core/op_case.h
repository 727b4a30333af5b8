// A case of an op, and what its inputs are made of.
#pragma once

#include "tests/core/gradcheck.h"

namespace generous::testing {

struct OpCase {
  std::string name;
  std::vector<Tensor> inputs;  ///< f32, on the host
  /// On the device of its inputs. Labels and counters it makes itself, by `beside`.
  std::function<std::vector<Tensor>(const std::vector<Tensor>& inputs)> op;
  bool differentiable = true;  ///< the first result, by every input
  std::size_t bf16 = 0;        ///< this many inputs, the first ones, may be bf16; the op then follows them
  double step = 1e-2;          ///< of the differences
  double difference = 1e-5;    ///< allowed between backends in f32, relative to the largest element
};

/// `values` on the device of `like`.
template <class T>
Tensor beside(const Tensor& like, const std::vector<T>& values, const Shape& shape) {
  return Tensor::from(values, shape).to(like.device());
}

/// Away from the kinks of relu and relu6.
inline Tensor off_kinks(const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  std::int64_t i = 0;
  for (float& value : x.data<float>()) value = -2.5F + 0.53F * static_cast<float>(i++ % 19);
  return x;
}

inline Tensor positive(const Shape& shape, const std::string& name) {
  return (exp(random_tensor(shape, name) * 0.5F) + 0.5F).detach();
}

}  // namespace generous::testing
