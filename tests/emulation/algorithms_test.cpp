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

void check_against(const std::vector<Tensor>& wanted, const std::vector<Tensor>& found, DType dtype) {
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    const std::span<const float> values = wanted[i].data<float>();
    CHECK(testing::relative_difference(found[i], {values.begin(), values.end()}) <
          (dtype == DType::f32 ? 1e-5 : 2e-2));
  }
}

std::vector<Tensor> convolve_on_cpu(const ConvCase& test, DType dtype) {
  const UseCpuBackend readable(make_eigen_backend());
  return convolve(test, Device::cpu, dtype);
}

void check_against_cpu(const ConvCase& test, DType dtype) {
  check_against(convolve_on_cpu(test, dtype), convolve(test, Device::cuda, dtype), dtype);
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
  CHECK(emulation::runs("cuDNN forward") == 0);
}

TEST_CASE("what is added to a convolution, and what one is added to, is so by the library and directly") {
  const std::vector<ConvCase> cases{
      strided,
      {{3, 5, 4, 8}, {12, 3, 3, 2}, {3, 5, 4, 12}, {.stride = 1, .padding = 1, .groups = 4}},
      {{2, 4, 5, 6}, {6, 3, 3, 1}, {2, 2, 3, 6}, {.stride = 2, .padding = 1, .groups = 6}},
      {{2, 5, 7, 12}, {12, 3, 3, 1}, {2, 5, 7, 12}, {.stride = 1, .padding = 1, .groups = 12}}};
  /// y, dx
  const auto add = [](const ConvCase& test, Device device, DType dtype) {
    const auto images = [&](const Shape& shape, const char* name) {
      return cast(random_tensor(shape, name), dtype).to(device);
    };
    const Tensor weight = random_tensor(test.weight, "weight").to(device);
    std::vector<Tensor> out{Tensor::empty(test.y, dtype, device), images(test.x, "so far").clone()};
    backend(device).conv2d_add(test.params, images(test.x, "x"), weight, images(test.y, "residual"), out[0]);
    backend(device).accumulate_conv2d_backward_data(test.params, images(test.y, "dy"), weight, out[1]);
    for (Tensor& result : out) result = cast(result, DType::f32).to(Device::cpu);
    return out;
  };
  const FreshMachine machine;
  for (const bool library : {true, false}) {
    backend(Device::cuda).choose_algorithms({});
    emulation::libraries().convolutions = library;
    for (const ConvCase& test : cases)
      for (const DType dtype : {DType::f32, DType::bf16}) {
        CAPTURE(library);
        CAPTURE(test.weight.str());
        CAPTURE(name_of(dtype));
        const std::vector<Tensor> wanted = [&] {
          const UseCpuBackend readable(make_eigen_backend());
          return add(test, Device::cpu, dtype);
        }();
        const bool own = !library || test.x[3] == 12;  // depthwise
        const std::int64_t runs = emulation::runs("cuDNN forward") + emulation::runs("cuDNN backward data");
        const std::int64_t kernels = emulation::runs("kernel");
        check_against(wanted, add(test, Device::cuda, dtype), dtype);
        CHECK(emulation::runs("cuDNN forward") + emulation::runs("cuDNN backward data") ==
              runs + (own ? 0 : 2));
        if (!own && dtype == DType::f32) CHECK(emulation::runs("kernel") == kernels);
      }
  }
}

TEST_CASE("a plan is made once for a problem, and again after the choice has changed") {
  const FreshMachine machine;
  check_against_cpu(strided, DType::f32);
  const std::int64_t runs = emulation::runs("cuDNN forward");
  CHECK(runs == 1);
  // A second plan would ask the library again, and now fail.
  emulation::fail_library_call("cudnnBackendFinalize graph", CUDNN_STATUS_NOT_INITIALIZED);
  check_against_cpu(strided, DType::f32);
  CHECK(emulation::runs("cuDNN forward") == 2);
  gpu().choose_algorithms({.tf32 = true});
  CHECK_THROWS_AS(convolve(strided, Device::cuda, DType::f32), Error);
}

