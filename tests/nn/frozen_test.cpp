// Frozen networks: the fused convolution against the ops it stands for, and frozen models against their
// evaluation mode.

#include <cmath>
#include <limits>

#include "core/cpu/eigen_backend.h"
#include "core/random.h"
#include "nn/layers.h"
#include "nn/models/registry.h"
#include "nn/state_dict.h"
#include "tests/core/gradcheck.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

using testing::random_tensor;

/// The largest difference in units of the largest element of `wanted`.
double difference(const Tensor& found, const Tensor& wanted) {
  REQUIRE(found.shape() == wanted.shape());
  double largest = 0.0;
  double error = 0.0;
  for (std::size_t i = 0; i < wanted.data<float>().size(); ++i) {
    const auto value = static_cast<double>(wanted.data<float>()[i]);
    largest = std::max(largest, std::abs(value));
    // The negation counts NaN as a difference.
    const double distance = std::abs(static_cast<double>(found.data<float>()[i]) - value);
    if (!(distance <= error)) error = distance;
  }
  REQUIRE(largest > 0.0);
  return error / largest;
}

bool identical(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.data<float>(), b.data<float>());
}

struct InferenceCase {
  Shape x;       ///< {N, H, W, C}
  Shape weight;  ///< {K, R, S, C/groups}
  Conv2dParams params;
};

// Odd extents, and layers on which the fast paths are.
const InferenceCase cases[] = {
    {{2, 5, 7, 3}, {4, 3, 3, 3}, {.stride = 1, .padding = 1}},
    {{3, 6, 5, 4}, {7, 3, 3, 4}, {.stride = 2, .padding = 1}},
    {{2, 7, 8, 5}, {3, 1, 1, 5}, {.stride = 2}},
    {{2, 8, 6, 6}, {4, 3, 3, 3}, {.stride = 1, .padding = 1, .groups = 2}},
    {{2, 6, 9, 3}, {5, 5, 3, 3}, {.stride = 3, .padding = 2}},
    {{3, 10, 9, 16}, {32, 3, 3, 16}, {.stride = 1, .padding = 1}},
    {{2, 7, 12, 64}, {48, 3, 3, 64}, {.stride = 1, .padding = 1}},
    {{2, 9, 8, 32}, {64, 1, 1, 32}, {.stride = 1}},
    {{2, 9, 8, 32}, {64, 1, 1, 32}, {.stride = 2}},
};

Tensor step_by_step(const Tensor& x, Activation activation) {
  if (activation == Activation::none) return x;
  return activation == Activation::relu6 ? relu6(x) : relu(x);
}

/// What conv2d_inference stands for.
Tensor step_by_step(const Tensor& x, const FrozenFilter& filter, const Conv2dParams& params,
                    const Conv2dEpilogue& epilogue) {
  Tensor y = conv2d(x, filter.weight, filter.bias, params);
  if (epilogue.residual.defined()) y = y + epilogue.residual;
  return step_by_step(y, epilogue.activation);
}

/// Gives batch norms parameters and statistics that a trained network might have. Gammas are random, also
/// negative and very small. The statistics have seen images, for else activations would explode and amplify
/// any rounding error, and are then moved away from them at random.
void randomise_batch_norms(Module& model, const Tensor& images) {
  const auto change = [&model](auto&& changed) {
    for (const StateEntry& entry : model.state()) {
      if (entry.tensor.shape().rank() != 1) continue;
      const Random random(11, entry.name);
      Tensor target = entry.tensor;
      std::uint64_t i = 0;
      for (float& value : target.data<float>()) {
        value = changed(entry.name, value, 2.0F * random.uniform(0, 0, i) - 1.0F, i);
        ++i;
      }
    }
  };
  change([](const std::string& name, float value, float u, std::uint64_t i) {
    if (name.ends_with("bias")) return 0.3F * u;
    if (!name.ends_with("weight")) return value;
    return i % 7 == 3 ? 1e-6F : (i % 5 == 1 ? 0.5F * u - 1.0F : 0.5F * u + 1.0F);
  });
  {
    const NoGrad guard;
    for (int batch = 0; batch < 12; ++batch) model(images);
  }
  change([](const std::string& name, float value, float u, std::uint64_t) {
    if (name.ends_with("running_mean")) return value + 0.1F * u;
    return name.ends_with("running_var") ? value * std::pow(3.0F, u) : value;
  });
}

