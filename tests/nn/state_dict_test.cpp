// The boundary between memory and disk: layouts by their index formulas, round trips, what mismatches say.

#include "nn/state_dict.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "nn/models/registry.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

/// 0, 1, 2, ...
Tensor counting(const Shape& shape) {
  Tensor tensor = Tensor::empty(shape);
  float next = 0.0F;
  for (float& value : tensor.data<float>()) value = next++;
  return tensor;
}

bool same(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  return a.dtype() == DType::i64 ? std::ranges::equal(a.data<std::int64_t>(), b.data<std::int64_t>())
                                 : std::ranges::equal(a.data<float>(), b.data<float>());
}

std::string load_error(Module& module, const NamedTensors& tensors) {
  return error_of([&] { load_state_dict(module, tensors, "w.safetensors"); });
}

}  // namespace

TEST_CASE("convolution weights are OIHW on disk, images NCHW") {
  const Tensor memory = counting({2, 3, 4, 5});  // O, H, W, I
  const Tensor disk = to_disk_layout(memory, DiskLayout::ohwi());
  REQUIRE(disk.shape() == Shape{2, 5, 3, 4});
  for (std::size_t o = 0; o < 2; ++o)
    for (std::size_t h = 0; h < 3; ++h)
      for (std::size_t w = 0; w < 4; ++w)
        for (std::size_t i = 0; i < 5; ++i)
          REQUIRE(disk.data<float>()[((o * 5 + i) * 3 + h) * 4 + w] ==
                  memory.data<float>()[((o * 3 + h) * 4 + w) * 5 + i]);
  CHECK(same(from_disk_layout(disk, DiskLayout::ohwi()), memory));
  CHECK(same(nhwc_to_nchw(memory), disk));
  CHECK(same(nchw_to_nhwc(disk), memory));
}

TEST_CASE("columns of a linear weight on flattened images are in C, H, W order on disk") {
  const DiskLayout layout = DiskLayout::flattened_hwc({3, 4, 5});
  const Tensor memory = counting({2, 60});
  const Tensor disk = to_disk_layout(memory, layout);
  REQUIRE(disk.shape() == Shape{2, 60});
  for (std::size_t out = 0; out < 2; ++out)
    for (std::size_t h = 0; h < 3; ++h)
      for (std::size_t w = 0; w < 4; ++w)
        for (std::size_t c = 0; c < 5; ++c)
          REQUIRE(disk.data<float>()[out * 60 + (c * 3 + h) * 4 + w] ==
                  memory.data<float>()[out * 60 + (h * 4 + w) * 5 + c]);
  CHECK(same(from_disk_layout(disk, layout), memory));
}

TEST_CASE("a state dict is a copy, and goes through a file into another model unchanged") {
  const TemporaryFolder folder;
  for (const std::string name : {"net", "preresnet20", "wrn_10_1"}) {
    CAPTURE(name);
    const auto model = make_model(name, {.classes = 7, .image = {12, 8, 2}, .seed = 1});
    const NamedTensors saved = state_dict(*model);
    write_safetensors(folder / "w.safetensors", saved);
    const auto other = make_model(name, {.classes = 7, .image = {12, 8, 2}, .seed = 2});
    REQUIRE_FALSE(same(state_dict(*other)[0].second, saved[0].second));
    load_state_dict(*other, read_safetensors(folder / "w.safetensors").tensors, "w.safetensors");
    const NamedTensors loaded = state_dict(*other);
    REQUIRE(loaded.size() == saved.size());
    for (std::size_t i = 0; i < saved.size(); ++i) {
      CHECK(loaded[i].first == saved[i].first);
      CHECK_MESSAGE(same(loaded[i].second, saved[i].second), saved[i].first);
    }

    model->state()[0].tensor.data<float>()[0] += 1.0F;
    CHECK(same(state_dict(*other)[0].second, saved[0].second));
    CHECK_FALSE(same(state_dict(*model)[0].second, saved[0].second));
  }
}

TEST_CASE("mismatches are listed by kind, name and shape, and change nothing") {
  const auto model = make_model("mlp", {.classes = 4, .image = {2, 3, 1}});
  const NamedTensors before = state_dict(*model);
  NamedTensors good = before;
  for (auto& [name, tensor] : good) tensor = Tensor::full(tensor.shape(), 0.5F);

  NamedTensors bad = good;
  bad.pop_back();
  CHECK(load_error(*model, bad) == "w.safetensors: not the expected tensors; missing: fc3.bias");

  bad = good;
  bad.emplace_back("fc4.bias", Tensor::zeros({3}));
  CHECK(load_error(*model, bad) == "w.safetensors: not the expected tensors; unexpected: fc4.bias");

  bad = good;
  bad[4].second = Tensor::zeros({10, 512});
  bad[5].second = Tensor::zeros({4}, DType::i64);
  CHECK(load_error(*model, bad) ==
        "w.safetensors: not the expected tensors; different: fc3.weight is f32 {10, 512}, expected f32 {4, "
        "512}, "
        "fc3.bias is i64 {4}, expected f32 {4}");

  bad = good;
  bad[0].first = "fc0.weight";
  bad[2].second = Tensor::zeros({512 * 512});
  CHECK(load_error(*model, bad) ==
        "w.safetensors: not the expected tensors; missing: fc1.weight; unexpected: fc0.weight; different: "
        "fc2.weight "
        "is f32 {262144}, expected f32 {512, 512}");

  const NamedTensors after = state_dict(*model);
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(same(after[i].second, before[i].second));
  CHECK(load_error(*model, good) == "");
  CHECK(model->state()[3].tensor.data<float>()[0] == 0.5F);
}

TEST_CASE("long lists of differences are cut and counted") {
  const auto model = make_model("preresnet20", {.image = {8, 8, 3}});
  const std::string error = load_error(*model, {});
  CHECK(error ==
        "w.safetensors: not the expected tensors; missing: conv1.weight, layer1.0.bn1.weight, "
        "layer1.0.bn1.bias, "
        "layer1.0.bn1.running_mean, layer1.0.bn1.running_var and 113 more");
}

TEST_CASE("convolution weights are compared in the file's layout") {
  const auto model = make_model("resnet8", {.image = {8, 8, 3}});
  NamedTensors tensors = state_dict(*model);
  tensors[0].second = Tensor::zeros({16, 3, 3, 1});
  CHECK(load_error(*model, tensors) ==
        "w.safetensors: not the expected tensors; different: conv1.weight is f32 {16, 3, 3, 1}, expected f32 "
        "{16, 3, 3, 3}");
}

}  // namespace generous
