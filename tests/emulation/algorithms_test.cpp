// Which algorithms the CUDA backend takes, as far as only the emulated libraries show it.

#include <cudnn.h>
#include <doctest/doctest.h>

#include "core/backend.h"
#include "tests/core/gradcheck.h"
#include "tests/emulation/emulation.h"
#include "tests/emulation/libraries.h"

namespace generous {
namespace {

using testing::random_tensor;

Backend& gpu() { return backend(Device::cuda); }

/// No backend yet, and the libraries as installed; the same again at the end.
class FreshMachine {
 public:
  FreshMachine() { forget(); }
  ~FreshMachine() { forget(); }
  FreshMachine(const FreshMachine&) = delete;
  FreshMachine& operator=(const FreshMachine&) = delete;

 private:
  static void forget() {
    register_backend(Device::cuda, nullptr);
    emulation::reset();
    emulation::reset_libraries();
  }
};

struct ConvCase {
  Shape x, weight, y;
  Conv2dParams params;
};

const ConvCase strided{{2, 7, 6, 5}, {4, 3, 2, 5}, {2, 4, 4, 4}, {.stride = 2, .padding = 1}};

/// y, dx, dweight.
std::vector<Tensor> convolve(const ConvCase& test, Device device, DType dtype) {
  const Tensor x = cast(random_tensor(test.x, "x"), dtype).to(device);
  const Tensor weight = random_tensor(test.weight, "weight").to(device);
  const Tensor dy = cast(random_tensor(test.y, "dy"), dtype).to(device);
  std::vector<Tensor> out{Tensor::empty(test.y, dtype, device), Tensor::empty(test.x, dtype, device),
                          Tensor::empty(test.weight, DType::f32, device)};
  backend(device).conv2d(test.params, x, weight, {}, out[0]);
  backend(device).conv2d_backward_data(test.params, dy, weight, out[1]);
  backend(device).conv2d_backward_weight(test.params, x, dy, out[2]);
  for (Tensor& result : out) result = cast(result, DType::f32).to(Device::cpu);
  return out;
}

void check_against_cpu(const ConvCase& test, DType dtype) {
  const UseCpuBackend readable(make_eigen_backend());
  const std::vector<Tensor> found = convolve(test, Device::cuda, dtype);
  const std::vector<Tensor> wanted = convolve(test, Device::cpu, dtype);
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    const std::span<const float> values = wanted[i].data<float>();
    CHECK(testing::relative_difference(found[i], {values.begin(), values.end()}) <
          (dtype == DType::f32 ? 1e-5 : 2e-2));
  }
}

}  // namespace

TEST_CASE("what the library has no algorithm for is convolved directly") {
  const std::vector<ConvCase> cases{
      strided,
      {{3, 5, 4, 8}, {12, 3, 3, 2}, {3, 5, 4, 12}, {.stride = 1, .padding = 1, .groups = 4}},
      {{2, 4, 5, 6}, {6, 3, 3, 1}, {2, 2, 3, 6}, {.stride = 2, .padding = 1, .groups = 6}},
      {{2, 6, 5, 3}, {7, 1, 1, 3}, {2, 3, 3, 7}, {.stride = 2}},
      {{1, 3, 9, 2}, {2, 3, 1, 2}, {1, 3, 7, 2}, {.stride = 2, .padding = 2}},
      // More weights than a grid has blocks: some blocks make two of their gradients.
      {{1, 7, 9, 140}, {130, 1, 1, 140}, {1, 7, 9, 130}, {}}};
  const FreshMachine machine;
  emulation::libraries().convolutions = false;
  for (const ConvCase& test : cases)
    for (const DType dtype : {DType::f32, DType::bf16}) {
      CAPTURE(test.weight.str());
      CAPTURE(name_of(dtype));
      check_against_cpu(test, dtype);
    }
  CHECK(emulation::runs("cudnnConvolutionForward") == 0);
}

TEST_CASE("a plan is made once for a problem, and again after the choice has changed") {
  const FreshMachine machine;
  check_against_cpu(strided, DType::f32);
  const std::int64_t runs = emulation::runs("cudnnConvolutionForward");
  CHECK(runs == 1);
  // A second plan would ask the library again, and now be refused.
  emulation::fail_library_call("cudnnGetConvolutionForwardAlgorithm_v7", CUDNN_STATUS_INTERNAL_ERROR);
  check_against_cpu(strided, DType::f32);
  CHECK(emulation::runs("cudnnConvolutionForward") == 2);
  gpu().choose_algorithms({.tf32 = true});
  CHECK_THROWS_AS(convolve(strided, Device::cuda, DType::f32), Error);
}

TEST_CASE("measuring does not write to the caller's tensors, and happens once") {
  const FreshMachine machine;
  gpu().choose_algorithms({.convolutions = ConvolutionChoice::measured});
  check_against_cpu(strided, DType::f32);
  const std::int64_t measured = emulation::runs("cudnnFindConvolutionForwardAlgorithmEx");
  CHECK(measured > 0);
  check_against_cpu(strided, DType::f32);
  CHECK(emulation::runs("cudnnFindConvolutionForwardAlgorithmEx") == measured);
}

TEST_CASE("algorithms whose workspace is too large for the memory that is left are not taken") {
  const FreshMachine machine;
  emulation::machine().memory = (std::size_t{32} << 20U) + (1U << 17U);
  // For a bf16 gradient of a weight every algorithm needs a workspace of its size in f32 and more.
  const ConvCase wide{{1, 3, 3, 32}, {32, 3, 3, 32}, {1, 1, 1, 32}, {}};
  convolve({{1, 3, 3, 4}, {4, 3, 3, 4}, {1, 1, 1, 4}, {}}, Device::cuda, DType::bf16);
  CHECK(emulation::runs("cudnnConvolutionBackwardFilter") == 1);
  CHECK_NOTHROW(convolve(wide, Device::cuda, DType::bf16));
  CHECK(emulation::runs("cudnnConvolutionBackwardFilter") == 1);
}

TEST_CASE("where TF32 is not wanted, the math type is one that does not round") {
  // Ones and a number that TF32 does not hold: its 10 bits of mantissa lose the last term.
  const FreshMachine machine;
  const float fine = 1.0F + 0x1p-12F;
  const Tensor x = Tensor::full({1, 2, 2, 1}, fine, Device::cuda);
  const Tensor weight = Tensor::full({1, 2, 2, 1}, 1.0F, Device::cuda);
  Tensor y = Tensor::empty({1, 1, 1, 1}, DType::f32, Device::cuda);
  for (const auto convolutions : {ConvolutionChoice::by_rule, ConvolutionChoice::measured}) {
    gpu().choose_algorithms({.convolutions = convolutions});
    gpu().conv2d({}, x, weight, {}, y);
    CHECK(y.item() == 4.0F * fine);
    gpu().choose_algorithms({.convolutions = convolutions, .tf32 = true});
    gpu().conv2d({}, x, weight, {}, y);
    CHECK(y.item() == 4.0F);
  }
  const Tensor a = Tensor::full({1, 4}, fine, Device::cuda);
  const Tensor b = Tensor::full({4, 1}, 1.0F, Device::cuda);
  CHECK(matmul(a, b).item() == 4.0F);
  gpu().choose_algorithms({});
  CHECK(matmul(a, b).item() == 4.0F * fine);
}

}  // namespace generous