TEST_CASE("measuring does not write to the caller's tensors, happens once and finds the fastest") {
  const FreshMachine machine;
  gpu().choose_algorithms({.convolutions = ConvolutionChoice::measured, .tf32 = true});
  const Tensor x = random_tensor(strided.x, "x").to(Device::cuda);
  const Tensor weight = random_tensor(strided.weight, "weight").to(Device::cuda);
  for (const std::int64_t slow : {0, 2}) {  // of the two that do not transform
    gpu().choose_algorithms({.convolutions = ConvolutionChoice::measured, .tf32 = true});
    emulation::libraries().slow_engines = {slow};
    Tensor y = Tensor::full(strided.y, 7.0F, Device::cuda);
    gpu().conv2d(strided.params, x, weight, {}, y);
    const std::int64_t runs = emulation::runs("cuDNN forward");
    CHECK(emulation::libraries().last_engine != slow);
    gpu().conv2d(strided.params, x, weight, {}, y);
    gpu().synchronize();
    CHECK(emulation::runs("cuDNN forward") <= runs + 2);
  }
  gpu().choose_algorithms({.convolutions = ConvolutionChoice::measured});
  check_against_cpu(strided, DType::f32);
}

// Every answer but success that says no to what was asked.
const std::vector<int>& refusals() {
  static const std::vector<int> all = [] {
    std::vector<int> statuses;
    for (int specific = 0; specific <= 12; ++specific)
      if (specific != 1) statuses.push_back(CUDNN_STATUS_BAD_PARAM + specific);
    for (int specific = 0; specific <= 14; ++specific)
      statuses.push_back(CUDNN_STATUS_NOT_SUPPORTED + specific);
    for (int specific = 0; specific <= 6; ++specific)
      statuses.push_back(CUDNN_STATUS_INTERNAL_ERROR + specific);
    return statuses;
  }();
  return all;
}

TEST_CASE(
    "an engine that refuses, with whatever status, is passed over: for the next, at last for our own "
    "kernel") {
  const FreshMachine machine;
  const std::vector<Tensor> wanted = convolve_on_cpu(strided, DType::f32);
  for (const int status : refusals())
    for (const auto convolutions : {ConvolutionChoice::by_rule, ConvolutionChoice::measured})
      for (int emulation::Refusal::*when :
           {&emulation::Refusal::at_planning, &emulation::Refusal::at_execution})
        for (const std::int64_t engine : {1, -1}) {  // the one that comes first for gradients, and all
          CAPTURE(status);
          CAPTURE(static_cast<int>(convolutions));
          CAPTURE(engine);
          emulation::libraries().refusal = {.engine = engine, .at_planning = 0, .at_execution = 0};
          emulation::libraries().refusal.*when = status;
          gpu().choose_algorithms({.convolutions = convolutions});
          const std::int64_t runs = emulation::runs("cuDNN backward data");
          check_against(wanted, convolve(strided, Device::cuda, DType::f32), DType::f32);
          CHECK((emulation::runs("cuDNN backward data") > runs) == (engine >= 0));
        }
}

TEST_CASE("a graph or heuristics that are refused leave the convolution to our own kernel") {
  for (const int status : refusals())
    for (const std::string part : {"graph", "heuristics", "part"}) {
      const FreshMachine machine;
      backend(Device::cuda);
      emulation::fail_library_call("cudnnBackendFinalize " + part, status);
      check_against_cpu(strided, DType::f32);
    }
}

TEST_CASE("an engine that refuses although it has run before is passed over, too") {
  const FreshMachine machine;
  check_against_cpu(strided, DType::f32);
  emulation::libraries().refusal = {
      .engine = -1, .at_planning = 0, .at_execution = CUDNN_STATUS_NOT_SUPPORTED_BAD_LAUNCH_PARAM};
  check_against_cpu(strided, DType::f32);
  emulation::libraries().refusal = {};
  check_against_cpu(strided, DType::f32);
}

TEST_CASE("what fails otherwise than by a refusal is an error that names the op") {
  const FreshMachine machine;
  backend(Device::cuda);
  emulation::libraries().refusal = {
      .engine = -1, .at_planning = 0, .at_execution = CUDNN_STATUS_EXECUTION_FAILED};
  CHECK_THROWS_WITH_AS(convolve(strided, Device::cuda, DType::f32),
                       doctest::Contains("conv2d: cudnnBackendExecute failed: CUDNN_STATUS_EXECUTION_FAILED"),
                       Error);
}