/// Calls `test` on every implementation of the backend that computes in bf16.
template <class Test>
void on_every_bf16_implementation(Test&& test) {
  on_every_cpu_implementation([&] {
    if (backend(Device::cpu).why_no_bf16().empty()) test();
  });
}

/// Every family, and every kind of block in it.
const std::vector<std::string> every_family{
    "net",         "mlp",       "resnet18",  "resnet50",     "resnet8",    "resnet8x4", "preresnet20",
    "preresnet44", "wrn_10_1",  "wrn_16_2",  "vgg8",         "vgg11_bn",   "resnext29", "mobilenetv2",
    "mobile_half", "shufflev1", "shufflev2", "shufflenetv2", "densenet121"};

/// Few channels and layers where these are settings.
ModelOptions small(const Shape& image) {
  return {.classes = 7,
          .image = image,
          .settings = {{"num_channels", "11"},
                       {"depth", "11"},
                       {"cardinality", "3"},
                       {"widen_factor", "1"},
                       {"ratio", "0.5"}},
          .seed = 2};
}

/// The readable backend, counting the kernels that a frozen model should and should not call.
class CountingBackend final : public EigenBackend {
 public:
  struct Counts {
    int conv2d_inference = 0;
    int batch_norm = 0;
    int add = 0;
    int unary = 0;
  };
  explicit CountingBackend(Counts& counts) : counts_(counts) {}

  void conv2d_inference(const Conv2dParams& params, const Tensor& x, FrozenFilter& filter,
                        const Conv2dEpilogue& epilogue, Tensor& y) override {
    ++counts_.conv2d_inference;
    EigenBackend::conv2d_inference(params, x, filter, epilogue, y);
  }
  void batch_norm_eval(const BatchNormParams& params, const BatchNormInputs& in,
                       const BatchNormStatistics& running, Tensor& y) override {
    ++counts_.batch_norm;
    EigenBackend::batch_norm_eval(params, in, running, y);
  }
  void binary(Binary op, const Tensor& a, const Tensor& b, Tensor& y) override {
    ++counts_.add;
    EigenBackend::binary(op, a, b, y);
  }
  void unary(Unary op, const Tensor& x, Tensor& y) override {
    ++counts_.unary;
    EigenBackend::unary(op, x, y);
  }

 private:
  Counts& counts_;
};

/// The kernels that one forward pass of the frozen model calls.
CountingBackend::Counts kernels_of(const std::string& name) {
  CountingBackend::Counts counts;
  const auto model = make_model(name, {.image = {8, 8, 3}});
  model->freeze();
  const Tensor x = random_tensor({2, 8, 8, 3}, "x");
  const UseCpuBackend guard(std::make_unique<CountingBackend>(counts));
  const NoGrad no_grad;
  (*model)(x);
  return counts;
}

}  // namespace

TEST_CASE("a fused convolution equals the ops it stands for, at every call with the same filter") {
  on_every_cpu_implementation([] {
    for (const InferenceCase& test : cases)
      for (const bool with_bias : {false, true})
        for (const bool with_residual : {false, true})
          for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6}) {
            const std::string name = test.x.str() + " * " + test.weight.str();
            CAPTURE(name);
            CAPTURE(with_bias);
            CAPTURE(with_residual);
            CAPTURE(static_cast<int>(activation));
            FrozenFilter filter{.weight = random_tensor(test.weight, "w" + name),
                                .bias = with_bias ? random_tensor({test.weight[0]}, "b") : Tensor(),
                                .prepared = nullptr};
            for (const std::int64_t batch : {test.x[0], test.x[0] + 3, test.x[0]}) {
              const Tensor x = random_tensor({batch, test.x[1], test.x[2], test.x[3]}, "x" + name);
              const Shape shape = conv2d(x, filter.weight, {}, test.params).shape();
              const Conv2dEpilogue epilogue{.residual = with_residual ? random_tensor(shape, "r") : Tensor(),
                                            .activation = activation};
              const Tensor wanted = step_by_step(x, filter, test.params, epilogue);
              const Tensor before = with_residual ? epilogue.residual.clone() : Tensor();
              CHECK(difference(conv2d_inference(x, filter, test.params, epilogue), wanted) < 2e-6);
              if (with_residual) CHECK(identical(epilogue.residual, before));
            }
          }
  });
}

