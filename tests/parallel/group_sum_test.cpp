// Batch norm by sums over a group: of a group of one, against the op; several processes are in
// mpi_batch_norm.
#include "nn/parallel/group_sum.h"

#include <doctest/doctest.h>

#include "tests/core/gradcheck.h"

namespace generous {
namespace {

using testing::check_gradients;
using testing::random_tensor;
using testing::relative_difference;

std::vector<double> doubles(const Tensor& x) {
  const auto values = x.data<float>();
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("batch norm by sums over a group of one is batch norm, with its gradient") {
  const std::unique_ptr<Group> group = group_of_one();
  const Tensor x = random_tensor({3, 5, 4, 6}, "x") * 2.0F + 3.0F;
  const Tensor gamma = random_tensor({6}, "gamma") + 1.5F;
  const Tensor beta = random_tensor({6}, "beta");
  const GroupBatchNorm found = group_batch_norm(*group, x, gamma, beta, 1e-5F);
  // With momentum 1 the running statistics are those of the batch.
  BatchNormStatistics running{Tensor::zeros({6}), Tensor::full({6}, 1.0F)};
  const Tensor wanted = batch_norm({.parts = {x}, .gamma = gamma, .beta = beta, .residual = {}}, running,
                                   {.training = true, .momentum = 1.0F});
  CHECK(relative_difference(found.y, doubles(wanted)) < 1e-6);
  CHECK(relative_difference(found.mean, doubles(running.mean)) < 1e-6);
  CHECK(relative_difference(found.variance, doubles(running.variance)) < 1e-6);

  check_gradients("group_batch_norm",
                  [&](const std::vector<Tensor>& inputs) {
                    return group_batch_norm(*group, inputs[0], inputs[1], inputs[2], 1e-5F).y;
                  },
                  {random_tensor({7, 3}, "small x"), random_tensor({3}, "small gamma"),
                   random_tensor({3}, "small beta")});
  CHECK_THROWS_WITH_AS(group_batch_norm(*group, random_tensor({1, 6}, "one row"), gamma, beta, 1e-5F),
                       doctest::Contains("more than one value per channel"), Error);
}

}  // namespace generous
