#!/usr/bin/env bash
# Rehearses "How to add" of CONTRIBUTING.md: takes its steps in a copy of the tree, for a layer, a model, a method, a
# dataset and an op, builds what they concern and runs the suites.
#   bash tests/how_to_add/run.sh [FOLDER]     the copy is FOLDER/tree, by default build/how_to_add/tree
#   SUITES="op_cases golden method_pairs" bash tests/how_to_add/run.sh     these suites too
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=${1:-build/how_to_add}
tree=$work/tree

rm -rf "$tree"
mkdir -p "$tree"
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do if [ -e "$file" ]; then printf '%s\0' "$file"; fi; done |
  tar c --null --files-from=- | tar x -C "$tree"

write() {  # FILE: what follows is a new file
  cat >"$tree/$1"
}
after() {  # FILE TEXT: what follows comes behind the one line that has TEXT
  local lines
  lines=$(grep -nF -- "$2" "$tree/$1" | cut -d: -f1)
  [[ "$lines" =~ ^[0-9]+$ ]] || { echo "how_to_add: $1 has to have '$2' in one line" >&2; exit 1; }
  sed -i "${lines}r /dev/stdin" "$tree/$1"
}
# With ccache, what no step changed is taken from the build of tests/run.sh: the options are the same, and ccache sees no
# difference between paths below this folder.
export CCACHE_BASEDIR="$PWD"
try_suites() {  # SUITE...: builds and runs them
  bash "$tree/apps/setup.sh" build "$(printf 'test_%s ' "$@")" -DGENEROUS_CUDA=OFF
  ctest --test-dir "$tree/build" --parallel 2 --output-on-failure -R "^($(IFS='|'; echo "$*"))\$"
}

# 1. A layer, a factor for each channel: a class that declares its parameter; a test.
write nn/scale.h <<'CODE'
// A factor for each channel: an example.
#pragma once

#include "nn/layers.h"

namespace generous {

/// x {..., C} times a factor for each channel, 1 at first. State: weight {C}.
class Scale : public Module {
 public:
  explicit Scale(std::int64_t channels) : weight_(add_parameter("weight", {channels}, Init::constant(1.0F))) {}
  Tensor forward(const Tensor& x) override { return x * weight_; }

 private:
  Tensor weight_;
};

}  // namespace generous
CODE
write tests/nn/added_layer_test.cpp <<'CODE'
#include <doctest/doctest.h>

#include "nn/scale.h"

namespace generous {

TEST_CASE("a factor for each channel") {
  Scale scale(3);
  scale.initialise(1);
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(scale(x).data<float>()[4] == 5.0F);
  backward(sum(scale(x)));
  const Tensor gradient = scale.parameters().front().tensor.grad();
  CHECK(std::vector<float>(gradient.data<float>().begin(), gradient.data<float>().end()) ==
        std::vector<float>{5, 7, 9});
}

}  // namespace generous
CODE

# 2. A model, tiny, of this layer: a file with a class, its features in `forward`; a line in the registry; its state dict,
# worked out by hand, beside the others.
write nn/models/tiny.h <<'CODE'
// One convolution: an example.
#pragma once

#include "nn/models/registry.h"

namespace generous {

/// 3x3 convolution to 6 channels, batch norm, ReLU, a factor for each channel, mean over the pixels, linear.
std::unique_ptr<Network> make_tiny(const ModelOptions& options);

}  // namespace generous
CODE
write nn/models/tiny.cpp <<'CODE'
#include "nn/models/tiny.h"

#include "nn/scale.h"

namespace generous {
namespace {

class Tiny : public Network {
 public:
  explicit Tiny(const ModelOptions& options)
      : conv1_(add<Conv2d>("conv1", conv3x3(options.image[2], 6, 1, Conv2dOptions::Weights::fan_in))),
        bn1_(add<BatchNorm>("bn1", 6)),
        scale_(add<Scale>("scale", 6)),
        fc_(add<Linear>("fc", 6, options.classes)) {}

  Tensor forward(const Tensor& x, Features* features) override {
    StageTap tap(features);
    const Tensor y = conv_bn_relu(conv1_, bn1_, x, tap.before_relu());  // {N, H, W, 6}
    tap.add(y, &bn1_);
    const Tensor pooled = global_avg_pool(scale_(y));  // {N, 6}
    if (features != nullptr) features->pooled = pooled;
    return fc_(pooled);  // {N, classes}
  }

 private:
  Conv2d& conv1_;
  BatchNorm& bn1_;
  Scale& scale_;
  Linear& fc_;
};

}  // namespace

std::unique_ptr<Network> make_tiny(const ModelOptions& options) { return std::make_unique<Tiny>(options); }

}  // namespace generous
CODE
after nn/models/registry.cpp '#include "nn/models/shufflenetv2.h"' <<'CODE'
#include "nn/models/tiny.h"
CODE
after nn/models/registry.cpp '{"mlp", plain(make_mlp)},' <<'CODE'
                                             {"tiny", plain(make_tiny)},
