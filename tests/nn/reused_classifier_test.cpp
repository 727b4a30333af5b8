// A student that ends in its teacher's classifier.

#include "nn/reused_classifier.h"

#include "nn/distill/methods.h"
#include "nn/models/registry.h"
#include "nn/state_dict.h"
#include "tests/core/gradcheck.h"

namespace generous {
namespace {

using testing::random_tensor;

constexpr std::int64_t classes = 7;
const Shape image{32, 32, 3};

ReusedClassifierOptions options_with(std::int64_t height, std::int64_t width) {
  return {.in = 64, .channels = 10, .factor = 2, .height = height, .width = width, .classes = classes};
}

std::unique_ptr<Network> backbone() {
  return make_model("resnet8", {.classes = classes, .image = image, .seed = 4});
}

Classifier some_classifier() {
  return {.weight = random_tensor({classes, 10}, "weight"), .bias = random_tensor({classes}, "bias")};
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double largest = 0.0;
  for (std::size_t i = 0; i < a.data<float>().size(); ++i)
    largest = std::max(largest, static_cast<double>(std::abs(a.data<float>()[i] - b.data<float>()[i])));
  return largest;
}

}  // namespace

TEST_CASE("the logits are the teacher's classifier on the mean of the projected last stage") {
  const NoGrad no_grad;
  const Tensor x = random_tensor({3, 32, 32, 3}, "x");
  const Classifier classifier = some_classifier();
  for (const std::int64_t size : {8, 5}) {  // the student's own is 8
    CAPTURE(size);
    ReusedClassifier network(backbone(), options_with(size, size));
    network.head().initialise(3);
    network.head().reuse(classifier);
    network.eval();
    const std::unique_ptr<Network> alone = backbone();
    alone->eval();
    Features own;
    alone->forward(x, &own);
    const Tensor last = own.stages.back();
    REQUIRE(last.size(1) == 8);

    Features features;
    const Tensor logits = network.forward(x, &features);
    CHECK(logits.shape() == Shape{3, classes});
    CHECK(features.stages.back().shape() == Shape{3, size, size, 10});
    CHECK(features.stages.size() == own.stages.size());
    CHECK(features.norms.size() == own.norms.size());
    Projector projector(64, 10, 2);
    NamedTensors values;
    for (const auto& [name, tensor] : state_dict(network.head()))
      if (name.starts_with("transfer.")) values.emplace_back(name.substr(9), tensor);
    load_state_dict(projector, values, "the head");
    projector.eval();
    const Tensor projected = projector(adaptive_avg_pool2d(last, size, size));
    CHECK(largest_difference(features.stages.back(), projected) == 0.0);
    const Tensor wanted = linear(global_avg_pool(projected), classifier.weight, classifier.bias);
    CHECK(largest_difference(logits, wanted) == 0.0);
    CHECK(largest_difference(network(x), logits) == 0.0);
    network.freeze();
    CHECK(largest_difference(network(x), logits) < 1e-4);
  }
}

TEST_CASE("the projector is trained, the reused classifier and the student's own are not") {
  ReusedClassifier network(backbone(), options_with(8, 8));
  network.head().initialise(3);
  network.head().reuse(some_classifier());
  backward(cross_entropy(network(random_tensor({2, 32, 32, 3}, "x")),
                         Tensor::from(std::vector<std::int64_t>{1, 5}, {2})));
  for (const StateEntry& entry : network.state()) {
    CAPTURE(entry.name);
    const bool reused = entry.name.starts_with("head.classifier.");
    if (reused) CHECK_FALSE(entry.trainable);
    if (entry.trainable) CHECK(entry.tensor.grad().defined() == !entry.name.starts_with("backbone.fc."));
  }
  CHECK(largest_difference(network.classifier().weight, some_classifier().weight) == 0.0);
}

TEST_CASE(
    "SimKD builds the student that it trains, and refuses a teacher whose classifier sees something else") {
  const std::unique_ptr<Method> method = make_method("simkd");
  const auto outputs = [](Network& network) {
    const NoGrad no_grad;
    network.eval();
    Outputs said;
    said.logits = network.forward(Tensor::zeros({1, 32, 32, 3}), &said.features);
    said.classifier = network.classifier();
    return said;
  };
  const auto built_with = [&](const std::string& teacher) {
    std::unique_ptr<Network> student = backbone();
    const std::unique_ptr<Network> of = make_model(teacher, {.classes = classes, .image = image, .seed = 5});
    const Outputs of_student = outputs(*student);
    return method->student(std::move(student), of_student, outputs(*of), 6);
  };
  CHECK(built_with("wrn_10_2")->classifier().weight.shape() == Shape{classes, 128});
  CHECK_THROWS_WITH_AS(
      built_with("shufflenetv2_0.5"),
      "simkd: the teacher's classifier takes 1024 channels, its last stage {1, 4, 4, 192} has "
      "others: it cannot be reused behind that",
      Error);
}

}  // namespace generous