TEST_CASE("a filter prepared by one backend works with another") {
  const Tensor x = random_tensor({2, 9, 8, 32}, "x");
  FrozenFilter filter{random_tensor({64, 3, 3, 32}, "w"), {}, nullptr};
  const Tensor wanted = conv2d(x, filter.weight, {}, {});
  for (int round = 0; round < 2; ++round)
    on_every_cpu_implementation([&] { CHECK(difference(conv2d_inference(x, filter, {}), wanted) < 2e-6); });
}

TEST_CASE("one filter for images of several sizes, which a backend may want in several forms") {
  on_every_cpu_implementation([] {
    for (const Shape& weight : {Shape{64, 1, 1, 32}, Shape{48, 3, 3, 64}}) {
      const Conv2dParams params{.stride = 2, .padding = weight[1] / 2};
      FrozenFilter filter{random_tensor(weight, "w"), {}, nullptr};
      for (const std::int64_t size : {4, 32, 5, 32, 4}) {
        CAPTURE(size);
        const Tensor x = random_tensor({2, size, size, weight[3]}, "x");
        CHECK(difference(conv2d_inference(x, filter, params), conv2d(x, filter.weight, {}, params)) < 2e-6);
      }
    }
  });
}

TEST_CASE("a fused convolution of bf16 images") {
  constexpr double rounding = 1.0 / 256;  // of one rounding to bf16, at most
  on_every_bf16_implementation([] {
    for (const InferenceCase& test : cases) {
      const std::string name = test.x.str() + " * " + test.weight.str();
      CAPTURE(name);
      // Weights that bf16 holds exactly; a filter that has been used on f32 images before.
      const Tensor weight = cast(cast(random_tensor(test.weight, "w" + name), DType::bf16), DType::f32);
      FrozenFilter filter{weight, random_tensor({test.weight[0]}, "b"), nullptr};
      const Tensor x = cast(random_tensor(test.x, "x" + name), DType::bf16);
      const Tensor y = conv2d_inference(cast(x, DType::f32), filter, test.params);
      const Tensor residual = cast(random_tensor(y.shape(), "r"), DType::bf16);
      const Tensor found =
          conv2d_inference(x, filter, test.params, {.residual = residual, .activation = Activation::relu});
      CHECK(found.dtype() == DType::bf16);
      const Tensor wanted = relu(y + cast(residual, DType::f32));
      // Rounded once or, where the sums are stored before the residual is added, twice.
      CHECK(difference(cast(found, DType::f32), wanted) < 2.0 * rounding);
      CHECK(difference(cast(found, DType::f32), wanted) > 0.0);
    }
  });
}

TEST_CASE("NaN passes through the fused ReLU") {
  on_every_cpu_implementation([] {
    Tensor x = random_tensor({1, 4, 5, 16}, "x");
    x.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
    FrozenFilter filter{random_tensor({16, 3, 3, 16}, "w"), {}, nullptr};
    const Tensor y =
        conv2d_inference(x, filter, {.padding = 1}, {.residual = {}, .activation = Activation::relu});
    CHECK(std::isnan(y.data<float>()[0]));
  });
}

TEST_CASE("a fused convolution refuses gradients and what does not fit") {
  const Tensor x = random_tensor({2, 5, 7, 3}, "x");
  const Tensor weight = random_tensor({4, 3, 3, 3}, "w");
  FrozenFilter filter{weight, {}, nullptr};
  const auto message = [&](const Tensor& image, const Conv2dEpilogue& epilogue) {
    return error_of([&] { conv2d_inference(image, filter, {.padding = 1}, epilogue); });
  };
  CHECK(message(x, {.residual = random_tensor({2, 7, 5, 4}, "r"), .activation = Activation::relu}) ==
        "conv2d_inference: the residual {2, 7, 5, 4} does not fit the output {2, 5, 7, 4}");
  CHECK(message(random_tensor({2, 5, 7, 2}, "x"), {}).find("input channels") != std::string::npos);
  Tensor input = x.clone();
  input.require_grad();
  CHECK(message(input, {}).find("needs a gradient") != std::string::npos);
  Tensor residual = random_tensor({2, 5, 7, 4}, "r");
  residual.require_grad();
  CHECK(message(x, {.residual = residual, .activation = Activation::none}).find("needs a gradient") !=
        std::string::npos);
  filter.weight.require_grad();
  CHECK(message(x, {}).find("needs a gradient") != std::string::npos);
  const NoGrad guard;
  CHECK(message(input, {.residual = residual, .activation = Activation::none}).empty());
}