CODE
printf '%s\n' 'conv1.weight 6x3x3x3' 'bn1.weight 6' 'bn1.bias 6' 'bn1.running_mean 6' 'bn1.running_var 6' \
  'bn1.num_batches_tracked scalar' 'scale.weight 6' 'fc.weight 10x6' 'fc.bias 10' |
  write tests/golden/state_dicts/tiny.txt
echo 'tiny 10 250' >>"$tree/tests/golden/state_dicts/INDEX.txt"
write tests/nn/added_model_test.cpp <<'CODE'
#include <doctest/doctest.h>

#include "nn/models/registry.h"

namespace generous {

TEST_CASE("tiny: its shapes, and its gradient reaches every parameter") {
  const auto model = make_model("tiny", {.classes = 7, .image = {5, 9, 4}, .seed = 3});
  Features features;
  const Tensor logits = model->forward(Tensor::full({2, 5, 9, 4}, 0.5F), &features);
  CHECK(logits.shape() == Shape{2, 7});
  CHECK(features.stages[0].shape() == Shape{2, 5, 9, 6});
  CHECK(features.pooled.shape() == Shape{2, 6});
  backward(sum(square(logits)));
  for (const StateEntry& entry : model->parameters()) CHECK_MESSAGE(entry.tensor.grad().defined(), entry.name);
}

}  // namespace generous
CODE

# 3. A method, mse: a file with its formula, settings and loss; a line in the list; its value by hand.
write nn/distill/mse.h <<'CODE'
// Ba and Caruana, "Do deep nets really need to be deep?", 2014.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// CE + weight * mean squared difference of the logits {B, C}.
std::unique_ptr<Method> make_mse();

}  // namespace generous
CODE
write nn/distill/mse.cpp <<'CODE'
#include "nn/distill/mse.h"

namespace generous {
namespace {

class Mse : public Method {
 public:
  void declare(Options& options) override {
    options.add("weight", weight_, {.help = "of the squared difference", .min = 0, .max = 1e6});
  }
  std::vector<std::string> terms() const override { return {"cross_entropy", "mse"}; }
  Loss loss(const DistillBatch& batch) override {
    const Tensor& student = batch.student[0].logits;
    const Tensor& teacher = batch.teacher[0].logits;
    check_logits("mse", student, teacher);
    const Tensor ce = task_loss(student, batch.labels);
    const Tensor mse = mean(square(student - teacher));
    return {.task = ce, .distillation = static_cast<float>(weight_) * mse, .terms = {ce, mse}};
  }

 private:
  double weight_ = 0.1;
};

}  // namespace

std::unique_ptr<Method> make_mse() { return std::make_unique<Mse>(); }

}  // namespace generous
CODE
after nn/distill/methods.cpp '#include "nn/distill/mlkd.h"' <<'CODE'
#include "nn/distill/mse.h"
CODE
after nn/distill/methods.cpp 'Hinton, Vinyals, Dean, Distilling the knowledge' <<'CODE'
      {"mse", "Ba, Caruana, Do deep nets really need to be deep?, 2014", make_mse},
CODE
write tests/nn/added_method_test.cpp <<'CODE'
#include <doctest/doctest.h>

#include <cmath>

#include "nn/distill/methods.h"

namespace generous {

TEST_CASE("mse: by hand") {
  const auto method = make_method("mse");
  Options settings("test", {"--weight", "0.5"});
  method->declare(settings);
  DistillBatch batch{.student = {}, .teacher = {}, .labels = {}, .indices = {}, .step = {}};
  batch.student.emplace_back().logits = Tensor::from(std::vector<float>{0, 0, 0, 0, 0, 0}, {2, 3});
  batch.teacher.emplace_back().logits = Tensor::from(std::vector<float>{1, 0, 2, 0, 3, 0}, {2, 3});
  batch.labels = Labels(Tensor::from(std::vector<std::int64_t>{0, 2}, {2}));
  const Loss loss = method->loss(batch);
  CHECK(loss.total().item() == doctest::Approx(std::log(3.0) + 0.5 * (1 + 4 + 9) / 6.0));
}

}  // namespace generous
CODE

# 4. A dataset, optdigits of the UCI repository: its reader, declared in formats.h; what training has to know of it, and a
# line in the registry; a file by hand.
after data/formats.h 'Dataset load_fashion_mnist(' <<'CODE'

/// Optical digits: optdigits.tra and .tes, a line an image: 64 pixels from 0 to 16 and the class, with commas
/// between. Images {N, 8, 8, 1}.
Dataset load_optdigits(const std::filesystem::path& folder, Split split);
CODE
write data/optdigits.cpp <<'CODE'
#include <sstream>

#include "core/error.h"
#include "data/folder.h"
#include "data/formats.h"

