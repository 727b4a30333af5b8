// What every network shows beside its logits, against tests/golden/taps.json: where features are taken, of
// which shapes, and which batch norm is before a stage's last ReLU.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "nn/models/registry.h"
#include "nn/state_dict.h"
#include "tests/nn/golden_fill.h"

namespace generous {
namespace {

using nlohmann::json;

const json& taps() {
  static const json file =
      json::parse(std::ifstream(std::string(GENEROUS_SOURCE_DIR) + "/tests/golden/taps.json"));
  return file;
}

/// The models of the file that the project has.
std::vector<std::string> models() {
  const std::vector<std::string> known = model_names();
  std::vector<std::string> names;
  for (const auto& [name, entry] : taps().items())
    if (name.starts_with("wrn_") || std::ranges::count(known, name) == 1) names.push_back(name);
  return names;
}

/// Every family, and every kind of block in it.
const std::vector<std::string> families{"net",         "mlp",         "resnet8",      "resnet50",
                                        "preresnet20", "preresnet44", "wrn_10_2",     "vgg8",
                                        "vgg11_bn",    "resnext29",   "mobilenetv2",  "mobile_half",
                                        "shufflev1",   "shufflev2",   "shufflenetv2", "densenet121"};

/// With batch norms that differ from each other and from the identity.
std::unique_ptr<Network> model_of(const std::string& name) {
  auto model = make_model(name, {.classes = 10});
  for (const StateEntry& entry : model->state())
    if (entry.tensor.shape().rank() == 1) {
      Tensor target = entry.tensor;
      std::ranges::copy(golden_state(entry.name, target.shape()).data<float>(), target.data<float>().begin());
    }
  return model;
}

Tensor images(std::int64_t count) { return nchw_to_nhwc(golden_values("input", {count, 3, 32, 32}, 1.0)); }

/// {C, H, W} of the file.
Shape image_shape(const Tensor& x, std::int64_t count) {
  REQUIRE(x.shape().rank() == 4);
  REQUIRE(x.size(0) == count);
  return {x.size(3), x.size(1), x.size(2)};
}

void check_shapes(const std::vector<Tensor>& found, const json& expected, std::int64_t count) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    CHECK(image_shape(found[i], count).str() ==
          Shape(std::span<const std::int64_t>(expected[i].get<std::vector<std::int64_t>>())).str());
}

/// The full name of a batch norm of the model; "none" for nullptr.
std::string name_of_norm(const BatchNorm* norm, const Module& model) {
  if (norm == nullptr) return "none";
  const void* weight = norm->state().front().tensor.raw();
  for (const StateEntry& entry : model.state())
    if (entry.tensor.raw() == weight) return entry.name.substr(0, entry.name.rfind('.'));
  return "not in the model";
}

/// The largest difference in units of the largest element of `wanted`.
double difference(const Tensor& found, const Tensor& wanted) {
  REQUIRE(found.shape() == wanted.shape());
  double largest = 0.0;
  double error = 0.0;
  for (std::size_t i = 0; i < wanted.data<float>().size(); ++i) {
    const auto value = static_cast<double>(wanted.data<float>()[i]);
    largest = std::max(largest, std::abs(value));
    error = std::max(error, std::abs(static_cast<double>(found.data<float>()[i]) - value));
  }
  REQUIRE(largest > 0.0);
  return error / largest;
}

bool identical(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.data<float>(), b.data<float>());
}

/// What the batch norm does in evaluation mode.
Tensor normalised(const Tensor& x, const BatchNorm& norm) {
  const ChannelMap map = norm.evaluation_map();
  const auto vector = [](const std::vector<double>& values) {
    return Tensor::from(std::vector<float>(values.begin(), values.end()),
                        {static_cast<std::int64_t>(values.size())});
  };
  return x * vector(map.scale) + vector(map.shift);
}

/// A stage's output and what is before its ReLU make each other, as the file's words for the two say.
void check_relation(const Features& features, std::size_t stage, const json& entry) {
  const auto point = entry.at("preact_points")[stage].get<std::string>();
  CAPTURE(point);
  const Tensor& after = features.stages[stage];
  const Tensor& before = features.before_relu[stage];
  if (entry.at("points")[stage] == point) {
    CHECK(identical(before, after));
  } else if (point.find("'s BN") != std::string::npos || point.find(" of ") != std::string::npos) {
    REQUIRE(features.norms[stage] != nullptr);
    CHECK(difference(before, normalised(after, *features.norms[stage])) < 1e-5);
  } else if (point.find("NOT shuffled") != std::string::npos) {
    CHECK(identical(after, channel_shuffle(relu(before), 2)));
  } else {
    CHECK(identical(after, relu(before)));
  }
}

struct Pass {
  Tensor logits;
  Features features;
};

Pass run(Network& model, const Tensor& x, bool wants_before_relu) {
  Pass pass;
  pass.features.wants_before_relu = wants_before_relu;
  pass.logits = model.forward(x, &pass.features);
  return pass;
}

}  // namespace

