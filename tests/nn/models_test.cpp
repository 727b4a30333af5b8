// The registry: names, options, initial weights. (What the models compute: golden_test.cpp.)

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "nn/models/registry.h"
#include "nn/models/wrn.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

std::string model_error(const std::string& name, const ModelOptions& options = {}) {
  return error_of([&] { make_model(name, options); });
}

bool same_weights(const Module& a, const Module& b) {
  const auto left = a.state();
  const auto right = b.state();
  return std::ranges::equal(left, right, [](const StateEntry& x, const StateEntry& y) {
    return x.tensor.dtype() == DType::i64 ||
           std::ranges::equal(x.tensor.data<float>(), y.tensor.data<float>());
  });
}

double standard_deviation(const Tensor& tensor) {
  double squares = 0.0;
  for (const float value : tensor.data<float>())
    squares += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(squares / static_cast<double>(tensor.numel()));
}

}  // namespace

TEST_CASE("a misspelt model is recognised, and one that is not here is not taken for another") {
  for (const auto& [written, meant] : {std::pair{"resnet81", "resnet18"},
                                       {"ResNet18", "resnet18"},
                                       {"resnet-18", "resnet18"},
                                       {"renset18", "resnet18"},
                                       {"resnet8_x4", "resnet8x4"},
                                       {"vgg13bn", "vgg13_bn"},
                                       {"wrn-40-2", "wrn_40_2"},
                                       {"MobileNetV2", "mobilenetv2"}}) {
    const std::string name = written;
    CAPTURE(name);
    CHECK(model_error(name).starts_with(std::string("unknown model '") + written + "'; did you mean '" +
                                        meant + "'? (known: "));
  }
  for (const std::string elsewhere :
       {"resnext50", "resnest50", "resnet26", "mobilenetv3", "efficientnet_b0", "resnet1202", "preresnet",
        "seresnet50", "densenet120", "vgg12_bn", "shufflenetv2_0.75"}) {
    CAPTURE(elsewhere);
    CHECK(model_error(elsewhere).starts_with("unknown model '" + elsewhere + "' (known: "));
  }
  CHECK(model_error("").starts_with("unknown model ''"));
  CHECK(std::ranges::is_sorted(model_names()));
}

TEST_CASE("wide residual networks are parsed strictly") {
  CHECK(parse_wrn("wrn_40_2").depth == 40);
  CHECK(parse_wrn("wrn_28_10").widen_factor == 10);
  for (const std::string name : {"wrn_16",
                                 "wrn_16_",
                                 "wrn__2",
                                 "wrn_16_2_1",
                                 "wrn_16_2 ",
                                 "wrn_ 16_2",
                                 "wrn_+16_2",
                                 "wrn_-16_2",
                                 "wrn_016_2",
                                 "wrn_16_02",
                                 "wrn_16_0",
                                 "wrn_15_2",
                                 "wrn_4_2",
                                 "wrn_1006_2",
                                 "wrn_16_101",
                                 "wrn_16_2x",
                                 "wrn_16_0x2",
                                 "wrn_1e1_2",
                                 "wrn_99999999999999999999_2",
                                 "wrn_D_K"})
    CHECK(model_error(name) ==
          "model '" + name +
              "': expected wrn_D_K with D = 6n + 4 from 10 to 1000 and K from 1 to 100, such as "
              "wrn_40_2");
}

TEST_CASE("options that no model can have") {
  CHECK(model_error("mlp", {.classes = 1}) == "model: 1 classes, expected 2 to 1000000");
  CHECK(model_error("mlp", {.image = {32, 32}}) == "model: images of {32, 32}, expected {H, W, C}");
  CHECK(model_error("mlp", {.image = {32, 0, 3}}) == "model: images of {32, 0, 3}, expected {H, W, C}");
  CHECK(model_error("net", {.settings = {{"num_channels", "0"}}}) ==
        "num_channels must be an integer from 1 to 4096, not '0'");
  CHECK(model_error("net", {.settings = {{"dropout_rate", "-0.5"}}}) ==
        "dropout_rate must be a number from 0 to 0.999, not '-0.5'");
  CHECK(model_error("net", {.image = {32, 7, 3}}) ==
        "net: images of {32, 7, 3} are too small for 3 poolings of 2x2: at least 8x8");
  CHECK(model_error("vgg11_bn", {.image = {7, 32, 3}}) ==
        "vgg11_bn: images of {7, 32, 3} are too small for 3 poolings of 2x2: at least 8x8");
  CHECK(model_error("densenet169", {.image = {32, 4, 3}}) ==
        "densenet169: images of {32, 4, 3} are too small for 3 poolings of 2x2: at least 8x8");
  const auto with = [](const std::string& name, const std::string& key, const std::string& value) {
    return model_error(name, {.settings = {{key, value}}});
  };
  CHECK(with("shufflenetv2", "ratio", "0.75") == "shufflenetv2: ratio is 0.75, expected 0.5, 1, 1.5 or 2");
  CHECK(with("shufflenetv2", "ratio", "4") == "ratio must be a number from 0.5 to 2, not '4'");
  CHECK(with("resnext29", "depth", "30") == "resnext29: depth is 30, expected 9n + 2, such as 29");
  CHECK(with("resnext29", "cardinality", "0") == "cardinality must be an integer from 1 to 64, not '0'");
  CHECK(with("resnext29", "widen_factor", "x") == "widen_factor must be an integer from 1 to 64, not 'x'");
}