TEST_CASE("which engine is taken does not depend on the memory that is left") {
  const auto engine_with = [](std::size_t memory) {
    const FreshMachine machine;
    emulation::machine().memory = memory;
    convolve(strided, Device::cuda, DType::bf16);
    return emulation::libraries().last_engine;
  };
  CHECK(engine_with((std::size_t{32} << 20U) + (1U << 20U)) == engine_with(std::size_t{8} << 30U));
}

TEST_CASE("plans that want more than a GiB of workspace are not taken") {
  const FreshMachine machine;
  emulation::libraries().more_workspace = std::size_t{1} << 30U;
  check_against_cpu(strided, DType::bf16);
  CHECK(emulation::runs("cuDNN backward filter") == 0);
}

TEST_CASE(
    "engines that compute f32 by transforms or in 16 bits are not taken for it, nor sums of 16 bits for "
    "bf16") {
  const FreshMachine machine;
  const ConvCase plain{{2, 6, 5, 4}, {3, 3, 3, 4}, {2, 6, 5, 3}, {.padding = 1}};
  const auto engine_of = [&](DType dtype, const AlgorithmChoice& choice) {
    gpu().choose_algorithms(choice);
    const Tensor x = cast(random_tensor(plain.x, "x").to(Device::cuda), dtype);
    Tensor y = Tensor::empty(plain.y, dtype, Device::cuda);
    gpu().conv2d(plain.params, x, random_tensor(plain.weight, "weight").to(Device::cuda), {}, y);
    return emulation::libraries().last_engine;
  };
  CHECK(engine_of(DType::f32, {}) == 0);
  CHECK(engine_of(DType::f32, {.tf32 = true}) == 4);  // a transform
  CHECK(engine_of(DType::f32, {.convolutions = ConvolutionChoice::direct, .tf32 = true}) == 2);
  CHECK(engine_of(DType::bf16, {}) == 4);
  CHECK(engine_of(DType::bf16, {.convolutions = ConvolutionChoice::direct}) == 2);
  check_against_cpu(plain, DType::f32);
}

TEST_CASE(
    "a frozen convolution is one call of the library, with a bias or without, and two where it refuses") {
  const FreshMachine machine;
  const Tensor x = cast(random_tensor(strided.x, "x"), DType::bf16).to(Device::cuda);
  const Tensor residual = cast(random_tensor(strided.y, "r"), DType::bf16).to(Device::cuda);
  Tensor y = Tensor::empty(strided.y, DType::bf16, Device::cuda);
  const auto kernels = [&](const Tensor& bias) {
    FrozenFilter filter{
        .weight = random_tensor(strided.weight, "w").to(Device::cuda), .bias = bias, .prepared = {}};
    const Conv2dEpilogue epilogue{.residual = residual, .activation = Activation::relu6};
    gpu().conv2d_inference(strided.params, x, filter, epilogue, y);
    gpu().synchronize();
    const std::int64_t before = emulation::runs("kernel");
    gpu().conv2d_inference(strided.params, x, filter, epilogue, y);
    gpu().synchronize();
    return emulation::runs("kernel") - before;
  };
  const Tensor bias = random_tensor({4}, "bias").to(Device::cuda);
  const std::int64_t fused = kernels(bias);
  CHECK(fused == 0);
  CHECK(kernels({}) == 0);
  emulation::libraries().convolutions = false;
  gpu().choose_algorithms({});
  CHECK(kernels(bias) == 2);  // the epilogue
}

TEST_CASE("where TF32 is not wanted, no engine is taken that rounds") {
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
  }
  gpu().choose_algorithms({.convolutions = ConvolutionChoice::direct, .tf32 = true});
  gpu().conv2d({}, x, weight, {}, y);
  CHECK(y.item() == 4.0F);
  gpu().choose_algorithms({.tf32 = true});
  const Tensor a = Tensor::full({1024, 4}, fine, Device::cuda);  // too many for small_gemm
  const Tensor b = Tensor::full({4, 512}, 1.0F, Device::cuda);
  const auto first_of = [](const Tensor& of) { return of.to(Device::cpu).data<float>()[0]; };
  CHECK(first_of(matmul(a, b)) == 4.0F);
  gpu().choose_algorithms({});
  CHECK(first_of(matmul(a, b)) == 4.0F * fine);
}

}  // namespace generous
