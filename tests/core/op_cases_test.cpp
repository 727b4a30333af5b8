// The gradient of every differentiable op of the table, by differences, on every CPU implementation.

#include "tests/core/op_cases.h"

namespace generous {
namespace {

TEST_CASE("the gradients of every op are those of differences") {
  const std::vector<testing::OpCase> cases = testing::op_cases();
  on_every_cpu_implementation([&] {
    for (const testing::OpCase& test : cases) {
      std::int64_t elements = 0;
      for (const Tensor& input : test.inputs) elements += input.numel();
      // Every element costs two evaluations; suite conv has the gradients of large convolutions by their
      // adjoints.
      if (!test.differentiable || elements > 3000) continue;
      testing::check_gradients(test.name,
                               [&](const std::vector<Tensor>& inputs) { return test.op(inputs)[0]; },
                               test.inputs, {.step = test.step, .relative = 5e-3});
    }
  });
}

}  // namespace
}  // namespace generous