TEST_CASE(
    "features have the shapes of the reference, before the last ReLUs too; the classifier sees the pooled") {
  const NoGrad guard;
  for (const std::string& name : models()) {
    CAPTURE(name);
    const json& expected = taps().at(name);
    const auto model = model_of(name);
    model->eval();
    const Tensor x = images(2);
    const auto [logits, features] = run(*model, x, true);
    check_shapes(features.stages, expected.at("feats"), 2);
    CHECK(features.pooled.shape() == Shape{2, expected.at("pooled").get<std::int64_t>()});
    CHECK(features.norms.size() == features.stages.size());
    const json& before = expected.at("preact_feats");
    if (!before.is_null()) check_shapes(features.before_relu, before, 2);
    if (!before.is_null())
      for (std::size_t i = 0; i < features.before_relu.size(); ++i) check_relation(features, i, expected);
    CHECK(identical((*model)(x), logits));
    const Classifier classifier = model->classifier();
    const Tensor last = linear(features.pooled, classifier.weight, classifier.bias);
    CHECK(difference(name == "mlp" ? relu(last) : last, logits) < 1e-5);
  }
}

TEST_CASE("where the reference has nothing before the last ReLU") {
  const NoGrad guard;
  for (const std::string name : {"mobilenetv2", "mobile_half"}) {  // a stage does not end in a ReLU
    const auto model = model_of(name);
    const Features features = run(*model, images(2), true).features;
    CHECK(features.before_relu.empty());
    CHECK(name_of_norm(features.norms[1], *model)
              .find(name == "mobile_half" ? "blocks.1.1.conv.7" : "stage2.1.residual.7") == 0);
  }
  const auto model = model_of("shufflenetv2");  // as shufflev2, whose units are the same but for biases
  const Features features = run(*model, images(2), true).features;
  REQUIRE(features.before_relu.size() == 4);
  CHECK(identical(features.before_relu[0], features.stages[0]));
  for (std::size_t i = 1; i < 4; ++i)
    CHECK(identical(features.stages[i], channel_shuffle(relu(features.before_relu[i]), 2)));
}

TEST_CASE("the batch norm before a stage's last ReLU is the reference's") {
  const NoGrad guard;
  for (const std::string& name : models()) {
    const json& entry = taps().at(name);
    if (!entry.contains("bn_before_relu")) continue;
    CAPTURE(name);
    const auto model = make_model(name, {.classes = 10});
    const Features features = run(*model, images(2), false).features;
    CHECK(features.before_relu.empty());
    std::vector<std::string> found;
    for (std::size_t i = 1; i < features.norms.size(); ++i)
      found.push_back(name_of_norm(features.norms[i], *model));
    const json& expected = entry.at("bn_before_relu");
    CHECK(found == (expected.is_null() ? std::vector<std::string>(found.size(), "none")
                                       : expected.get<std::vector<std::string>>()));
    CHECK(features.norms[0] == nullptr);
  }
}

TEST_CASE("a frozen network shows what it shows in evaluation mode") {
  const NoGrad guard;
  for (const std::string& name : families) {
    CAPTURE(name);
    const auto model = model_of(name);
    model->eval();
    const Pass wanted = run(*model, images(2), true);
    const auto frozen = model_of(name);
    frozen->freeze();
    for (const bool before_relu : {true, false}) {
      const Pass found = run(*frozen, images(2), before_relu);
      CHECK(difference(found.logits, wanted.logits) < 1e-4);
      CHECK(difference(found.features.pooled, wanted.features.pooled) < 1e-4);
      for (std::size_t i = 0; i < wanted.features.stages.size(); ++i)
        CHECK(difference(found.features.stages[i], wanted.features.stages[i]) < 1e-4);
      REQUIRE(found.features.before_relu.size() == (before_relu ? wanted.features.before_relu.size() : 0));
      for (std::size_t i = 0; i < found.features.before_relu.size(); ++i)
        CHECK(difference(found.features.before_relu[i], wanted.features.before_relu[i]) < 1e-4);
    }
    CHECK(difference((*frozen)(images(2)), wanted.logits) < 1e-4);
  }
}

TEST_CASE("features change neither logits nor running statistics, and carry gradients") {
  for (const std::string& name : families) {
    CAPTURE(name);
    const auto plain = model_of(name);
    const auto shown = model_of(name);
    const Tensor logits = (*plain)(images(3));
    const auto [found, features] = run(*shown, images(3), true);
    CHECK(identical(found, logits));
    const auto left = plain->state();
    const auto right = shown->state();
    for (std::size_t i = 0; i < left.size(); ++i)
      if (left[i].tensor.dtype() == DType::f32)
        CHECK_MESSAGE(identical(left[i].tensor, right[i].tensor), left[i].name);

    // Every stage's gradient reaches the first parameter.
    std::vector<Tensor> shows = features.stages;
    shows.insert(shows.end(), features.before_relu.begin(), features.before_relu.end());
    shows.push_back(features.pooled);
    Tensor total = sum(found);
    for (const Tensor& x : shows) total = total + sum(square(x));
    backward(total);
    const Tensor gradient = shown->parameters().front().tensor.grad();
    REQUIRE(gradient.defined());
    CHECK(std::ranges::any_of(gradient.data<float>(), [](float g) { return g != 0.0F && std::isfinite(g); }));
  }
}

}  // namespace generous
