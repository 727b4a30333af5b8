// Every choice of algorithms of the CUDA backend against the CPU's convolutions and products.

#include <doctest/doctest.h>

#include <limits>

#include "core/backend.h"
#include "tests/core/cpu_implementations.h"
#include "tests/core/gradcheck.h"

namespace generous {
namespace {

using testing::random_tensor;

Backend& gpu() { return backend(Device::cuda); }

/// The default choice again at the end.
struct Choosing {
  explicit Choosing(const AlgorithmChoice& choice) { gpu().choose_algorithms(choice); }
  ~Choosing() { gpu().choose_algorithms({}); }
};

struct ConvCase {
  Shape x, weight, y;
  Conv2dParams params;
};

const std::vector<ConvCase>& conv_cases() {
  static const std::vector<ConvCase> cases{
      {{2, 7, 6, 5}, {4, 3, 2, 5}, {2, 4, 4, 4}, {.stride = 2, .padding = 1}},
      {{3, 5, 4, 8}, {12, 3, 3, 2}, {3, 5, 4, 12}, {.stride = 1, .padding = 1, .groups = 4}},
      {{2, 4, 5, 6}, {6, 3, 3, 1}, {2, 2, 3, 6}, {.stride = 2, .padding = 1, .groups = 6}},
      {{3, 21, 23, 24}, {24, 3, 3, 1}, {3, 11, 12, 24}, {.stride = 2, .padding = 1, .groups = 24}},
      {{2, 6, 5, 3}, {7, 1, 1, 3}, {2, 3, 3, 7}, {.stride = 2}}};
  return cases;
}

double difference(const Tensor& found, const Tensor& wanted) {
  const Tensor a = cast(found, DType::f32).to(Device::cpu);
  return testing::relative_difference(a, {wanted.data<float>().begin(), wanted.data<float>().end()});
}

/// The three kernels on either device.
struct Outcome {
  Tensor y, dx, dweight;
};

Outcome convolve(const ConvCase& test, Device device, DType dtype) {
  const Tensor x = cast(random_tensor(test.x, "x"), dtype).to(device);
  const Tensor weight = random_tensor(test.weight, "weight").to(device);
  const Tensor bias = random_tensor({test.weight[0]}, "bias").to(device);
  const Tensor dy = cast(random_tensor(test.y, "dy"), dtype).to(device);
  Outcome out{Tensor::empty(test.y, dtype, device), Tensor::empty(test.x, dtype, device),
              Tensor::empty(test.weight, DType::f32, device)};
  backend(device).conv2d(test.params, x, weight, bias, out.y);
  backend(device).conv2d_backward_data(test.params, dy, weight, out.dx);
  backend(device).conv2d_backward_weight(test.params, x, dy, out.dweight);
  return out;
}

void check_convolutions(DType dtype, double tolerance) {
  const UseCpuBackend readable(make_eigen_backend());
  for (const ConvCase& test : conv_cases()) {
    CAPTURE(test.weight.str());
    const Outcome found = convolve(test, Device::cuda, dtype);
    const Outcome wanted = convolve(test, Device::cpu, dtype);
    CHECK(difference(found.y, cast(wanted.y, DType::f32)) < tolerance);
    CHECK(difference(found.dx, cast(wanted.dx, DType::f32)) < tolerance);
    CHECK(difference(found.dweight, wanted.dweight) < tolerance);
  }
}

std::vector<float> values_of(const Tensor& x) {
  const Tensor host = x.to(Device::cpu);
  return {host.data<float>().begin(), host.data<float>().end()};
}

}  // namespace

TEST_CASE("convolutions by every choice of algorithms") {
  for (const auto convolutions :
       {ConvolutionChoice::by_rule, ConvolutionChoice::measured, ConvolutionChoice::direct})
    for (const bool deterministic : {false, true})
      for (const bool tf32 : {false, true}) {
        CAPTURE(static_cast<int>(convolutions));
        CAPTURE(deterministic);
        CAPTURE(tf32);
        const Choosing choosing({.convolutions = convolutions, .deterministic = deterministic, .tf32 = tf32});
        check_convolutions(DType::f32, tf32 ? 2e-3 : 1e-5);
        check_convolutions(DType::bf16, 2e-2);
      }
}

TEST_CASE("deterministic convolutions give the same bits every time") {
  const Choosing choosing({.deterministic = true});
  for (const ConvCase& test : conv_cases()) {
    const Outcome first = convolve(test, Device::cuda, DType::f32);
    const Outcome second = convolve(test, Device::cuda, DType::f32);
    CHECK(values_of(first.y) == values_of(second.y));
    CHECK(values_of(first.dx) == values_of(second.dx));
    CHECK(values_of(first.dweight) == values_of(second.dweight));
  }
}

TEST_CASE("convolutions of no images") {
  const ConvCase none{{0, 7, 6, 5}, {4, 3, 2, 5}, {0, 4, 4, 4}, {.stride = 2, .padding = 1}};
  const Outcome outcome = convolve(none, Device::cuda, DType::f32);
  CHECK(values_of(outcome.dweight) == std::vector<float>(120, 0.0F));
  FrozenFilter filter{
      .weight = random_tensor(none.weight, "weight").to(Device::cuda), .bias = {}, .prepared = {}};
  Tensor y = Tensor::empty(none.y, DType::f32, Device::cuda);
  gpu().conv2d_inference(none.params, Tensor::empty(none.x, DType::f32, Device::cuda), filter, {}, y);
}

TEST_CASE("frozen convolutions: bias, residual and ReLU, channels in vectors and one by one") {
  const UseCpuBackend readable(make_eigen_backend());
  const std::vector<ConvCase> cases{{{2, 7, 6, 5}, {4, 3, 2, 5}, {2, 4, 4, 4}, {.stride = 2, .padding = 1}},
                                    {{2, 5, 6, 3}, {16, 3, 3, 3}, {2, 5, 6, 16}, {.padding = 1}},
                                    {{2, 5, 6, 3}, {7, 1, 1, 3}, {2, 5, 6, 7}, {}}};
  for (const ConvCase& test : cases)
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const bool with_bias : {false, true})
        for (const bool with_residual : {false, true})
          for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6}) {
            CAPTURE(test.weight.str());
            CAPTURE(name_of(dtype));
            std::vector<Tensor> results;
            for (const Device device : {Device::cuda, Device::cpu}) {
              FrozenFilter filter{
                  .weight = random_tensor(test.weight, "weight").to(device),
                  .bias = with_bias ? random_tensor({test.weight[0]}, "bias").to(device) : Tensor(),
                  .prepared = {}};
              const Conv2dEpilogue epilogue{
                  .residual = with_residual ? cast(random_tensor(test.y, "r"), dtype).to(device) : Tensor(),
                  .activation = activation};
              const Tensor x = cast(random_tensor(test.x, "x"), dtype).to(device);
              Tensor y = Tensor::empty(test.y, dtype, device);
              for (int call = 0; call < 2; ++call)  // the second with what the first prepared
                backend(device).conv2d_inference(test.params, x, filter, epilogue, y);
              results.push_back(y);
            }
            CHECK(difference(results[0], cast(results[1], DType::f32)) < (dtype == DType::f32 ? 1e-5 : 2e-2));
          }
}

