// Activations in bf16: every op against itself in f32 on the same values, values and gradients.

#include "tests/core/gradcheck.h"
#include "tests/core/worst.h"

namespace generous {
namespace {

using testing::Function;
using testing::random_tensor;

constexpr double rounding = 1.0 / 256;  // of one rounding to bf16, at most: half of the last of 8 bits

Tensor to_bf16(const Tensor& x) { return cast(x, DType::bf16); }
Tensor to_f32(const Tensor& x) { return cast(x, DType::f32); }

/// Standard normal values that bf16 holds exactly, in f32.
Tensor representable(const Shape& shape, const std::string& name) {
  return to_f32(to_bf16(random_tensor(shape, name)));
}

struct Operand {
  Tensor values;       ///< representable
  bool image = false;  ///< stored in the dtype under test; parameters stay f32
};

struct OpCase {
  std::string name;
  std::vector<Operand> operands;
  Function op;
  double roundings = 1.0;            ///< an element's error over one rounding of it, at most
  double absolute = 2e-6;            ///< further error, of the largest element: f32 sums in another order
  DType output_dtype = DType::bf16;  ///< of an op on bf16
};

struct Results {
  DType dtype;                    ///< of y
  Tensor y;                       ///< as f32
  std::vector<Tensor> gradients;  ///< one an operand
};

Results run(const OpCase& test, DType dtype) {
  std::vector<Tensor> leaves;
  std::vector<Tensor> arguments;
  for (const Operand& operand : test.operands) {
    leaves.push_back(operand.values.clone().require_grad());
    arguments.push_back(operand.image ? cast(leaves.back(), dtype) : leaves.back());
  }
  const Tensor y = test.op(arguments);
  backward(y, cast(representable(y.shape(), test.name + " dy"), y.dtype()));
  Results results{.dtype = y.dtype(), .y = to_f32(y.detach()), .gradients = {}};
  for (const Tensor& leaf : leaves) results.gradients.push_back(leaf.grad());
  return results;
}

/// By how much, in parts of the largest element, an element is further from its counterpart than `relative`
/// of it.
double excess(const Tensor& found, const Tensor& wanted, double relative) {
  REQUIRE(found.shape() == wanted.shape());
  double worst = 0.0;
  double scale = 0.0;
  for (std::size_t i = 0; i < wanted.data<float>().size(); ++i) {
    const auto a = static_cast<double>(found.data<float>()[i]);
    const auto b = static_cast<double>(wanted.data<float>()[i]);
    worst = testing::worse(worst, std::abs(a - b) - relative * std::abs(b));
    scale = std::max(scale, std::abs(b));
  }
  REQUIRE(scale > 0.0);
  return worst / scale;
}

/// What is stored in bf16 is the f32 op's result rounded, but for the order of f32 sums; parameters'
/// gradients are not rounded at all.
void check(const OpCase& test) {
  CAPTURE(test.name);
  const Results wanted = run(test, DType::f32);
  const Results found = run(test, DType::bf16);
  CHECK(wanted.dtype == DType::f32);
  CHECK(found.dtype == test.output_dtype);
  const bool rounded = test.output_dtype == DType::bf16;
  CHECK(excess(found.y, wanted.y, rounded ? test.roundings * rounding : 0.0) < test.absolute);
  for (std::size_t k = 0; k < test.operands.size(); ++k) {
    CAPTURE(k);
    const double relative = test.operands[k].image ? test.roundings * rounding : 0.0;
    CHECK(excess(found.gradients[k], wanted.gradients[k], relative) < test.absolute);
  }
}

/// Both implementations, where they can compute in bf16 at all.
template <class Test>
void on_every_bf16_implementation(Test&& test) {
  on_every_cpu_implementation([&] {
    const OpCase probe{.name = "probe",
                       .operands = {{representable({1, 2, 2, 1}, "x"), true}},
                       .op = [](const auto& in) { return avg_pool2d(in[0], {}); }};
    try {
      run(probe, DType::bf16);
    } catch (const Error& error) {
      MESSAGE("not tested here: " << std::string(error.what()));
      return;
    }
    test();
  });
}

TEST_CASE("elementwise ops") {
  const Shape shape{3, 5, 7, 19};
  const Operand a{representable(shape, "a"), true};
  const Operand b{representable(shape, "b"), true};
  const Operand positive{to_f32(to_bf16(exp(a.values))), true};
  const Operand wide{to_f32(to_bf16(a.values * 4.0F)), true};
  const OpCase cases[] = {
      {"relu", {a}, [](const auto& in) { return relu(in[0]); }},
      {"relu6", {wide}, [](const auto& in) { return relu6(in[0]); }},
      {"log", {positive}, [](const auto& in) { return log(in[0]); }},
      {"square", {a}, [](const auto& in) { return square(in[0]); }},
      // Their gradients are computed from the rounded output.
      {"exp", {a}, [](const auto& in) { return exp(in[0]); }, 2.1},
      {"sqrt", {positive}, [](const auto& in) { return sqrt(in[0]); }, 2.1},
      {"add", {a, b}, [](const auto& in) { return in[0] + in[1]; }},
      {"subtract", {a, b}, [](const auto& in) { return in[0] - in[1]; }},
      {"multiply", {a, b}, [](const auto& in) { return in[0] * in[1]; }},
      {"divide", {a, positive}, [](const auto& in) { return in[0] / in[1]; }},
      {"scale", {a}, [](const auto& in) { return 0.7F * in[0]; }},
      {"shift", {a}, [](const auto& in) { return in[0] - 0.3F; }},
      {"dropout", {a}, [](const auto& in) { return dropout(in[0], {.p = 0.3F, .key = 5}); }},
      {"reshape",
       {a},
       [](const auto& in) {
         return reshape(in[0], {15, 133});
       }},
  };
  on_every_bf16_implementation([&] {
    for (const OpCase& test : cases) check(test);
  });
}

TEST_CASE("broadcasts keep bf16, sums are f32") {
  const Operand images{representable({3, 5, 7, 19}, "images"), true};
  const Operand channels{representable({19}, "channels"), true};
  const Operand maps{representable({3, 5, 7, 1}, "maps"), true};
  on_every_bf16_implementation([&] {
    check({"broadcast channels", {channels}, [&](const auto& in) {
             return broadcast_to(in[0], {3, 5, 7, 19});
           }});
    check({"broadcast maps", {maps}, [](const auto& in) { return broadcast_to(in[0], {3, 5, 7, 19}); }});
    check({"images + channels", {images, channels}, [](const auto& in) { return in[0] + in[1]; }});
    for (const Shape& shape : {Shape{}, Shape{19}, Shape{3, 5, 7, 1}, Shape{3, 1, 1, 19}, Shape{3, 5, 7, 19}})
      check({.name = "sum to " + shape.str(),
             .operands = {images},
             .op = [&](const auto& in) { return sum_to(in[0], shape); },
             .output_dtype = DType::f32});
  });
}

TEST_CASE("a gradient from several uses is summed in bf16") {
  const OpCase test{.name = "x * x + x",
                    .operands = {{representable({3, 1001}, "x"), true}},
                    .op = [](const auto& in) { return in[0] * in[0] + in[0]; }};
  on_every_bf16_implementation([&] {
    // dx = 2 dy x + dy: terms may cancel, so that their roundings count by the size of the terms.
    const Tensor found = run(test, DType::bf16).gradients[0];
    const Tensor wanted = run(test, DType::f32).gradients[0];
    const Tensor dy = representable(found.shape(), test.name + " dy");
    for (std::size_t i = 0; i < found.data<float>().size(); ++i) {
      const double d = std::abs(static_cast<double>(dy.data<float>()[i]));
      const double x = std::abs(static_cast<double>(test.operands[0].values.data<float>()[i]));
      const double terms = d * (4.0 * x + 1.0) + std::abs(static_cast<double>(wanted.data<float>()[i]));
      const double error =
          static_cast<double>(found.data<float>()[i]) - static_cast<double>(wanted.data<float>()[i]);
      CHECK(std::abs(error) <= terms * rounding);
    }
  });
}

struct ConvCase {
  Shape x;       ///< {N, H, W, C}
  Shape weight;  ///< {K, R, S, C/groups}
  Conv2dParams params;
  bool bias;
};

const ConvCase conv_cases[] = {
    {{2, 5, 7, 3}, {4, 3, 3, 3}, {.stride = 1, .padding = 1}, true},
    {{3, 6, 5, 4}, {7, 3, 3, 4}, {.stride = 2, .padding = 1}, false},
    {{2, 7, 8, 5}, {3, 1, 1, 5}, {.stride = 1}, true},
    {{2, 7, 8, 5}, {3, 1, 1, 5}, {.stride = 2}, false},
    {{2, 8, 6, 6}, {4, 3, 3, 3}, {.stride = 1, .padding = 1, .groups = 2}, true},
    {{2, 6, 5, 8}, {8, 3, 3, 1}, {.stride = 1, .padding = 1, .groups = 8}, false},
    {{2, 9, 6, 3}, {5, 3, 2, 3}, {.stride = 2, .padding = 1}, true},
    {{2, 7, 9, 19}, {37, 3, 3, 19}, {.stride = 1, .padding = 1}, true},
    {{3, 32, 32, 3}, {16, 3, 3, 3}, {.stride = 1, .padding = 1}, false},
    {{3, 32, 32, 16}, {16, 3, 3, 16}, {.stride = 1, .padding = 1}, false},
    {{2, 32, 32, 16}, {32, 1, 1, 16}, {.stride = 2}, false},
    {{2, 16, 16, 32}, {64, 3, 3, 32}, {.stride = 2, .padding = 1}, true},
    {{3, 8, 8, 64}, {64, 3, 3, 64}, {.stride = 1, .padding = 1}, false},
    {{2, 4, 4, 256}, {512, 3, 3, 256}, {.stride = 1, .padding = 1}, false},
    {{2, 16, 16, 64}, {64, 3, 3, 8}, {.stride = 1, .padding = 1, .groups = 8}, false},
    {{2, 9, 13, 58}, {58, 3, 3, 1}, {.stride = 1, .padding = 1, .groups = 58}, true},
    {{3, 8, 11, 64}, {64, 3, 3, 1}, {.stride = 2, .padding = 1, .groups = 64}, true},
    {{67, 17, 31, 64}, {64, 3, 3, 1}, {.stride = 1, .padding = 1, .groups = 64}, false},
    {{7, 27, 25, 66}, {45, 1, 1, 22}, {.stride = 1, .groups = 3}, false},
    {{5, 31, 29, 12}, {120, 1, 1, 4}, {.stride = 1, .groups = 3}, true},
    {{2, 224, 220, 15}, {37, 1, 1, 15}, {.stride = 2}, false},  // where oneDNN writes out of bounds
};

TEST_CASE("convolution") {
  on_every_bf16_implementation([] {
    for (const ConvCase& test : conv_cases) {
      const std::string name = test.x.str() + " * " + test.weight.str();
      std::vector<Operand> operands;
      operands.push_back({representable(test.x, "x" + name), true});
      operands.push_back({representable(test.weight, "w" + name)});
      if (test.bias) operands.push_back({representable({test.weight[0]}, "b" + name)});
      check({name, operands, [&](const auto& in) {
               return conv2d(in[0], in[1], in.size() > 2 ? in[2] : Tensor(), test.params);
             }});
    }
  });
}

TEST_CASE("a convolution rounds its weight, too") {
  on_every_bf16_implementation([] {
    const NoGrad guard;
    const Tensor x = to_bf16(random_tensor({2, 7, 5, 18}, "x"));
    const Tensor weight = random_tensor({20, 3, 3, 18}, "w");
    const Tensor y = conv2d(x, weight, {}, {.padding = 1});
    const Tensor same = conv2d(x, to_f32(to_bf16(weight)), {}, {.padding = 1});
    CHECK(std::ranges::equal(y.data<bfloat16>(), same.data<bfloat16>()));
  });
}

TEST_CASE("pooling") {
  const Operand x{representable({3, 9, 8, 21}, "x"), true};
  const Pool2dParams halving{};
  const Pool2dParams overlapping{.kernel_h = 3, .kernel_w = 2, .stride = 1, .padding = 1};
  constexpr double partial_sums = 5 * rounding;  // of the gradients of the six windows an element is in
  on_every_bf16_implementation([&] {
    check({"max", {x}, [&](const auto& in) { return max_pool2d(in[0], halving); }});
    check({"average", {x}, [&](const auto& in) { return avg_pool2d(in[0], halving); }});
    check({.name = "global average",
           .operands = {x},
           .op = [&](const auto& in) { return global_avg_pool(in[0]); },
           .output_dtype = DType::f32});
    check({"overlapping max",
           {x},
           [&](const auto& in) { return max_pool2d(in[0], overlapping); },
           1.0,
           partial_sums});
    check({"overlapping average",
           {x},
           [&](const auto& in) { return avg_pool2d(in[0], overlapping); },
           1.0,
           partial_sums});
  });
}

TEST_CASE("batch norm in all its forms") {
  on_every_bf16_implementation([] {
    for (const Shape& shape : {Shape{3, 5, 4, 6}, Shape{2, 3, 5, 19}, Shape{9, 35}, Shape{5, 8, 8, 64},
                               Shape{34000, 64}})  // the last one's results are written past the caches
      for (const bool training : {true, false})
        for (const bool with_relu : {false, true})
          for (const bool residual : {false, true}) {
            const Shape channels{shape[-1]};
            const Tensor spread_out = to_f32(to_bf16(representable(shape, "x") * 2.0F + 3.0F));
            std::vector<Operand> operands{
                {spread_out, true}, {representable(channels, "gamma")}, {representable(channels, "beta")}};
            if (residual) operands.push_back({representable(shape, "residual"), true});
            check({fmt::format("{} training {} relu {} residual {}", shape.str(), training, with_relu,
                               residual),
                   operands, [&](const auto& in) {
                     BatchNormStatistics running{representable(channels, "mean"),
                                                 square(representable(channels, "variance")) + 0.5F};
                     return batch_norm({{in[0]}, in[1], in[2], in.size() > 3 ? in[3] : Tensor()}, running,
                                       {.training = training,
                                        .activation = with_relu ? Activation::relu : Activation::none});
                   }});
          }
  });
}

TEST_CASE("storing sixteen lanes rounds like one value, NaN and infinities included") {
  std::vector<float> values{0.0F,     -0.0F,     1.00390625F, 1.01171875F, -3.14159F, 1e-40F,  3.4e38F,
                            INFINITY, -INFINITY, NAN,         -NAN,        65280.0F,  -1e-30F, 1.0F};
  for (const std::uint32_t bits :
       {0x7f800001U, 0x7fffffffU, 0xffffffffU, 0x3f808000U, 0x3f818000U, 0x007fffffU})
    values.push_back(std::bit_cast<float>(bits));
  const auto channels = static_cast<std::int64_t>(values.size());
  REQUIRE(channels > 16);  // a group of lanes and some left over
  const Tensor beta = Tensor::from(values, {channels});
  const Tensor rounded = to_bf16(beta);
  // Of an x of zeros, batch norm makes beta.
  const Tensor one = Tensor::full({channels}, 1.0F);
  BatchNormStatistics running{Tensor::zeros({channels}), one.clone()};
  const Tensor y =
      batch_norm({{Tensor::zeros({2, channels}, DType::bf16)}, one, beta, {}}, running, {.training = false});
  for (std::size_t i = 0; i < y.data<bfloat16>().size(); ++i) {
    const float value = values[i % values.size()];
    const auto wanted = static_cast<float>(bfloat16(value));
    const auto found = static_cast<float>(y.data<bfloat16>()[i]);
    CAPTURE(value);
    CHECK(rounded.data<bfloat16>()[i % values.size()] == bfloat16(value));
    if (std::isnan(value))
      CHECK(std::isnan(found));
    else if (std::abs(value) < std::numeric_limits<float>::min())  // subnormal
      CHECK((found == wanted || found == 0.0F));
    else
      CHECK(found == wanted);
  }
}

TEST_CASE("a linear layer takes bf16 and gives f32") {
  on_every_bf16_implementation([] {
    check({.name = "linear",
           .operands = {{representable({5, 35}, "x"), true},
                        {representable({7, 35}, "w")},
                        {representable({7}, "b")}},
           .op = [](const auto& in) { return linear(in[0], in[1], in[2]); },
           .output_dtype = DType::f32});
  });
}

TEST_CASE("what does not compute in bf16, or mixes dtypes, says so") {
  const Tensor x = to_bf16(random_tensor({4, 6}, "x"));
  const Tensor f32 = random_tensor({4, 6}, "f32");
  const auto refuses = [](const auto& call, const char* op) {
    CHECK_THROWS_WITH_AS(call(), doctest::Contains(op), Error);
    CHECK_THROWS_WITH_AS(call(), doctest::Contains("bf16"), Error);
    CHECK_THROWS_WITH_AS(call(), doctest::Contains("f32"), Error);
  };
  refuses([&] { return log_softmax(x); }, "log_softmax");
  refuses([&] { return matmul(x, x, true); }, "matmul");
  refuses([&] { return x + f32; }, "add");
  refuses([&] { return f32 * x; }, "multiply");
  refuses([&] { return x + random_tensor({6}, "row"); }, "add");
  refuses([&] { return std_rows(x); }, "subtract");
  const Tensor images = to_bf16(random_tensor({2, 4, 4, 3}, "images"));
  refuses([&] { return conv2d(images, to_bf16(random_tensor({5, 3, 3, 3}, "w")), {}, {}); }, "conv2d");
  const Tensor row = Tensor::full({6}, 1.0F);
  BatchNormStatistics running{row.clone(), row.clone()};
  refuses([&] { return batch_norm({{x}, to_bf16(row), row, {}}, running, {}); }, "batch_norm");
  refuses([&] { return batch_norm({{x}, row, row, f32}, running, {}); }, "batch_norm");
}

TEST_CASE("the engine refuses a gradient of another dtype than its tensor's") {
  const Tensor x = to_bf16(random_tensor({3}, "x").require_grad());
  const Tensor y =
      record("wrong", x.detach(), {x}, [](const Tensor& dy) -> Gradients { return {to_f32(dy)}; });
  CHECK_THROWS_WITH_AS(backward(y, random_tensor({3}, "dy")), doctest::Contains("bf16"), Error);
  CHECK_THROWS_WITH_AS(backward(y, to_bf16(random_tensor({3}, "dy"))),
                       doctest::Contains("wrong: the gradient of input 0 is f32 instead of bf16"), Error);
}

}  // namespace
}  // namespace generous
