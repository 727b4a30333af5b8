// The methods that compare logits where the reference values (logit_methods_golden_test.cpp) say nothing:
// those without any, against naive versions; gradients through the methods' own interface; batches at the
// edge of what makes sense.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "nn/distill/ctkd.h"
#include "nn/distill/dtkd.h"
#include "nn/distill/logits.h"
#include "nn/distill/lumi.h"
#include "nn/distill/methods.h"
#include "nn/distill/mlkd.h"
#include "nn/distill/sdd.h"
#include "nn/losses.h"
#include "nn/models/registry.h"
#include "tests/core/gradcheck.h"
#include "tests/nn/naive_losses.h"

namespace generous {
namespace {

using namespace naive;
using testing::random_tensor;

const std::vector<std::string> logit_methods{
    "kd",   "generous", "lskd", "dkd", "deepkd", "nkd",  "normkd", "normkd_dkd", "dist",   "ctkd",
    "dtkd", "ttm",      "wttm", "rld", "lumi",   "mlkd", "crld",   "wkd_l",      "sdd_dkd"};

bool standardises(const std::string& name) { return name != "generous" && name != "lskd"; }

/// A method as `arguments` set it, with its parameters initialised and connected to networks whose
/// classifiers see 4 channels of 4 x 4 features.
std::unique_ptr<Method> make(const std::string& name, const std::vector<std::string>& arguments,
                             std::int64_t classes) {
  std::unique_ptr<Method> method = make_method(name);
  Options options("test", arguments);
  method->declare(options);
  REQUIRE(options.finish());
  const Outputs outputs{.logits = {},
                        .features = {.stages = {random_tensor({1, 4, 4, 4}, "stage")},
                                     .before_relu = {},
                                     .norms = {},
                                     .pooled = {}},
                        .classifier = {.weight = random_tensor({classes, 4}, "classifier"),
                                       .bias = random_tensor({classes}, "bias")}};
  method->connect(outputs, outputs, {});
  method->initialise(1);
  return method;
}

struct Problem {
  std::vector<Tensor> student;  ///< the logits of two views
  std::vector<Tensor> teacher;
  Tensor labels;
};

DistillBatch batch_of(const Problem& problem, std::int64_t epoch) {
  DistillBatch seen{
      .student = {}, .teacher = {}, .labels = problem.labels, .indices = {}, .step = {}, .epoch = epoch};
  const std::int64_t rows = problem.labels.size(0);
  const std::int64_t count = problem.student[0].size(1);
  for (std::size_t view = 0; view < 2; ++view)
    for (const bool teacher : {false, true}) {
      const std::string name = teacher ? "teacher" : "student";
      Outputs outputs{.logits = (teacher ? problem.teacher : problem.student)[view],
                      .features = {},
                      .classifier = {.weight = random_tensor({count, 4}, name + " classifier"),
                                     .bias = random_tensor({count}, name + " bias")}};
      outputs.features.stages = {random_tensor({rows, 4, 4, 4}, name + " stage")};
      (teacher ? seen.teacher : seen.student).push_back(outputs);
    }
  return seen;
}

Problem random_problem(std::int64_t rows, std::int64_t count) {
  Problem problem;
  for (const char* view : {"weak", "strong"}) {
    problem.student.push_back(2.0F * random_tensor({rows, count}, std::string("student ") + view));
    problem.teacher.push_back(2.0F * random_tensor({rows, count}, std::string("teacher ") + view));
  }
  std::vector<std::int64_t> list;
  for (std::int64_t row = 0; row < rows; ++row) list.push_back((3 * row + 1) % count);
  problem.labels = Tensor::from(list, {rows});
  return problem;
}

/// Calls f with every method and how it is set; those whose code differs from their paper in both forms.
template <class F>
void for_every_method(F&& f) {
  for (const std::string& name : logit_methods)
    for (const bool logit_stand : {false, true}) {
      if (logit_stand && !standardises(name)) continue;
      CAPTURE(name);
      CAPTURE(logit_stand);
      f(name, logit_stand ? std::vector<std::string>{"--logit_stand", "1"} : std::vector<std::string>{});
      if (name == "mlkd" || name == "deepkd") f(name, {"--published", "0"});
    }
}

bool all_finite(const Tensor& x) {
  return std::ranges::all_of(x.data<float>(), [](float value) { return std::isfinite(value); });
}

void check_finite(const std::string& what, const Problem& problem) {
  CAPTURE(what);
  for_every_method([&](const std::string& name, const std::vector<std::string>& arguments) {
    const auto method = make(name, arguments, problem.student[0].size(1));
    Problem own = problem;
    for (Tensor& logits : own.student) {
      logits = logits.clone();
      logits.require_grad();
    }
    const Loss loss = method->loss(batch_of(own, 5));
    CHECK(loss.terms.size() == method->terms().size());
    CHECK(std::isfinite(loss.task.item()));
    CHECK(std::isfinite(loss.distillation.item()));
    for (const Tensor& term : loss.terms) CHECK(term.shape() == Shape());
    backward(loss.total());
    CHECK(all_finite(own.student[0].grad()));
    if (method->needs().views == 2) CHECK(all_finite(own.student[1].grad()));
  });
}

double naive_lumi_kd(const Matrix& z_s, const Matrix& z_t, double t) {
  const auto perception = [](Matrix z) {
    for (std::size_t c = 0; c < classes; ++c) {
      double average = 0.0;
      double squares = 0.0;
      for (const Row& row : z) average += row[c] / static_cast<double>(batch);
      for (const Row& row : z)
        squares += (row[c] - average) * (row[c] - average) / static_cast<double>(batch);
      for (Row& row : z) row[c] = (row[c] - average) / std::sqrt(squares + 1e-5);
    }
    return z;
  };
  const Matrix h_s = perception(z_s);
  const Matrix h_t = perception(z_t);
  double sum = 0.0;
  for (std::size_t b = 0; b < batch; ++b)
    sum += kl(naive::log_softmax(h_t[b], t), naive::log_softmax(h_s[b], t));
  return sum / static_cast<double>(batch);
}

double naive_dynamic(const Matrix& z_s, const Matrix& z_t, double t) {
  double sum = 0.0;
  for (std::size_t b = 0; b < batch; ++b) {
    const double m_s = *std::ranges::max_element(z_s[b]);
    const double m_t = *std::ranges::max_element(z_t[b]);
    if (m_s <= 0.0 || m_t <= 0.0) continue;
    const double t_s = 2.0 * m_s * t / (m_s + m_t);
    const double t_t = 2.0 * m_t * t / (m_s + m_t);
    sum += t_s * t_t * kl(naive::log_softmax(z_t[b], t_t), naive::log_softmax(z_s[b], t_s));
  }
  return sum / static_cast<double>(batch);
}

}  // namespace

TEST_CASE("LumiNet: terms, weights and gradient") {
  on_every_cpu_implementation([] {
    const Matrix z_t = random_logits("teacher");
    const LumiOptions options{.temperature = 3.0, .alpha = 5.0, .ce_weight = 2.0, .warmup = 0.25};
    check_loss([&](const Tensor& z) { return lumi_loss(z, to_tensor(z_t), label_tensor(), options).total(); },
               [&](const Matrix& z) {
                 return 2.0 * naive_cross_entropy(z) + 0.25 * 25.0 * naive_lumi_kd(z, z_t, 3.0);
               });
    check_loss(
        [&](const Tensor& z) { return lumi_loss(z, to_tensor(z_t), label_tensor(), options).terms[1]; },
        [&](const Matrix& z) { return naive_lumi_kd(z, z_t, 3.0); });
  });
}

TEST_CASE("DTKD: terms, weights and gradient, which flows through the temperatures") {
  on_every_cpu_implementation([] {
    for (const bool below_zero : {false, true}) {
      Matrix z_t = random_logits("teacher");
      if (below_zero)
        for (double& z : z_t[1]) z = -1.0 - std::abs(z);
      const DtkdOptions options{.temperature = 3.0, .alpha = 2.0, .beta = 0.5, .warmup = 0.75};
      const auto loss = [&](const Tensor& z) {
        return dtkd_loss(z, to_tensor(z_t), label_tensor(), options);
      };
      CHECK(loss(to_tensor(random_logits("student"))).flat_rows.item() == (below_zero ? 1.0F : 0.0F));
      check_loss([&](const Tensor& z) { return loss(z).total(); },
                 [&](const Matrix& z) {
                   return naive_cross_entropy(z) +
                          0.75 * (2.0 * naive_dynamic(z, z_t, 3.0) + 0.5 * naive_kd(z, z_t, 3.0));
                 });
      check_loss([&](const Tensor& z) { return loss(z).terms[1]; },
                 [&](const Matrix& z) { return naive_dynamic(z, z_t, 3.0); });
    }
  });
}

TEST_CASE("the gradient of every method, by differences") {
  const Problem problem = random_problem(6, 7);
  for_every_method([&](const std::string& name, std::vector<std::string> arguments) {
    // Probabilities at its usual temperature, 16, differ too little for differences in single precision.
    if (name == "ctkd") arguments.insert(arguments.end(), {"--temperature_range", "4"});
    const auto method = make(name, arguments, 7);
    std::vector<Tensor> inputs = problem.student;
    if (method->needs().views == 1) inputs.pop_back();
    testing::check_gradients(
        name,
        [&](const std::vector<Tensor>& student) {
          Problem own = problem;
          std::ranges::copy(student, own.student.begin());
          return method->loss(batch_of(own, 30)).total();
        },
        inputs);
  });
}

TEST_CASE("finite numbers at the edges") {
  check_finite("two classes", random_problem(6, 2));
  check_finite("more classes than samples", random_problem(3, 11));
  check_finite("one sample", random_problem(1, 5));
  Problem equal = random_problem(6, 5);
  equal.student[0] = Tensor::zeros({6, 5});
  check_finite("a student without any opinion", equal);
  equal.teacher[0] = Tensor::full({6, 5}, 0.3F);
  equal.teacher[1] = equal.teacher[0];
  check_finite("nobody has an opinion", equal);
  Problem learned = random_problem(6, 5);
  learned.student = learned.teacher;
  check_finite("nothing left to learn", learned);
  Problem certain = random_problem(6, 5);
  for (Tensor& logits : certain.student) logits = (logits * 40.0F).detach();
  for (Tensor& logits : certain.teacher) logits = (logits * -40.0F).detach();
  check_finite("both are certain, of different classes", certain);
}

TEST_CASE("standardised rows without spread give nothing and get nothing") {
  Problem problem = random_problem(4, 5);
  for (std::size_t c = 0; c < 5; ++c) problem.teacher[0].data<float>()[5 + c] = 0.3F;
  Tensor student = problem.student[0].clone();
  student.require_grad();
  const Tensor target = one_hot(problem.labels, 5);
  const LogitPair z = standardised_pair(student, problem.teacher[0], target);
  CHECK(z.flat_rows.item() == 1.0F);
  const Tensor kl = kl_rows_at(z, 2.0F);
  for (const std::size_t row : {0U, 1U, 2U, 3U}) CHECK((kl.data<float>()[row] == 0.0F) == (row == 1));
  backward(sum(kl));
  for (std::size_t i = 0; i < 20; ++i) CHECK((student.grad().data<float>()[i] == 0.0F) == (i / 5 == 1));
}

TEST_CASE("CTKD: the temperature is the method's parameter and resists") {
  const auto method = make("ctkd", {}, 5);
  const std::vector<StateEntry> parameters = method->parameters();
  REQUIRE(parameters.size() == 1);
  CHECK(parameters[0].name == "theta");
  CHECK(parameters[0].tensor.item() == 1.0F);
  const Problem problem = random_problem(6, 5);
  const Loss loss = method->loss(batch_of(problem, 100));
  CHECK(loss.terms[2].item() == doctest::Approx(1.0 + 20.0 / (1.0 + std::exp(-1.0))));
  backward(loss.total());
  // Against differences of the loss: the sign is turned round.
  const auto value = [&](float theta) {
    return ctkd_loss(problem.student[0], problem.teacher[0], problem.labels, Tensor::full({}, theta), {})
        .total()
        .item();
  };
  const double slope = (static_cast<double>(value(1.5F)) - static_cast<double>(value(0.5F)));
  CHECK(std::abs(slope) > 0.0);
  CHECK(static_cast<double>(parameters[0].tensor.grad().item()) * slope < 0.0);

  CHECK(ctkd_lambda(0, 10) == doctest::Approx(-0.0244717));
  CHECK(ctkd_lambda(4, 10) == doctest::Approx(-0.5));
  CHECK(ctkd_lambda(9, 10) == -1.0);
  CHECK(ctkd_lambda(200, 10) == -1.0);
  CHECK(ctkd_lambda(0, 0) == -1.0);
}

TEST_CASE("what is at most the median, ties included") {
  for (const std::vector<float>& values : {std::vector<float>{3},
                                           {2, 1},
                                           {1, 1},
                                           {5, 1, 3},
                                           {2, 2, 1},
                                           {1, 2, 2},
                                           {4, 1, 3, 2},
                                           {3, 3, 3, 1},
                                           {1, 1, 3, 3},
                                           {1, 2, 2, 3},
                                           {7, 1, 7, 7, 2},
                                           {0.5F, 0.25F, 0.5F, 0.25F, 0.125F, 1}}) {
    std::vector<float> sorted = values;
    std::ranges::sort(sorted);
    const std::size_t n = sorted.size();
    const double median =
        (static_cast<double>(sorted[(n - 1) / 2]) + static_cast<double>(sorted[n / 2])) / 2.0;
    const auto extent = static_cast<std::int64_t>(n);
    CAPTURE(values.size());
    const Tensor up_to = up_to_median(Tensor::from(values, {extent, 1}));
    for (std::size_t i = 0; i < n; ++i)
      CHECK(up_to.data<float>()[i] == (static_cast<double>(values[i]) <= median ? 1.0F : 0.0F));
  }
}

TEST_CASE("WKD-L: the weight falls on half a cosine") {
  const auto method = make("wkd_l", {}, 5);
  const Problem problem = random_problem(6, 5);
  const auto weight = [&](std::int64_t epoch) {
    const Loss loss = method->loss(batch_of(problem, epoch));
    return (loss.distillation.item() - loss.terms[1].item()) / loss.terms[2].item();
  };
  CHECK(weight(0) == doctest::Approx(600.0));
  CHECK(weight(150) == doctest::Approx(600.0));
  CHECK(weight(195) == doctest::Approx(300.0));
  CHECK(std::abs(weight(240)) < 1e-3F);
}

TEST_CASE("SDD: what a classifier says of patches") {
  const Tensor x = random_tensor({2, 4, 8, 3}, "features");
  const Classifier classifier{.weight = random_tensor({5, 3}, "weight"), .bias = random_tensor({5}, "bias")};
  const Tensor patches = patch_logits(x, classifier, {1, 4});
  REQUIRE(patches.shape() == Shape{2, 17, 5});
  const auto cell = [&](std::int64_t image, std::int64_t top, std::int64_t left, std::int64_t height,
                        std::int64_t width, std::int64_t k) {
    double logit = static_cast<double>(classifier.bias.data<float>()[static_cast<std::size_t>(k)]);
    for (std::int64_t c = 0; c < 3; ++c) {
      double average = 0.0;
      for (std::int64_t h = top; h < top + height; ++h)
        for (std::int64_t w = left; w < left + width; ++w)
          average += static_cast<double>(
                         x.data<float>()[static_cast<std::size_t>(((image * 4 + h) * 8 + w) * 3 + c)]) /
                     static_cast<double>(height * width);
      logit +=
          average * static_cast<double>(classifier.weight.data<float>()[static_cast<std::size_t>(k * 3 + c)]);
    }
    return logit;
  };
  for (std::int64_t image = 0; image < 2; ++image)
    for (std::int64_t n = 0; n < 17; ++n)
      for (std::int64_t k = 0; k < 5; ++k) {
        const std::int64_t at = n - 1;
        const double wanted = n == 0 ? cell(image, 0, 0, 4, 8, k) : cell(image, at / 4, at % 4 * 2, 1, 2, k);
        CHECK(
            static_cast<double>(patches.data<float>()[static_cast<std::size_t>((image * 17 + n) * 5 + k)]) ==
            doctest::Approx(wanted).epsilon(1e-4));
      }
}

TEST_CASE("SDD: networks whose patches have no logits are refused") {
  const auto connected = [](const Shape& map, const std::vector<std::string>& arguments) {
    const auto method = make_method("sdd_dkd");
    Options options("test", arguments);
    method->declare(options);
    const Outputs good{
        .logits = {},
        .features = {.stages = {Tensor::zeros({1, 8, 8, 3})}, .before_relu = {}, .norms = {}, .pooled = {}},
        .classifier = {.weight = Tensor::zeros({5, 3}), .bias = Tensor::zeros({5})}};
    Outputs other = good;
    other.features.stages = {Tensor::zeros(map)};
    method->connect(good, other, {});
  };
  CHECK_NOTHROW(connected({1, 4, 4, 3}, {}));
  CHECK_THROWS_WITH_AS(
      connected({1, 4, 4, 7}, {}),
      "sdd_dkd: the teacher's classifier takes 3 channels, its last feature map {1, 4, 4, 7} has "
      "others: a patch of it has no logits",
      Error);
  CHECK_NOTHROW(connected({1, 2, 2, 3}, {"--scales", "1,2"}));
  CHECK_THROWS_WITH_AS(connected({1, 4, 4, 3}, {"--scales", "2,4"}),
                       "sdd_dkd: scales has to begin with 1, the whole image", Error);
}

TEST_CASE("label smoothing") {
  const Problem problem = random_problem(6, 5);
  const Tensor& z = problem.student[0];
  CHECK(smoothed_cross_entropy(z, problem.labels, 0.0F).item() ==
        doctest::Approx(static_cast<double>(cross_entropy(z, problem.labels).item())));
  CHECK(smoothed_cross_entropy(z, problem.labels, 1.0F).item() ==
        doctest::Approx(static_cast<double>(-mean(log_softmax(z)).item())));
}

TEST_CASE("every one of them is a student's method, the generous one too") {
  for (const MethodEntry& method : methods())
    if (std::ranges::count(logit_methods, method.name) == 1) CHECK(method.for_students);
}

}  // namespace generous