TEST_CASE("a filter that is frozen inside recorded work") {
  const Tensor x = cast(random_tensor({2, 5, 6, 3}, "x"), DType::bf16).to(Device::cuda);
  const auto frozen = [] {
    return FrozenFilter{.weight = random_tensor({7, 1, 1, 3}, "weight").to(Device::cuda),
                        .bias = random_tensor({7}, "bias").to(Device::cuda),
                        .prepared = {}};
  };
  FrozenFilter before = frozen();
  FrozenFilter filter = frozen();
  Tensor recorded_y = Tensor::empty({2, 5, 6, 7}, DType::bf16, Device::cuda);
  Tensor y = Tensor::empty({2, 5, 6, 7}, DType::bf16, Device::cuda);
  gpu().conv2d_inference({}, x, before, {}, y);  // makes the plan
  const auto recorded = gpu().record([&] { gpu().conv2d_inference({}, x, filter, {}, recorded_y); });
  CHECK(filter.prepared == nullptr);
  gpu().conv2d_inference({}, x, filter, {}, y);
  CHECK(filter.prepared != nullptr);
  recorded->replay();
  CHECK(values_of(cast(recorded_y, DType::f32)) == values_of(cast(y, DType::f32)));
}

TEST_CASE("no plan is made while work is recorded, only before") {
  for (const auto convolutions : {ConvolutionChoice::by_rule, ConvolutionChoice::measured}) {
    const Choosing choosing({.convolutions = convolutions});
    const ConvCase test{{1, 5, 4, 2}, {3, 3, 3, 2}, {1, 3, 2, 3}, {}};
    const Tensor x = random_tensor(test.x, "x").to(Device::cuda);
    const Tensor weight = random_tensor(test.weight, "weight").to(Device::cuda);
    Tensor y = Tensor::empty(test.y, DType::f32, Device::cuda);
    const auto work = [&] { gpu().conv2d(test.params, x, weight, {}, y); };
    CHECK_THROWS_WITH_AS(gpu().record(work), doctest::Contains("run the same work once before"), Error);
    work();
    const std::vector<float> wanted = values_of(y);
    gpu().fill(y, 0.0);
    const auto recorded = gpu().record(work);
    CHECK(values_of(y) == wanted);
  }
}

