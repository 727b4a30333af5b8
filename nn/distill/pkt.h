// Passalis and Tefas, "Learning deep representations with probabilistic knowledge transfer", 2018.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// mean t log((t + eps) / (s + eps)) over the pairs of samples: s and t are (cosine similarity + 1) / 2, each
/// row divided by its sum. Vectors {B, D} of each network's own D.
Tensor pkt_loss(const Tensor& student, const Tensor& teacher, float eps);

/// CE + weight * pkt_loss of what the classifiers see.
std::unique_ptr<Method> make_pkt();

}  // namespace generous