TEST_CASE("models take images of other sizes and channels") {
  for (const std::string name :
       {"net", "mlp", "resnet18", "resnet8", "preresnet20", "preresnet44", "wrn_10_2", "vgg8", "vgg8_bn",
        "resnext29", "mobilenetv2", "mobile_half", "shufflev1", "shufflev2", "shufflenetv2", "densenet121"}) {
    for (const Shape& image : {Shape{28, 28, 1}, Shape{64, 64, 3}, Shape{9, 17, 4}}) {
      CAPTURE(name);
      const auto model = make_model(name, {.classes = 6, .image = image, .settings = {{"depth", "11"}}});
      const Tensor logits = model->forward(Tensor::full({2, image[0], image[1], image[2]}, 0.5F));
      CHECK(logits.shape() == Shape{2, 6});
      for (const float value : logits.data<float>()) CHECK(std::isfinite(value));
    }
  }
}

TEST_CASE("net: its width is an option") {
  const auto model =
      make_model("net", {.classes = 6, .image = {16, 24, 3}, .settings = {{"num_channels", "5"}}});
  const auto state = model->state();
  const auto fc1 = std::ranges::find(state, "fc1.weight", &StateEntry::name);
  REQUIRE(fc1 != state.end());
  CHECK(fc1->tensor.shape() == Shape{20, 2 * 3 * 20});
}

TEST_CASE("shufflenetv2: its ratio is a setting, and part of three names") {
  for (const std::string ratio : {"0.5", "1.5", "2"}) {
    const auto named = make_model("shufflenetv2_" + ratio, {.seed = 3});
    const auto set = make_model("shufflenetv2", {.settings = {{"ratio", ratio}}, .seed = 3});
    CHECK(same_weights(*named, *set));
  }
  CHECK(make_model("shufflenetv2", {})->parameter_count() == 1268646);
}

TEST_CASE("resnext29: its settings change depth, groups and width") {
  const auto shape_of = [](const Module& model, const std::string& name) {
    const auto state = model.state();
    const auto it = std::ranges::find(state, name, &StateEntry::name);
    REQUIRE_MESSAGE(it != state.end(), name);
    return it->tensor.shape();
  };
  const auto model =
      make_model("resnext29", {.settings = {{"cardinality", "2"}, {"depth", "20"}, {"widen_factor", "3"}}});
  CHECK(shape_of(*model, "stage_2.stage_2_bottleneck_1.conv_conv.weight") == Shape{2 * 128, 3, 3, 128});
  CHECK(shape_of(*model, "stage_2.stage_2_bottleneck_1.conv_expand.weight") == Shape{3 * 128, 1, 1, 2 * 128});
  CHECK(shape_of(*model, "classifier.weight") == Shape{10, 3 * 256});
  CHECK(std::ranges::none_of(model->state(), [](const StateEntry& entry) {
    return entry.name.starts_with("stage_1.stage_1_bottleneck_2");
  }));
}

TEST_CASE("net: dropout acts in training mode alone") {
  const auto model =
      make_model("net", {.image = {8, 8, 3}, .settings = {{"dropout_rate", "0.5"}}, .seed = 4});
  const auto plain = make_model("net", {.image = {8, 8, 3}, .settings = {{"dropout_rate", "0"}}, .seed = 4});
  Tensor images = Tensor::empty({4, 8, 8, 3});
  float next = 0.0F;
  for (float& value : images.data<float>()) value = std::sin(next += 1.7F);
  const auto differs = [&] {
    return !std::ranges::equal(model->forward(images).data<float>(), plain->forward(images).data<float>());
  };
  CHECK(differs());
  model->eval();
  plain->eval();
  CHECK_FALSE(differs());
}

