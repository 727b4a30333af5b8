// Miles, Rodriguez, Mikolajczyk, "Information theoretic representation distillation", 2022.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// log2 sum_k |(c_k - 1)^2|^alpha, c_k the correlation over the batch of column k of both: vectors {B, D}. A
/// column without spread has correlation 0. 0 for B = 1.
Tensor itrd_correlation_loss(const Tensor& student, const Tensor& teacher, float alpha);
/// sum G_s^2 - sum G_st^2, where G_s are the cosines of the student's rows, G_st these times the teacher's,
/// both divided by their traces: vectors {B, D} of each network's own D.
Tensor itrd_mutual_loss(const Tensor& student, const Tensor& teacher);

/// CE + lambda_corr * correlation + lambda_mutual * mutual information, of the student's pooled vector by a
/// linear embedding, and the teacher's.
std::unique_ptr<Method> make_itrd();

}  // namespace generous
