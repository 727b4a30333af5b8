// A method says since which epoch its loss has been the same, and a step shows it no other epoch: it must not
// have missed one in which the loss still changes.

#include <doctest/doctest.h>

#include "tests/apps/method_run.h"

namespace generous {
namespace {

using testing::every_method;
using testing::MethodRun;
using testing::MethodRunOptions;

/// Another method, which sees either the epochs that it says or all.
class Seeing : public Method {
 public:
  Seeing(Method& method, bool every_epoch) : method_(method), every_epoch_(every_epoch) {}
  Needs needs() const override { return method_.needs(); }
  std::size_t losses() const override { return method_.losses(); }
  std::vector<std::string> terms() const override { return method_.terms(); }
  std::int64_t loss_since(std::int64_t epoch) const override {
    return every_epoch_ ? epoch : method_.loss_since(epoch);
  }
  Loss loss(const DistillBatch& batch) override { return method_.loss(batch); }

 private:
  Method& method_;
  bool every_epoch_;
};

std::vector<float> losses(const MethodRunOptions& options, bool every_epoch) {
  MethodRun run(options);
  Seeing method(*run.method, every_epoch);
  run.step = std::make_unique<TrainStep>(Distillation{*run.student, run.teacher.get(), method},
                                         *run.optimizer, options.step);
  std::vector<float> found;
  for (const std::int64_t epoch : {0, 1, 2, 3, 4, 5, 8}) {
    run.step->start_epoch(epoch);
    found.push_back(run.take(static_cast<std::int64_t>(found.size())).loss);
  }
  return found;
}

TEST_CASE("no method's loss changes in an epoch that it does not say") {
  for (const MethodRunOptions& test : every_method()) {
    CAPTURE(test.method);
    CHECK(losses(test, false) == losses(test, true));
  }
}

TEST_CASE("a sum's loss changes with any of its parts'") {
  for (const auto& test : std::vector<std::pair<std::string, std::int64_t>>{
           {"kd", 0}, {"kd,at", 0}, {"dkd,kd", 20}, {"wkd_f,dkd", 20}, {"ctkd", 9}}) {
    const auto& [name, since] = test;
    CAPTURE(test.first);
    const auto method = make_method(name);
    CHECK(method->loss_since(7) == (since == 0 ? 0 : 7));
    CHECK(method->loss_since(30) == since);
  }
  CHECK(make_method("wkd_f")->loss_since(150) == 0);
  CHECK(make_method("wkd_f")->loss_since(151) == 151);
  CHECK(make_method("wkd_f")->loss_since(500) == 240);
}

}  // namespace
}  // namespace generous
