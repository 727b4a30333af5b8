// Tung and Mori, "Similarity-preserving knowledge distillation", 2019.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// ||rows(G_s) - rows(G_t)||^2 / B^2, G = F F' the similarities of the samples and rows() each row divided by
/// its norm. Features {B, ...} of each network's own shape.
Tensor sp_loss(const Tensor& student, const Tensor& teacher);

/// CE + weight * sp_loss of the last stage.
std::unique_ptr<Method> make_sp();

}  // namespace generous
