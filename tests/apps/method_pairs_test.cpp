// Every method with pairs of networks of all kinds: two steps, and the second one again from the
// state after the first.

#include <doctest/doctest.h>

#include <cmath>

#include "nn/state_dict.h"
#include "tests/apps/method_run.h"
#include "tests/nn/golden_files.h"

namespace generous {
namespace {

using testing::MethodRun;

struct Pair {
  std::string teacher;
  std::string student;
  Shape image;  ///< {H, W, C}
};
const std::vector<Pair> pairs{
    {"resnet8x4", "resnet8", {32, 32, 3}},          // same family
    {"wrn_10_2", "shufflev1", {32, 32, 3}},         // another one
    {"vgg8_bn", "resnet8", {32, 32, 3}},            // another number of stages
    {"resnet14", "resnet8", {32, 32, 3}},           // another depth
    {"shufflenetv2_0.5", "wrn_10_1", {32, 32, 3}},  // a convolution behind the last stage
    {"resnet8", "vgg8", {32, 32, 1}},
    {"resnet8x4", "wrn_10_1", {64, 64, 3}},
    {"wrn_10_2", "resnet8", {28, 28, 1}}};

void check_equal(const NamedTensors& one, const NamedTensors& other) {
  REQUIRE(one.size() == other.size());
  for (std::size_t i = 0; i < one.size(); ++i) {
    REQUIRE(one[i].first == other[i].first);
    if (one[i].second.dtype() == DType::f32)
      CHECK_MESSAGE(std::ranges::equal(one[i].second.data<float>(), other[i].second.data<float>()),
                    one[i].first);
  }
}

}  // namespace

TEST_CASE("every method joins every kind of pair, and resumes to the bit") {
  std::vector<std::string> refused;
  std::vector<std::string> names{"kd,crd,at", "mlkd,rkd", "kd,nd", "simkd,lskd"};
  for (const MethodEntry& entry : methods()) names.push_back(entry.name);
  for (const std::string& name : names) {
    if (!make_method(name)->needs().teacher) continue;
    for (const Pair& pair : pairs) {
      CAPTURE(name);
      CAPTURE(pair.teacher);
      CAPTURE(pair.student);
      CAPTURE(pair.image.str());
      const testing::MethodRunOptions options{
          .method = name, .teacher = pair.teacher, .student = pair.student, .image = pair.image};
      std::unique_ptr<MethodRun> whole;
      try {
        whole = std::make_unique<MethodRun>(options);
      } catch (const Error& error) {
        const std::string message = error.what();
        CHECK(name.find(message.substr(0, message.find(": "))) != std::string::npos);
        CHECK(message.find('\n') == std::string::npos);
        // Its classifier does not see the last stage, whose last batch norm is not the one before its ReLU.
        CHECK(pair.teacher == "shufflenetv2_0.5");
        refused.push_back(name);
        continue;
      }
      whole->step->start_epoch(20);
      CHECK(std::isfinite(whole->take(0).loss));
      const NamedTensors student = state_dict(*whole->student);
      const NamedTensors method = state_dict(*whole->method);
      const NamedTensors optimizer = whole->optimizer->state();
      const float second = whole->take(1).loss;
      CHECK(std::isfinite(second));

      MethodRun resumed(options);
      load_state_dict(*resumed.student, student, "the student");
      load_state_dict(*resumed.method, method, "the method");
      resumed.optimizer->load_state(optimizer, "the optimiser");
      resumed.step->start_epoch(20);
      CHECK(resumed.take(1).loss == second);
      check_equal(state_dict(*resumed.student), state_dict(*whole->student));
      check_equal(state_dict(*resumed.method), state_dict(*whole->method));
    }
  }
  const std::vector<std::string> expected{"simkd,lskd", "sdd_dkd", "cat_kd", "simkd", "ofd"};
  CHECK(methods_with_reference(refused, expected) == expected);
}

}  // namespace generous