namespace generous {

Dataset load_optdigits(const std::filesystem::path& folder, Split split) {
  const auto path = require_exists(folder / (split == Split::train ? "optdigits.tra" : "optdigits.tes"), "optdigits");
  std::vector<std::uint8_t> pixels;
  Dataset dataset;
  std::size_t row = 0;
  for (const std::string& line : read_lines(path)) {
    ++row;
    std::istringstream stream(line);
    std::vector<int> numbers;
    for (std::string number; std::getline(stream, number, ',');) {
      const bool digits = !number.empty() && number.size() < 3 && number.find_first_not_of("0123456789") == std::string::npos;
      require(digits && std::stoi(number) <= 16, "{}: line {}: '{}', expected a number from 0 to 16", path.string(), row, number);
      numbers.push_back(std::stoi(number));
    }
    require(numbers.size() == 65 && numbers[64] < 10, "{}: line {}: expected 64 pixels and a class from 0 to 9", path.string(), row);
    for (std::size_t i = 0; i < 64; ++i) pixels.push_back(static_cast<std::uint8_t>(numbers[i] * 15));
    dataset.labels.push_back(numbers[64]);
  }
  require(!dataset.labels.empty(), "{}: holds no images", path.string());
  dataset.images = Tensor::from(pixels, {static_cast<std::int64_t>(dataset.labels.size()), 8, 8, 1});
  for (int digit = 0; digit < 10; ++digit) dataset.classes.push_back(std::to_string(digit));
  return dataset;
}

}  // namespace generous
CODE
after data/dataset.cpp '      {fashion_mnist, fitted(load_fashion_mnist)},' <<'CODE'
      {optdigits, fitted(load_optdigits)},
CODE
after data/dataset.cpp 'std::vector<Registered> make_registry() {' <<'CODE'
  const DatasetInfo optdigits{.name = "optdigits",
                              .crop_padding = 1,
                              .flip = false,
                              .default_folder = "datasets/optdigits",
                              .image = {8, 8, 1},
                              .classes = 10,
                              .train_images = 3823,
                              .test_images = 1797,
                              .own_normalisation = true};
CODE
write tests/data/added_dataset_test.cpp <<'CODE'
#include "data/dataset.h"
#include "tests/data/data_files.h"
#include "tests/temporary_folder.h"

#include <doctest/doctest.h>

namespace generous {

TEST_CASE("optdigits: two images by hand, and a line that is none") {
  const TemporaryFolder folder;
  std::string zeros;
  for (int i = 0; i < 63; ++i) zeros += "0,";
  write_file(folder / "optdigits.tra", "16," + zeros + "3\n" + zeros + "7,9\n");
  const Dataset dataset = load_dataset("optdigits", folder.path(), Split::train);
  CHECK(dataset.images.shape() == Shape{2, 8, 8, 1});
  CHECK(dataset.labels == std::vector<std::int64_t>{3, 9});
  CHECK(dataset.images.data<std::uint8_t>()[0] == 240);
  CHECK(dataset.images.data<std::uint8_t>()[127] == 105);
  write_file(folder / "optdigits.tes", zeros + "17,9\n");
  CHECK(error_of([&] { load_dataset("optdigits", folder.path(), Split::test); }).ends_with(
      "optdigits.tes: line 1: '17', expected a number from 0 to 16"));
}

}  // namespace generous
CODE

try_suites added_layer added_model added_method added_dataset dataset

# 5. An elementwise op, tanh: the formula with its derivative, an enumerator, a line of `visit`; the op; its declaration; a
# row in the table of cases. It comes last, because all of nn includes core/ops.h.
after core/functors.h '// Unary: y = forward(x), dx = dy * derivative(x, y).' <<'CODE'

struct Tanh {
  GENEROUS_HOST_DEVICE static float forward(float x) { return std::tanh(x); }
  GENEROUS_HOST_DEVICE static float derivative(float, float y) { return 1.0F - y * y; }
};
CODE
after core/functors.h 'enum class Unary : std::uint8_t {' <<'CODE'
  tanh,
CODE
after core/functors.h 'return f(Relu{});' <<'CODE'
    case Unary::tanh:
      return f(Tanh{});
CODE
after core/ops/elementwise.cpp 'Tensor abs(const Tensor& x) {' <<'CODE'
Tensor tanh(const Tensor& x) { return unary("tanh", Unary::tanh, x); }
CODE
after core/ops.h 'Tensor abs(const Tensor& x);' <<'CODE'
Tensor tanh(const Tensor& x);
CODE
after tests/core/op_cases.h '{"exp", {a},' <<'CODE'
      {"tanh", {a}, [](const auto& in) { return std::vector{tanh(in[0])}; }, true, 1},
CODE
# The suite op_cases would go through all of the table.
write tests/core/added_op_test.cpp <<'CODE'
#include "tests/core/op_cases.h"

namespace generous {

TEST_CASE("tanh: its row of the table, and a value") {
  int found = 0;
  for (const testing::OpCase& test : testing::elementwise_cases()) {
    if (test.name != "tanh") continue;
    ++found;
    testing::check_gradients(
        test.name, [&](const std::vector<Tensor>& inputs) { return test.op(inputs)[0]; }, test.inputs);
  }
  CHECK(found == 1);
  CHECK(tanh(Tensor::full({}, 0.5F)).item() == doctest::Approx(0.46211716));
}

}  // namespace generous
CODE

# shellcheck disable=SC2086  # several suites are several words
try_suites added_op ${SUITES:-}
echo "how_to_add: a layer, a model, a method, a dataset and an op, added and tested"
