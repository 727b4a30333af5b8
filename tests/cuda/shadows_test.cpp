// Weights rounded to bf16 and kept: whatever writes a weight, the next convolution goes by what it holds now.

#include <doctest/doctest.h>

#include <functional>

#include "apps/training/train_step.h"
#include "core/functors.h"
#include "nn/distill/none.h"
#include "nn/models/registry.h"
#include "tests/cuda/differences.h"

namespace generous {
namespace {

Backend& gpu() { return backend(Device::cuda); }

/// Of a convolution's weight; the shadow of the second one has zeros beside it (cuda/padding.h).
const Shape weight_shapes[] = {{8, 3, 3, 8}, {8, 3, 3, 3}};
const Shape weight_shape = weight_shapes[0];

Tensor on_gpu(const Shape& shape, const std::string& name) {
  return testing::random_tensor(shape, name).to(Device::cuda);
}

Tensor images(std::int64_t channels) { return cast(on_gpu({2, 6, 5, channels}, "images"), DType::bf16); }

std::vector<float> values(const Tensor& x) {
  const Tensor host = cast(x.detach(), DType::f32).to(Device::cpu);
  return {host.data<float>().begin(), host.data<float>().end()};
}

std::vector<float> convolved(const Tensor& weight) {
  const NoGrad no_grad;
  return values(conv2d(images(weight.size(3)), weight, {}, {.padding = 1}));
}

/// By a tensor that has no past.
std::vector<float> wanted(const Tensor& weight) { return convolved(weight.detach().clone()); }

/// All that writes to a tensor of f32 of this shape.
std::vector<std::pair<std::string, std::function<void(Tensor&)>>> writers(const Shape& shape) {
  const Tensor other = on_gpu(shape, "other");
  const Tensor left = on_gpu({8, 8}, "left");
  const Tensor rate = Tensor::full({}, 0.5F, Device::cuda);
  const auto state = [=] { return Tensor::zeros(shape, DType::f32, Device::cuda); };
  const auto flat = [](const Tensor& x) { return x.view({8, x.numel() / 8}); };
  return {{"fill", [](Tensor& w) { gpu().fill(w, 0.25); }},
          {"copy", [=](Tensor& w) { gpu().copy(other, w); }},
          {"copy_from_host", [](Tensor& w) { gpu().copy_from_host(Tensor::full(w.shape(), 2.0F).raw(), w); }},
          {"cast", [=](Tensor& w) { gpu().cast(cast(other, DType::bf16), w); }},
          {"unary", [=](Tensor& w) { gpu().unary(Unary::square, other, w); }},
          {"binary", [=](Tensor& w) { gpu().binary(Binary::add, other, w, w); }},
          {"affine", [](Tensor& w) { gpu().affine(w, 3.0F, 0.5F, w); }},
          {"accumulate", [=](Tensor& w) { gpu().accumulate(other, w); }},
          {"broadcast", [=](Tensor& w) { gpu().broadcast(rate, w); }},
          {"gemm into a view",
           [=](Tensor& w) {
             Tensor matrix = flat(w);
             gpu().gemm({}, left, flat(other), matrix);
           }},
          {"sgd_step",
           [=](Tensor& w) {
             gpu().sgd_step({}, rate, std::vector<SgdUpdate>{{other, {}, w}});
           }},
          {"sgd_step of bf16",
           [=](Tensor& w) {
             gpu().sgd_step({.momentum = 0.9F}, rate,
                            std::vector<SgdUpdate>{{cast(other, DType::bf16), state(), w}});
           }},
          {"adam_step",
           [=](Tensor& w) {
             gpu().adam_step({}, rate,
                             std::vector<AdamUpdate>{{cast(other, DType::bf16), state(), state(), w,
                                                      Tensor::zeros({}, DType::i64, Device::cuda)}});
           }},
          {"load", [](Tensor& w) {
             const StateEntry entry{.name = "w", .tensor = w, .trainable = true, .init = {}, .layout = {}};
             load_state_dict({entry}, {{"w", Tensor::full(w.shape(), -1.5F)}}, "a test");
           }}};
}

TEST_CASE("whatever writes a weight, the next convolution in bf16 has it") {
  for (const Shape& shape : weight_shapes)
    for (const auto& [name, write] : writers(shape)) {
      CAPTURE(name);
      Tensor weight = on_gpu(shape, "weight");
      const std::vector<float> before = convolved(weight);
      CHECK(convolved(weight) == before);
      write(weight);
      CHECK(convolved(weight) != before);
      CHECK(convolved(weight) == wanted(weight));
    }
}

TEST_CASE("the same for writes between replays of a convolution") {
  for (const Shape& shape : weight_shapes)
    for (const auto& [name, write] : writers(shape)) {
      CAPTURE(name);
      Tensor weight = on_gpu(shape, "weight");
      const Tensor x = images(shape[3]);
      Tensor y = Tensor::empty({2, 6, 5, 8}, DType::bf16, Device::cuda);
      gpu().conv2d({.padding = 1}, x, weight, {}, y);
      const auto recorded = gpu().record([&] { gpu().conv2d({.padding = 1}, x, weight, {}, y); });
      write(weight);
      recorded->replay();
      CHECK(values(y) == wanted(weight));
    }
}

TEST_CASE("the same for writes by replays, whether their recording knew a shadow or not") {
  for (const Shape& shape : weight_shapes)
    for (const bool known : {false, true})
      for (const auto& [name, write] : writers(shape)) {
        if (name == "copy_from_host" || name == "load") continue;  // not to be recorded
        CAPTURE(name);
        CAPTURE(known);
        Tensor weight = on_gpu(shape, "weight");
        write(weight);
        if (known) convolved(weight);
        const auto recorded = gpu().record([&] { write(weight); });
        CHECK(convolved(weight) == wanted(weight));
        for (int i = 0; i < 2; ++i) {
          recorded->replay();
          CHECK(convolved(weight) == wanted(weight));
        }
      }
}

TEST_CASE("a shadow that a failed recording was to make is not believed") {
  const NoGrad no_grad;
  const Tensor weight = on_gpu(weight_shape, "weight");
  const Tensor x = images(weight_shape[3]);
  convolved(on_gpu(weight_shape, "another"));  // plans, and leaves other numbers in free memory
  CHECK_THROWS_WITH_AS(gpu().record([&] {
    conv2d(x, weight, {}, {.padding = 1});
    fail("a test");
  }),
                       "a test", Error);
  const std::vector<float> found = convolved(weight);
  CHECK(found == wanted(weight));
}

TEST_CASE("a weight's gradient is kept in bf16 where it came so, and is f32 to all who ask for it") {
  gpu().choose_algorithms({.deterministic = true});
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Tensor weight = on_gpu(weight_shape, "weight").require_grad();
    const auto loss = [&](const std::string& name) {
      return sum(cast(conv2d(cast(on_gpu({2, 6, 5, 8}, name), dtype), weight, {}, {}), DType::f32));
    };
    backward(loss("one"));
    CHECK(weight.grad_as_kept().dtype() == dtype);
    const std::vector<float> one = values(weight.grad_as_kept());
    CHECK(weight.grad().dtype() == DType::f32);
    CHECK(values(weight.grad()) == one);
    weight.clear_grad();
    backward(loss("two"));
    const std::vector<float> two = values(weight.grad_as_kept());
    backward(loss("one"));
    CHECK(weight.grad_as_kept().dtype() == DType::f32);
    std::vector<float> both;
    for (std::size_t i = 0; i < one.size(); ++i) both.push_back(one[i] + two[i]);
    CHECK(values(weight.grad()) == both);  // exact: no sum is rounded to bf16
  }
  gpu().choose_algorithms({});
}

TEST_CASE("recorded steps of bf16 training equal steps by hand, whatever happens to the weights in between") {
  const auto train = [](bool record) {
    const auto model = make_model("resnet8", {.classes = 5, .device = Device::cuda});
    const auto optimizer = make_sgd(*model, {});
    const auto method = make_none();
    WeightAverage average(*model, 0.5);
    TrainStep step({*model, nullptr, *method}, *optimizer,
                   {.dtype = DType::bf16, .device = Device::cuda, .record = record, .batch_size = 2},
                   &average);
    const Batch batch{on_gpu({2, 32, 32, 3}, "batch"), Tensor::zeros({2}, DType::i64, Device::cuda)};
    optimizer->set_learning_rate(0.05F);
    step.start_epoch(0);
    std::vector<float> losses;
    const auto evaluate = [&] {
      const NoGrad no_grad;
      model->eval();
      losses.push_back(sum((*model)(cast(batch.images, DType::bf16))).item());
      model->train();
    };
    const NamedTensors start = state_dict(*model);
    for (std::int64_t i = 0; i < 12; ++i) {
      losses.push_back(step.run(batch, i).read().loss);
      if (i % 3 == 1) evaluate();
      if (i % 4 == 2) {
        average.exchange();
        evaluate();
        average.exchange();
      }
      if (i == 7) load_state_dict(*model, start, "a test");
    }
    return losses;
  };
  gpu().choose_algorithms({.deterministic = true});
  CHECK(train(true) == train(false));
  gpu().choose_algorithms({});
}

}  // namespace
}  // namespace generous
