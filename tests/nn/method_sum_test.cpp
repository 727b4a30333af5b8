// Several methods at once: one cross-entropy, and every part's own terms with its own settings.

#include "nn/distill/methods.h"
#include "nn/state_dict.h"
#include "tests/core/gradcheck.h"

namespace generous {
namespace {

using testing::random_tensor;

constexpr std::int64_t batch_size = 4;
constexpr std::int64_t classes = 5;

Outputs outputs(const std::string& who, std::int64_t channels) {
  Outputs said;
  said.logits = random_tensor({batch_size, classes}, who + " logits");
  for (const std::int64_t size : {8, 4, 2})
    said.features.stages.push_back(
        random_tensor({batch_size, size, size, channels}, who + std::to_string(size)));
  said.features.norms.assign(3, nullptr);
  said.features.pooled = random_tensor({batch_size, channels}, who + " pooled");
  return said;
}

DistillBatch batch_of_two_views() {
  return {.student = {outputs("student", 6), outputs("student, strong", 6)},
          .teacher = {outputs("teacher", 7), outputs("teacher, strong", 7)},
          .labels = Tensor::from(std::vector<std::int64_t>{1, 4, 0, 1}, {batch_size}),
          .indices = Tensor::from(std::vector<std::int64_t>{2, 0, 3, 1}, {batch_size}),
          .step = Tensor::from(std::vector<std::int64_t>{5}, {}),
          .epoch = 100};
}

DistillBatch first_view(DistillBatch batch) {
  batch.student.resize(1);
  batch.teacher.resize(1);
  return batch;
}

std::unique_ptr<Method> connected(const std::string& name, const std::vector<std::string>& flags) {
  std::unique_ptr<Method> method = make_method(name);
  Options options("test", flags);
  method->declare(options);
  options.check_names();
  static const std::vector<std::int64_t> labels{4, 1, 1, 0};
  const DistillBatch batch = batch_of_two_views();
  method->connect(batch.student[0], batch.teacher[0], {.labels = labels, .classes = classes});
  for (const StateEntry& entry : method->state()) {
    Tensor target = entry.tensor;
    // By the end of the name, which a part has alone and in a sum.
    const std::string end = entry.name.substr(entry.name.find("conv"));
    const Tensor values = random_tensor(target.shape(), end);
    if (target.dtype() == DType::f32) std::ranges::copy(values.data<float>(), target.data<float>().begin());
  }
  return method;
}

double value(const Tensor& x) { return static_cast<double>(x.item()); }

}  // namespace

TEST_CASE("a sum is one cross-entropy and the parts' terms with the parts' settings") {
  const DistillBatch batch = batch_of_two_views();
  const auto kd = connected("kd", {"--alpha", "0.3", "--temperature", "2.5"});
  const auto fitnet = connected("fitnet", {"--weight", "7"});
  const auto sum = connected("kd,fitnet", {"--ce_weight", "0.6", "--kd.alpha", "0.3", "--kd.temperature",
                                           "2.5", "--fitnet.weight", "7"});
  const DistillBatch one_view = first_view(batch);
  const Loss of_kd = kd->loss(one_view);
  const Loss of_fitnet = fitnet->loss(one_view);
  const Loss loss = sum->loss(one_view);
  const double ce = value(of_kd.terms[0]);
  CHECK(sum->terms() == std::vector<std::string>{"cross_entropy", "kd", "fitnet"});
  REQUIRE(loss.terms.size() == 3);
  CHECK(value(loss.terms[0]) == ce);
  CHECK(value(loss.terms[1]) == value(of_kd.terms[1]));
  CHECK(value(loss.terms[2]) == value(of_fitnet.terms[1]));
  CHECK(value(loss.task) == doctest::Approx(0.6 * ce));
  CHECK(value(loss.distillation) ==
        doctest::Approx(value(of_kd.distillation) + value(of_fitnet.distillation)));
  std::vector<std::string> names;
  for (const StateEntry& entry : fitnet->state()) names.push_back("fitnet." + entry.name);
  for (const StateEntry& entry : sum->state()) CHECK(std::ranges::count(names, entry.name) == 1);
  CHECK(sum->state().size() == names.size());
}

TEST_CASE("a method of two views beside one of one view: the cross-entropy is of both views") {
  const DistillBatch batch = batch_of_two_views();
  const auto mlkd = connected("mlkd", {});
  const auto rkd = connected("rkd", {});
  const auto sum = connected("mlkd,rkd", {"--rkd.distance_weight", "0"});
  CHECK(sum->needs().views == 2);
  CHECK(sum->needs().features);
  const Loss of_mlkd = mlkd->loss(batch);
  const Loss loss = sum->loss(batch);
  CHECK(value(loss.task) == value(of_mlkd.terms[0]));
  CHECK(sum->terms().at(2) == "mlkd.class_correlation");
  CHECK(loss.terms.size() == sum->terms().size());
}

TEST_CASE("what cannot be added up is refused in one line") {
  CHECK_THROWS_WITH_AS(make_method("kd,at,kd"), "method: kd is there twice", Error);
  CHECK_THROWS_WITH_AS(make_method("kd,atr"), "unknown method 'atr' (did you mean 'at'?)", Error);
  CHECK_THROWS_WITH_AS(make_method("at,ofd"),
                       "method: ofd and at cannot share a step: ofd's teacher is in training mode, with the "
                       "batch's own statistics, and at needs one in evaluation mode",
                       Error);
}

}  // namespace generous