/// {rows, inner} times {inner, columns}.
struct Product {
  std::int64_t rows, inner, columns;
};

void check_products(const Product& of, bool tf32) {
  for (const bool transpose_a : {false, true})
    for (const bool transpose_b : {false, true})
      for (const float beta : {0.0F, 0.5F}) {
        CAPTURE(transpose_a);
        CAPTURE(transpose_b);
        const Choosing choosing({.tf32 = tf32});
        const GemmParams params{
            .transpose_a = transpose_a, .transpose_b = transpose_b, .alpha = 1.5F, .beta = beta};
        const auto& [rows, inner, columns] = of;
        const Tensor a = random_tensor(transpose_a ? Shape{inner, rows} : Shape{rows, inner}, "a");
        const Tensor b = random_tensor(transpose_b ? Shape{columns, inner} : Shape{inner, columns}, "b");
        Tensor wanted = random_tensor({rows, columns}, "c");
        Tensor c = wanted.to(Device::cuda);
        if (beta == 0.0F) gpu().fill(c, std::numeric_limits<double>::quiet_NaN());
        backend(Device::cpu).gemm(params, a, b, wanted);
        gpu().gemm(params, a.to(Device::cuda), b.to(Device::cuda), c);
        CHECK(difference(c, wanted) < (tf32 ? 2e-3 : 1e-5));

        Tensor of_bf16 = random_tensor({rows, columns}, "c").to(Device::cuda);
        gpu().gemm(params, cast(a.to(Device::cuda), DType::bf16), cast(b.to(Device::cuda), DType::bf16),
                   of_bf16);
        CHECK(difference(of_bf16, wanted) < 2e-2);
      }
}

TEST_CASE("matrix products: both operands as they are and transposed, scaled and added") {
  const UseCpuBackend readable(make_eigen_backend());
  for (const bool tf32 : {false, true}) {
    check_products({.rows = 5, .inner = 19, .columns = 67}, tf32);
    check_products({.rows = 65, .inner = 131, .columns = 130}, tf32);  // more than go to small_gemm
    check_products({.rows = 3, .inner = 257, .columns = 5}, tf32);     // longer sums than go there
  }
}

TEST_CASE("matrix products of nothing") {
  const auto matrix = [](std::int64_t rows, std::int64_t columns) {
    return Tensor::zeros({rows, columns}, DType::f32, Device::cuda);
  };
  Tensor c = Tensor::full({2, 3}, 4.0F, Device::cuda);
  gpu().gemm({.beta = 0.5F}, matrix(2, 0), matrix(0, 3), c);
  CHECK(values_of(c) == std::vector<float>(6, 2.0F));
  gpu().gemm({}, matrix(2, 0), matrix(0, 3), c);
  CHECK(values_of(c) == std::vector<float>(6, 0.0F));
  Tensor none = matrix(0, 3);
  gpu().gemm({}, matrix(0, 5), matrix(5, 3), none);
}

}  // namespace generous
