// Which network weights are of, by their names and shapes alone.
#include "apps/training/fitting_models.h"

#include <doctest/doctest.h>

#include "nn/models/registry.h"
#include "nn/state_dict.h"

using namespace generous;

namespace {

using Names = std::vector<std::string>;

NamedTensors weights_of(const std::string& model, const ModelOptions& options) {
  return state_dict(*make_model(model, options));
}

}  // namespace

TEST_CASE("weights fit the model that they are of, and no other") {
  for (const std::string model : {"resnet14", "resnet8x4", "preresnet20", "resnet18", "wrn_16_3", "vgg8",
                                  "vgg8_bn", "mobilenetv2", "shufflev1", "shufflenetv2_0.5"}) {
    CAPTURE(model);
    CHECK(models_that_fit(weights_of(model, {.classes = 7})) == Names{model});
  }
  // For grey images, and of models whose shapes follow from the image's size.
  CHECK(models_that_fit(weights_of("resnet8", {.classes = 5, .image = {40, 24, 1}})) == Names{"resnet8"});
  for (const Shape& image : {Shape{28, 28, 1}, Shape{64, 64, 3}})
    for (const std::string model : {"net", "mlp"})
      CHECK(models_that_fit(weights_of(model, {.classes = 3, .image = image})) == Names{model});
}

TEST_CASE("other weights fit none") {
  CHECK(models_that_fit({}).empty());
  NamedTensors weights = weights_of("resnet8", {.classes = 7});
  SUBCASE("a tensor is missing") { weights.erase(weights.begin()); }
  SUBCASE("there is one more") { weights.emplace_back("more", Tensor::zeros({2})); }
  SUBCASE("one has another shape") { weights.front().second = Tensor::zeros({16, 3, 3, 5}); }
  SUBCASE("one has another name") { weights.front().first = "conv2.weight"; }
  CHECK(models_that_fit(weights).empty());
}
