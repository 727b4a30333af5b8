// Connectors that several methods train beside the student.
#pragma once

#include <string_view>

#include "nn/distill/feature_method.h"

namespace generous {

/// relu(bn(conv(x))): the student's images {N, H, W, in} in the size and with the channels of the teacher's.
/// By heights s and t: s = 2t: 3x3, stride 2, padding 1; 2s = t: transposed 4x4, stride 2, padding 1; s >= t:
/// kernel 1 + s - t, no padding. Names conv and bn.
class ConvRegressor : public Module {
 public:
  /// Throws Error with the method's name for a student whose images are smaller otherwise, or not square.
  ConvRegressor(std::string_view method, const Shape& student, const Shape& teacher);
  Tensor forward(const Tensor& x) override { return bn_.then_relu((*conv_)(x)); }

 private:
  Module* conv_;
  BatchNorm& bn_;
};

/// x {B, in} -> {B, out} by one linear layer, named linear.
class Embedding : public Module {
 public:
  Embedding(std::int64_t in, std::int64_t out) : linear_(add<Linear>("linear", in, out)) {}
  Tensor forward(const Tensor& x) override { return linear_(x); }

 private:
  Linear& linear_;
};

}  // namespace generous