TEST_CASE("every family computes frozen what it computes in evaluation mode") {
  for (const std::string& name : every_family) {
    CAPTURE(name);
    const ModelOptions options = small({13, 10, 3});
    const Tensor images = random_tensor({3, 13, 10, 3}, "images");
    const Tensor fewer = random_tensor({2, 13, 10, 3}, "fewer");
    const auto model = make_model(name, options);
    randomise_batch_norms(*model, images);
    model->eval();
    const auto frozen = make_model(name, options);
    load_state_dict(*frozen, state_dict(*model), "the model's weights");
    frozen->freeze();
    on_every_cpu_implementation([&] {
      const NoGrad guard;
      const Tensor wanted = (*model)(images);
      CHECK(difference((*frozen)(images), wanted) < 1e-5);
      CHECK(difference((*frozen)(fewer), (*model)(fewer)) < 1e-5);
      CHECK(difference((*frozen)(images), wanted) < 1e-5);  // nothing was overwritten
    });
  }
}

TEST_CASE("a frozen model in bf16 is as near to f32 as evaluation mode in bf16") {
  const Tensor images = random_tensor({16, 13, 10, 3}, "images");
  for (const std::string name :
       {"net", "resnet20", "preresnet20", "wrn_16_2", "resnet8x4", "vgg8", "mobile_half", "shufflenetv2"}) {
    CAPTURE(name);
    const ModelOptions options = small({13, 10, 3});
    const auto model = make_model(name, options);
    randomise_batch_norms(*model, images);
    model->eval();
    const auto frozen = make_model(name, options);
    load_state_dict(*frozen, state_dict(*model), "the model's weights");
    frozen->freeze();
    on_every_bf16_implementation([&] {
      const NoGrad guard;
      const Tensor wanted = (*model)(images);
      const Tensor rounded = cast(images, DType::bf16);
      CHECK(difference((*frozen)(rounded), wanted) < 2.0 * difference((*model)(rounded), wanted));
    });
  }
}

TEST_CASE("frozen models call one kernel for a convolution with all that follows it") {
  // resnet14: stem, 6 blocks of two convolutions, 2 shortcuts; preresnet20: stem, 9 blocks, 2 shortcuts, and
  // the batch norms before each block and the classifier; wrn_10_2: stem, 3 blocks, 3 shortcuts.
  const auto check = [](const std::string& name, int convolutions, int batch_norms) {
    CAPTURE(name);
    const CountingBackend::Counts counts = kernels_of(name);
    CHECK(counts.conv2d_inference == convolutions);
    CHECK(counts.batch_norm == batch_norms);
    CHECK(counts.add == 0);
    CHECK(counts.unary == 0);
  };
  check("resnet14", 1 + 12 + 2, 0);
  check("resnet50", 1 + 48 + 4, 0);
  check("preresnet20", 1 + 18 + 2, 9 + 1);
  check("preresnet44", 1 + 63 + 3, 21 + 1);
  check("wrn_10_2", 1 + 6 + 3, 3 + 1);
  check("net", 3, 1);
  check("vgg11", 8, 0);
  check("vgg11_bn", 8, 0);
  check("resnext29", 1 + 27 + 3, 0);
  check("mobile_half", 1 + 3 * 17 + 1, 0);
  check("mobilenetv2", 1 + 3 * 17 + 2, 0);  // the classifier is a convolution
  check("shufflev1", 1 + 3 * 16, 0);
  check("shufflev2", 1 + 3 * 5 + 13 * 3 + 1, 0);
  check("shufflenetv2", 1 + 3 * 5 + 13 * 3 + 1, 0);
  // The batch norms before a layer's first convolution, in the transitions and at the end.
  check("densenet121", 1 + 2 * 58 + 3, 58 + 3 + 1);
}

