// What --list prints.
#include "apps/training/listing.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <map>
#include <utility>

#include "core/error.h"
#include "tests/apps/run_checks.h"

using namespace generous;

namespace {

/// The line of the list that begins with this name.
std::string line_of(const std::string& list, const std::string& name, const std::string& dataset = "") {
  static std::map<std::pair<std::string, std::string>, std::string> lists;  // every model is made for one
  auto& whole = lists[{list, dataset}];
  if (whole.empty()) whole = ListSettings{list}.text(dataset);
  const std::string text = "\n" + whole;
  const std::size_t begin = text.find(fmt::format("\n{} ", name));
  REQUIRE(begin != std::string::npos);
  return text.substr(begin + 1, text.find('\n', begin + 1) - begin - 1);
}

}  // namespace

TEST_CASE("models: parameters and multiply-adds at the dataset's size") {
  // net by hand: three 3x3 convolutions at 32, 16 and 8 pixels, then two linear layers.
  const std::int64_t net =
      32 * 32 * 32 * 27 + 16 * 16 * 64 * 9 * 32 + 8 * 8 * 128 * 9 * 64 + 128 * (4 * 4 * 128) + 10 * 128;
  CHECK(contains(line_of("models", "net"), fmt::format(" {} multiply-adds", net)));
  // resnet20: 40.8 million, as published for CIFAR-10.
  CHECK(contains(line_of("models", "resnet20"), " 272474 parameters       40813184 multiply-adds"));
  // 64 x 64 pixels are four times the convolutions, and there are 200 classes.
  const std::int64_t tiny = 4 * (40813184 - 640) + 64 * 200;
  CHECK(contains(line_of("models", "resnet20", "tiny_imagenet"), fmt::format(" {} ", tiny)));
}

TEST_CASE("datasets: sizes and folders; methods: papers and defaults") {
  CHECK(contains(line_of("datasets", "cifar100"),
                 "50000 training and 10000 test images of 32 x 32 x 3, 100 classes; datasets/cifar100"));
  CHECK(contains(line_of("datasets", "class_folders"), "--data_dir"));
  CHECK(contains(line_of("methods", "kd"), "2015; temperature 4.0, alpha 0.9"));
  CHECK(contains(line_of("methods", "generous"),
                 "2024; knowledge nckd, temperature_mode std, Tn 1.0, alpha 1.0, warmup 20"));
  CHECK_FALSE(contains(line_of("methods", "generous"), "weight"));  // accepted, and without effect
}

TEST_CASE("a training program lists instead of training, and refuses what it does not know") {
  const Finished listed = run_app("train_kd", {"--list", "methods"});
  CHECK(listed.exit_code == 0);
  CHECK(listed.out == ListSettings{"methods"}.text(""));
  CHECK(run_app("train_kd", {"--list", "method"}).exit_code == 2);
  CHECK(run_app("train_kd", {"--list", "methods", "--shuffel", "1"}).exit_code == 2);
}
