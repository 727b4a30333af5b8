// The CUDA backend against the CPU's: every op of the table, values and gradients, in f32 and bf16.

#include <cstring>

#include "core/backend.h"
#include "tests/core/op_cases.h"
#include "tests/core/worst.h"

namespace generous {
namespace {

using testing::OpCase;

struct Outcome {
  std::vector<Tensor> values;     ///< what the op returned, on the host
  std::vector<Tensor> gradients;  ///< of its inputs
};

Tensor as_f32(const Tensor& x) {
  const NoGrad guard;
  return cast(x.detach(), DType::f32);
}

/// The op on `device`; its first test.bf16 inputs in `dtype`.
Outcome run(const OpCase& test, Device device, DType dtype) {
  std::vector<Tensor> leaves;
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < test.inputs.size(); ++i) {
    leaves.push_back(test.inputs[i].to(device).clone());
    if (test.differentiable) leaves.back().require_grad();
    inputs.push_back(i < test.bf16 ? cast(leaves.back(), dtype) : leaves.back());
  }
  Outcome outcome;
  const std::vector<Tensor> results = test.op(inputs);
  if (test.differentiable) {
    const Tensor weights = testing::random_tensor(results[0].shape(), test.name + " weights").to(device);
    backward(results[0], cast(weights, results[0].dtype()));
    for (const Tensor& leaf : leaves) outcome.gradients.push_back(leaf.grad().to(Device::cpu));
  }
  for (const Tensor& result : results) {
    const bool is_count = result.dtype() == DType::i64;
    outcome.values.push_back(is_count ? result.to(Device::cpu) : as_f32(result).to(Device::cpu));
  }
  return outcome;
}

/// NaN equals NaN, and counters are equal exactly.
void check_close(const std::string& what, const Tensor& found, const Tensor& wanted, double tolerance) {
  CAPTURE(what);
  REQUIRE(found.shape() == wanted.shape());
  if (wanted.dtype() == DType::i64) {
    CHECK(std::ranges::equal(found.data<std::int64_t>(), wanted.data<std::int64_t>()));
    return;
  }
  const std::span<const float> a = found.data<float>();
  const std::span<const float> b = wanted.data<float>();
  double scale = 1e-30;
  double worst = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    REQUIRE(std::isnan(a[i]) == std::isnan(b[i]));
    if (std::isnan(b[i])) continue;
    scale = std::max(scale, std::abs(static_cast<double>(b[i])));
    worst = testing::worse(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  CHECK(worst <= tolerance * scale);
}

void check_parity(const OpCase& test, DType dtype, double tolerance) {
  CAPTURE(test.name);
  CAPTURE(name_of(dtype));
  const Outcome found = run(test, Device::cuda, dtype);
  const Outcome wanted = run(test, Device::cpu, dtype);
  REQUIRE(found.values.size() == wanted.values.size());
  for (std::size_t i = 0; i < wanted.values.size(); ++i)
    check_close("result " + std::to_string(i), found.values[i], wanted.values[i], tolerance);
  for (std::size_t i = 0; i < wanted.gradients.size(); ++i)
    check_close("gradient " + std::to_string(i), found.gradients[i], wanted.gradients[i], tolerance);
}

TEST_CASE("every op in f32 gives what the CPU gives") {
  const UseCpuBackend readable(make_eigen_backend());
  for (const OpCase& test : testing::op_cases()) check_parity(test, DType::f32, test.difference);
}

TEST_CASE("every op in bf16 gives what the CPU gives, within a few roundings") {
  const UseCpuBackend readable(make_eigen_backend());
  for (const OpCase& test : testing::op_cases())
    if (test.bf16 > 0) check_parity(test, DType::bf16, 3.0 / 256.0);
}

TEST_CASE("a copy to the device and back, a fill and a clone change no bit of any dtype") {
  const Tensor f32 = testing::random_tensor({3, 5}, "copy");
  const Tensor there = f32.to(Device::cuda).clone();
  CHECK(there.device() == Device::cuda);
  const Tensor back = there.to(Device::cpu);
  CHECK(std::ranges::equal(back.data<float>(), f32.data<float>()));
  for (const DType dtype : {DType::f32, DType::bf16, DType::i64, DType::u8}) {
    CAPTURE(name_of(dtype));
    Tensor filled = Tensor::empty({1037}, dtype, Device::cuda);
    backend(Device::cuda).fill(filled, 3.0);
    Tensor wanted = Tensor::empty({1037}, dtype);
    backend(Device::cpu).fill(wanted, 3.0);
    const Tensor found = filled.to(Device::cpu);
    CHECK(std::memcmp(found.raw(), wanted.raw(), wanted.bytes()) == 0);
  }
  CHECK_THROWS_WITH_AS(there.data<float>(), doctest::Contains("can't be accessed directly"), Error);
}

}  // namespace
}  // namespace generous