TEST_CASE("a sequence folds the batch norm behind a biased convolution") {
  on_every_cpu_implementation([] {
    Sequential body;
    body.append<Conv2d>(Conv2dOptions{.in = 6, .out = 10, .stride = 2, .groups = 2, .bias = true});
    body.append<BatchNorm>(10);
    body.append<ReLU>();
    body.append<Conv2d>(Conv2dOptions{.in = 10, .out = 4, .kernel = 1});
    body.initialise(3);
    const Tensor x = random_tensor({3, 9, 7, 6}, "x");
    randomise_batch_norms(body, x);
    const NoGrad guard;
    body.eval();
    const Tensor wanted = body(x);
    body.freeze();
    CHECK(difference(body(x), wanted) < 2e-6);
  });
}

TEST_CASE("a sequence runs a convolution and all that follows it as one") {
  CountingBackend::Counts counts;
  Sequential body;
  body.append<Conv2d>(Conv2dOptions{.in = 6, .out = 10, .bias = true});
  body.append<BatchNorm>(10);
  body.append<ReLU6>();
  body.append<Conv2d>(Conv2dOptions{.in = 10, .out = 10, .padding = 1, .groups = 10});
  body.append<ReLU>();
  body.append<Conv2d>(Conv2dOptions{.in = 10, .out = 8, .kernel = 1});
  body.append<BatchNorm>(8);
  body.initialise(3);
  const Tensor x = random_tensor({3, 9, 7, 6}, "x") * 9.0F;
  randomise_batch_norms(body, x);
  const Tensor residual = random_tensor({3, 7, 5, 8}, "residual");
  const NoGrad guard;
  body.eval();
  const Tensor sum = body(x) + residual;
  body.freeze();
  for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6}) {
    const Tensor wanted = step_by_step(sum, activation);
    counts = {};
    const UseCpuBackend count(std::make_unique<CountingBackend>(counts));
    CHECK(difference(body.forward(x, {.residual = residual, .activation = activation}), wanted) < 2e-6);
    CHECK(counts.conv2d_inference == 3);
    CHECK(counts.batch_norm + counts.add + counts.unary == 0);
    Tensor before;
    const Ending shown{.residual = residual, .activation = activation, .before_activation = &before};
    CHECK(difference(body.forward(x, shown), wanted) < 2e-6);
    CHECK(difference(before, sum) < 2e-6);
  }
}

TEST_CASE("one frozen convolution under several batch norms") {
  Conv2d conv({.in = 3, .out = 5, .padding = 1});
  conv.initialise(1);
  BatchNorm first(5);
  BatchNorm second(5);
  const Tensor x = random_tensor({2, 6, 7, 3}, "x");
  const Tensor residual = random_tensor({2, 6, 7, 5}, "r");
  const NoGrad guard;
  for (BatchNorm* bn : {&first, &second}) {
    bn->initialise(0);
    (*bn)(conv(x) + (bn == &first ? 1.0F : -2.0F));
    bn->eval();
  }
  const auto outputs = [&] {
    return std::vector<Tensor>{conv_bn_relu(conv, first, x), conv_bn_add_relu(conv, second, x, residual),
                               conv_bn(conv, first, x), conv_add(conv, x, residual), conv(x)};
  };
  const std::vector<Tensor> wanted = outputs();
  for (Module* module : std::initializer_list<Module*>{&conv, &first, &second}) module->freeze();
  const std::vector<Tensor> found = outputs();
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    CAPTURE(i);
    CHECK(difference(found[i], wanted[i]) < 2e-6);
  }
}

TEST_CASE("a frozen model stays as it is") {
  const auto model = make_model("resnet8", {.image = {8, 8, 3}});
  const NamedTensors weights = state_dict(*model);
  CHECK_FALSE(model->frozen());
  model->freeze();
  CHECK(model->frozen());
  CHECK_FALSE(model->training());
  CHECK(error_of([&] { model->train(); }).find("frozen") != std::string::npos);
  CHECK(error_of([&] { model->initialise(1); }).find("frozen") != std::string::npos);
  CHECK(error_of([&] { load_state_dict(*model, weights, "w.safetensors"); }).starts_with("w.safetensors: "));
  CHECK_FALSE(model->training());
  model->eval();
  CHECK(state_dict(*model).size() == weights.size());
}

}  // namespace generous
