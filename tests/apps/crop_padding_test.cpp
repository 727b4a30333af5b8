// How far crops of the training images may move: in proportion to their size, or as given, and of an older
// run as it began.
#include "data/dataset.h"
#include "tests/apps/run_checks.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

/// `text` without the line of this key.
std::string without(std::string text, const std::string& key) {
  const std::size_t begin = text.find(fmt::format("    \"{}\"", key));
  REQUIRE(begin != std::string::npos);
  return text.erase(begin, text.find('\n', begin) + 1 - begin);
}

std::string padding_of(const fs::path& run) {
  return read_safetensors(run / "training_state.safetensors").metadata.at("crop_padding");
}

}  // namespace

TEST_CASE("the crop padding of a dataset is in proportion to the shorter side of its images") {
  const auto padding = [](const char* dataset, const Shape& image) {
    return crop_padding_for(dataset_info(dataset), image);
  };
  CHECK(padding("cifar10", {32, 32, 3}) == 4);
  CHECK(padding("cifar100", {64, 64, 3}) == 8);
  CHECK(padding("fashion_mnist", {28, 28, 1}) == 2);
  CHECK(padding("fashion_mnist", {64, 64, 1}) == 5);
  CHECK(padding("tiny_imagenet", {96, 96, 3}) == 0);
  CHECK(padding("class_folders", {32, 32, 3}) == 4);
  CHECK(padding("class_folders", {64, 40, 3}) == 5);
  CHECK(padding("class_folders", {16, 24, 1}) == 2);
}

TEST_CASE(
    "a run has its padding in its state, as given or in proportion; one from before goes on as it began") {
  const TemporaryFolder folder;
  make_images(folder / "images");  // 16 rows, 24 columns
  const auto flags = [&](const char* run, const Arguments& more) {
    return small_run(folder / "images", folder / run) + Arguments{"--num_epochs", "2"} + more;
  };
  completes("train_standard", flags("own", {}));
  CHECK(padding_of(folder / "own") == "2");
  CHECK_FALSE(contains(read_file(folder / "own" / "params.json"), "crop_padding"));
  const Arguments as_before = {"--crop_padding", "4"};  // an older program had CIFAR's for every size
  completes("train_standard", flags("straight", as_before));
  CHECK(padding_of(folder / "straight") == "4");
  const auto weights = [&](const char* run) {
    return read_safetensors(folder / run / "last_model.safetensors").tensors.at(0).second;
  };
  CHECK_FALSE(std::ranges::equal(weights("own").data<float>(), weights("straight").data<float>()));

  completes("train_standard", flags("older", as_before + Arguments{"--max_steps", "3"}));
  change_metadata(folder / "older" / "training_state.safetensors", [](auto& metadata) {
    metadata.erase("crop_padding");
    metadata["config"] = without(metadata["config"], "crop_padding");
  });
  const fs::path params = folder / "older" / "params.json";
  write_text(params, without(read_file(params), "crop_padding"));
  completes("train_standard", {"--save_path", (folder / "older").string(), "--resume", "--max_steps", "0"});
  CHECK(std::ranges::equal(weights("older").data<float>(), weights("straight").data<float>()));

  refuses("train_standard", flags("far", {"--crop_padding", "17"}),
          {"crop_padding: 17 pixels", "16 x 24", "at most 16"});
  refuses("train_standard",
          {"--save_path", (folder / "own").string(), "--resume", "--num_epochs", "3", "--crop_padding", "3"},
          {"crop_padding was", "now it is"});
  for (const char* wrong : {"-1", "4097", "2.5", "four", ""}) {
    CAPTURE(wrong);
    CHECK(run_app("train_standard", flags("wrong", {fmt::format("--crop_padding={}", wrong)})).exit_code ==
          2);
  }
}
