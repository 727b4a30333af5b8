// Convolutions of bf16 images with 16 or 32 channels on the tensor cores: against the CPU in f32, from the
// same rounded numbers.

#include <doctest/doctest.h>

#include <array>

#include "tests/cuda/differences.h"

namespace generous {
namespace {

using testing::random_tensor;

/// What bf16 holds of it.
Tensor rounded(const Tensor& x) { return cast(cast(x, DType::bf16), DType::f32); }

struct Case {
  std::int64_t in, out, height, width;
};

/// The operands, in f32, with values that bf16 holds.
struct Operands {
  Tensor x, weight, dy, residual, bias;

  explicit Operands(const Case& of)
      : x(rounded(random_tensor({3, of.height, of.width, of.in}, "x"))),
        weight(rounded(random_tensor({of.out, 3, 3, of.in}, "weight"))),
        dy(rounded(random_tensor({3, of.height, of.width, of.out}, "dy"))),
        residual(rounded(random_tensor(dy.shape(), "residual"))),
        bias(rounded(random_tensor({of.out}, "bias"))) {}
};

/// y, y + residual, relu6(y + bias + residual), dx, dx added to x, and dweight, of images of `dtype`.
std::array<Tensor, 6> convolve(const Operands& operands, Device device, DType dtype) {
  const Conv2dParams params{.padding = 1};
  const auto images = [&](const Tensor& of) { return cast(of, dtype).to(device); };
  const Tensor x = images(operands.x);
  const Tensor dy = images(operands.dy);
  const Tensor residual = images(operands.residual);
  const Tensor weight = operands.weight.to(device);
  FrozenFilter frozen{.weight = weight, .bias = operands.bias.to(device), .prepared = nullptr};
  const auto empty = [&](const Tensor& like) { return Tensor::empty(like.shape(), dtype, device); };
  std::array<Tensor, 6> results{empty(dy),    empty(dy), empty(dy), empty(x), images(operands.x.clone()),
                                empty(weight)};
  auto& [y, with_residual, with_all, dx, added, dweight] = results;
  Backend& on = backend(device);
  on.conv2d(params, x, weight, {}, y);
  on.conv2d_add(params, x, weight, residual, with_residual);
  on.conv2d_inference(params, x, frozen, {.residual = residual, .activation = Activation::relu6}, with_all);
  on.conv2d_backward_data(params, dy, weight, dx);
  on.accumulate_conv2d_backward_data(params, dy, weight, added);
  on.conv2d_backward_weight(params, x, dy, dweight);
  return results;
}

TEST_CASE("sixteen and thirty-two channels") {
  for (const Case of : {Case{16, 16, 33, 16}, Case{16, 32, 9, 32}, Case{16, 16, 11, 48}, Case{32, 32, 5, 64},
                        Case{16, 16, 97, 64}, Case{32, 16, 1, 16}}) {
    CAPTURE(of.in);
    CAPTURE(of.out);
    CAPTURE(of.width);
    const Operands operands(of);
    const auto wanted = convolve(operands, Device::cpu, DType::f32);
    const auto found = convolve(operands, Device::cuda, DType::bf16);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      CAPTURE(i);
      CHECK(testing::relative_error(cast(found[i], DType::f32), wanted[i]) < 0x1p-8);  // one rounding to bf16
    }
    if (of.in != 16 || of.out != 16 || of.width == 48) continue;  // the library, which may vary its order
    const auto again = convolve(operands, Device::cuda, DType::bf16);
    for (std::size_t i = 0; i < wanted.size(); ++i)
      CHECK(testing::relative_error(cast(found[i], DType::f32), cast(again[i], DType::f32)) == 0.0);
  }
}

TEST_CASE("gradients of the weights from more images than there are blocks at a time") {
  const Shape shape{360, 33, 16,
                    16};  // 1,080 bands; an H100 has room for 528 blocks, the emulation for 1,056
  const Tensor x = rounded(random_tensor(shape, "x"));
  const Tensor dy = rounded(random_tensor(shape, "dy"));
  const auto of = [&](Device device, DType dtype) {
    Tensor dweight = Tensor::empty({16, 3, 3, 16}, dtype, device);
    backend(device).conv2d_backward_weight({.padding = 1}, cast(x, dtype).to(device),
                                           cast(dy, dtype).to(device), dweight);
    return cast(dweight, DType::f32);
  };
  CHECK(testing::relative_error(of(Device::cuda, DType::bf16), of(Device::cpu, DType::f32)) < 0x1p-8);
}

}  // namespace
}  // namespace generous