TEST_CASE("the same seed gives the same weights, another one others") {
  for (const std::string name : {"net", "resnet20", "preresnet20", "wrn_10_1"}) {
    const auto a = make_model(name, {.seed = 5});
    CHECK(same_weights(*a, *make_model(name, {.seed = 5})));
    CHECK_FALSE(same_weights(*a, *make_model(name, {.seed = 6})));
  }
}

TEST_CASE(
    "initial convolutions: N(0, 2 / (k k out)) for the CIFAR families, uniform by fan-in for the others") {
  const auto weight_std = [](const std::string& model, const std::string& name) {
    const auto state = make_model(model, {.seed = 1})->state();
    const auto it = std::ranges::find(state, name, &StateEntry::name);
    REQUIRE(it != state.end());
    return standard_deviation(it->tensor);
  };
  const double fan_out_64 = std::sqrt(2.0 / (9.0 * 64.0));  // 0.0589
  CHECK(weight_std("preresnet20", "layer3.1.conv1.weight") == doctest::Approx(fan_out_64).epsilon(0.02));
  CHECK(weight_std("preresnet20", "layer3.0.conv1.weight") == doctest::Approx(fan_out_64).epsilon(0.02));
  CHECK(weight_std("resnet20", "layer3.0.conv1.weight") == doctest::Approx(fan_out_64).epsilon(0.02));
  CHECK(weight_std("wrn_16_1", "block3.layer.0.conv1.weight") == doctest::Approx(fan_out_64).epsilon(0.02));
  CHECK(weight_std("wrn_16_1", "block3.layer.0.convShortcut.weight") ==
        doctest::Approx(std::sqrt(2.0 / 64.0)).epsilon(0.05));
  CHECK(weight_std("wrn_16_1", "fc.bias") == 0.0);
  const double fan_in_64 = 1.0 / std::sqrt(3.0 * 9.0 * 64.0);  // 0.0241
  CHECK(weight_std("resnet18", "layer2.0.conv1.weight") == doctest::Approx(fan_in_64).epsilon(0.02));
  CHECK(weight_std("net", "conv3.weight") == doctest::Approx(fan_in_64).epsilon(0.02));

  const auto fan_out = [](double sums) { return doctest::Approx(std::sqrt(2.0 / sums)).epsilon(0.02); };
  CHECK(weight_std("vgg8_bn", "block2.0.weight") == fan_out(9 * 256));
  CHECK(weight_std("vgg8_bn", "block2.0.bias") == 0.0);
  CHECK(weight_std("vgg8_bn", "classifier.weight") == doctest::Approx(0.01).epsilon(0.03));
  CHECK(weight_std("vgg8_bn", "classifier.bias") == 0.0);
  CHECK(weight_std("mobile_half", "blocks.6.0.conv.0.weight") == fan_out(480));
  CHECK(weight_std("mobile_half", "blocks.6.0.conv.3.weight") == fan_out(9 * 480));
  CHECK(weight_std("mobile_half", "classifier.0.weight") == doctest::Approx(0.01).epsilon(0.03));
  CHECK(weight_std("mobile_half", "classifier.0.bias") == 0.0);
  CHECK(weight_std("resnext29", "stage_1.stage_1_bottleneck_1.conv_conv.weight") == fan_out(9 * 512));
  CHECK(weight_std("resnext29", "classifier.weight") == fan_out(1024));
  CHECK(weight_std("resnext29", "classifier.bias") == 0.0);
  const auto fan_in = [](double sums) { return doctest::Approx(1.0 / std::sqrt(3.0 * sums)).epsilon(0.03); };
  CHECK(weight_std("mobilenetv2", "stage7.residual.3.weight") == fan_in(9));
  CHECK(weight_std("mobilenetv2", "stage7.residual.3.bias") == fan_in(9));
  CHECK(weight_std("mobilenetv2", "conv2.weight") == fan_in(1280));
  CHECK(weight_std("shufflenetv2", "stage4.1.residual.0.weight") == fan_in(232));
  CHECK(weight_std("shufflev1", "layer3.1.conv3.weight") == fan_in(80));
  CHECK(weight_std("shufflev2", "layer3.1.conv1.weight") == fan_in(232));
  CHECK(weight_std("densenet121", "features.transition_layer_1.down_sample.1.weight") == fan_in(512));
}

}  // namespace generous
