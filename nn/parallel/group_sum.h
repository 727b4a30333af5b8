// Sums over the processes of a group as part of what is differentiated.
#pragma once

#include "core/ops.h"
#include "nn/parallel/group.h"

namespace generous {

/// x of every process, f32, on the host or where the group is connected, added up in the order of ranks. Each
/// process's x is in the result of all, so its gradient is the sum of all of theirs. The group must outlive
/// the graph.
Tensor group_sum(Group& group, const Tensor& x);

/// What batch norm needs of all processes' rows.
struct GroupBatchNorm {
  Tensor y;         ///< like x
  Tensor mean;      ///< {C}, without gradient
  Tensor variance;  ///< {C}, likewise, unbiased: what running statistics move towards
};

/// gamma (x - mean) / sqrt(variance + epsilon) + beta, of x {..., C} in either dtype, with the mean and the
/// biased variance of every process's rows: as batch_norm of them together, with its gradient. Throws Error
/// if there is only one value per channel.
GroupBatchNorm group_batch_norm(Group& group, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                                float epsilon);

}  // namespace generous
