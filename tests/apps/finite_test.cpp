// Weights, images, logits and teachers that are not finite: the place is named, and no number comes out of
// them.
#include "core/finite.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "apps/training/teacher.h"
#include "core/ops.h"
#include "nn/models/registry.h"
#include "nn/state_dict.h"
#include "tests/apps/program_runs.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

/// The state dict of a fresh resnet8 for three classes.
NamedTensors weights() { return state_dict(*make_model("resnet8", {.classes = 3, .image = {16, 24, 3}})); }

Tensor& tensor_of(NamedTensors& all, std::string_view name) {
  for (auto& [key, tensor] : all)
    if (key == name) return tensor;
  fail("no {}", name);
}

void fill(Tensor& tensor, float value) {
  for (float& element : tensor.data<float>()) element = value;
}

/// The program ends with 1 and one line that holds every fragment; nothing goes to standard output.
void check_refused(const std::string& program, const Arguments& arguments,
                   const std::vector<std::string>& fragments) {
  const Finished finished = run_app(program, arguments);
  CAPTURE(program);
  CAPTURE(finished.err);
  CHECK(finished.exit_code == 1);
  CHECK(std::count(finished.err.begin(), finished.err.end(), '\n') == 1);
  for (const std::string& fragment : fragments) CHECK(contains(finished.err, fragment));
  CHECK_FALSE(contains(finished.err, "learning rate"));
}

}  // namespace

TEST_CASE("the first value that is not finite and its place") {
  Tensor tensor = Tensor::zeros({2, 3, 5});
  CHECK_FALSE(first_not_finite(tensor));
  tensor.data<float>()[1 * 15 + 2 * 5 + 3] = infinity;
  tensor.data<float>()[1 * 15 + 2 * 5 + 4] = not_a_number;
  const auto found = first_not_finite(tensor);
  REQUIRE(found);
  CHECK(found->value == "inf");
  CHECK(found->index == std::vector<std::int64_t>{1, 2, 3});
  CHECK(found->str() == "inf at {1, 2, 3}");
  CHECK(first_not_finite(cast(tensor, DType::bf16))->index == found->index);
  CHECK(first_not_finite(Tensor::full({}, not_a_number))->index.empty());
  CHECK_FALSE(first_not_finite(Tensor::zeros({4}, DType::i64)));
  CHECK_FALSE(first_not_finite(Tensor::zeros({0, 3})));
}

TEST_CASE("evaluate and predict refuse weights, images and logits that are not finite, and name the place") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path file = folder / "weights.safetensors";
  const fs::path input = folder / "input.safetensors";
  const fs::path output = folder / "output.safetensors";
  const Arguments network = {"--model_name", "resnet8", "--threads", "1", "--weights", file.string()};
  const Arguments evaluate =
      network + Arguments{"--dataset", "class_folders", "--data_dir", (folder / "images").string()};
  const Arguments predict =
      network + Arguments{"--classes", "3", "--input", input.string(), "--output", output.string()};
  NamedTensors all = weights();
  Tensor images = Tensor::zeros({2, 3, 5, 7});
  SUBCASE("weights") {
    tensor_of(all, "layer2.0.conv1.weight").data<float>()[1] = not_a_number;
    write_safetensors(file, all);
    write_safetensors(input, {{"input", images}});
    const std::vector<std::string> fragments = {file.string(), "'layer2.0.conv1.weight'",
                                                "nan at {0, 0, 0, 1}"};
    check_refused("evaluate", evaluate, fragments);
    check_refused("predict", predict, fragments);
  }
  SUBCASE("finite weights whose logits are not: a negative variance") {
    fill(tensor_of(all, "bn1.running_var"), -1.0F);
    write_safetensors(file, all);
    write_safetensors(input, {{"input", images}});
    check_refused("evaluate", evaluate, {file.string(), "nan for class 0 of image 0"});
    check_refused("predict", predict, {file.string(), "nan at {0, 0} of {2, 3}"});
  }
  SUBCASE("images") {
    write_safetensors(file, all);
    images.data<float>()[105 + 70 + 21 + 4] = -infinity;
    write_safetensors(input, {{"input", images}});
    check_refused("predict", predict, {input.string(), "'input' has -inf at {1, 2, 3, 4}"});
  }
  CHECK_FALSE(fs::exists(output));
}

TEST_CASE("a teacher is refused for its weights, and named where its logits are the cause") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path file = folder / "teacher.safetensors";
  const fs::path run = folder / "run";
  const Arguments epoch = small_run(folder / "images", run) + Arguments{"--num_epochs", "1"};
  const Arguments generous =
      epoch + Arguments{"--adversarial_model", "resnet8", "--adversarial_resume", file.string()};
  const Arguments student =
      epoch + Arguments{"--teacher_model", "resnet8", "--teacher_resume", file.string()};
  NamedTensors all = weights();
  SUBCASE("a weight is not finite") {
    fill(tensor_of(all, "fc.bias"), infinity);
    write_safetensors(file, all);
    check_refused("train_generous", generous, {file.string(), "'fc.bias'", "inf at {0}"});
    check_refused("train_kd", student, {file.string(), "'fc.bias'", "inf at {0}"});
    check_refused("train_standard", epoch + Arguments{"--init", file.string()}, {file.string(), "'fc.bias'"});
    CHECK(fs::is_empty(run));
  }
  SUBCASE("its weights are finite, its logits are not") {
    fill(tensor_of(all, "bn1.running_var"), -1.0F);
    write_safetensors(file, all);
    check_refused("train_generous", generous, {"the teacher " + file.string() + " gives nan for class 0"});
    check_refused("train_kd", student, {"the teacher " + file.string() + " gives nan for class 0"});
    CHECK(fs::is_empty(run));
  }
  SUBCASE("its logits are the same for every class") {
    fill(tensor_of(all, "fc.weight"), 0.0F);
    fill(tensor_of(all, "fc.bias"), 2.0F);
    write_safetensors(file, all);
    // Whether the run goes on depends on the loss; that the teacher is said to be the cause does not.
    const Finished finished = run_app("train_generous", generous);
    CAPTURE(finished.err);
    CHECK(contains(finished.out,
                   "teacher " + file.string() + " gives the same logit for every class (sigma is 0)"));
    CHECK_FALSE(contains(finished.err, "learning rate"));
    if (finished.exit_code != 0) CHECK(contains(finished.err, "gives the same logit for every class"));
  }
}

TEST_CASE("what is wrong with a teacher's logits") {
  CHECK(fault_of_teacher(Tensor::from(std::vector<float>{1, 1, 1, 1, 1, 2}, {2, 3})).what.empty());
  const TeacherFault constant = fault_of_teacher(Tensor::from(std::vector<float>{1, 1, 1, 2, 2, 2}, {2, 3}));
  CHECK_FALSE(constant.fatal);
  CHECK(contains(constant.what, "in all 2 images"));
  const TeacherFault broken =
      fault_of_teacher(Tensor::from(std::vector<float>{1, 1, 1, 2, infinity, 2}, {2, 3}));
  CHECK(broken.fatal);
  CHECK(contains(broken.what, "inf for class 1 of image 1"));
}
