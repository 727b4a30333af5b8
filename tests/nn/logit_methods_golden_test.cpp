// Every loss on logits of the reference values (tests/golden/README.md), computed again and compared, value
// and gradients, on every CPU implementation: of tests/golden, and of the folder that the environment
// variable GENEROUS_GOLDEN names. Every file of the form of logit_methods.json counts, whatever its name,
// sizes and arguments.

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include "nn/distill/crld.h"
#include "nn/distill/ctkd.h"
#include "nn/distill/deepkd.h"
#include "nn/distill/dist.h"
#include "nn/distill/dkd.h"
#include "nn/distill/generous.h"
#include "nn/distill/kd.h"
#include "nn/distill/lskd.h"
#include "nn/distill/mlkd.h"
#include "nn/distill/nkd.h"
#include "nn/distill/normkd.h"
#include "nn/distill/rld.h"
#include "nn/distill/sdd.h"
#include "nn/distill/ttm.h"
#include "nn/distill/wkd_l.h"
#include "nn/losses.h"
#include "tests/core/cpu_implementations.h"
#include "tests/nn/golden_compare.h"
#include "tests/nn/golden_files.h"

namespace generous {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double temperature_tolerance = 1e-2;  ///< of CTKD's theta: a difference of nearly equal terms

/// Nested lists of any depth as a tensor.
Tensor tensor_of(const json& lists) {
  std::vector<std::int64_t> extents;
  for (const json* list = &lists; list->is_array(); list = &list->at(0))
    extents.push_back(static_cast<std::int64_t>(list->size()));
  Tensor tensor = Tensor::empty(Shape(std::span<const std::int64_t>(extents)));
  const std::function<float*(const json&, float*)> fill = [&fill](const json& list, float* out) {
    if (!list.is_array()) {
      *out = static_cast<float>(list.get<double>());
      return out + 1;
    }
    for (const json& item : list) out = fill(item, out);
    return out;
  };
  fill(lists, tensor.data<float>().data());
  return tensor;
}

/// One case: its arguments, and the inputs that it has in common with the others of its file. Those of the
/// student require gradients.
class Case {
 public:
  Case(const json& file, const json& item) : file_(file), item_(item) {
    const auto list = file.at("labels").get<std::vector<std::int64_t>>();
    labels_ = Tensor::from(list, {static_cast<std::int64_t>(list.size())});
  }

  std::string loss() const { return item_.at("loss").get<std::string>(); }
  double number(const char* key) const { return item_.at("args").at(key).get<double>(); }
  bool flag(const char* key) const { return item_.at("args").at(key).get<bool>(); }
  std::int64_t count(const char* key) const { return item_.at("args").at(key).get<std::int64_t>(); }

  const Tensor& labels() const { return labels_; }
  /// An input of the file, the same at every call.
  const Tensor& input(const std::string& name) { return keep(name, file_.at(name)); }
  const Tensor& student() { return input("student_logits"); }
  const Tensor& teacher() { return input("teacher_logits"); }
  /// An argument that has a gradient of its own.
  const Tensor& variable(const std::string& name) { return keep(name, item_.at("args").at(name)); }
  bool has_gradient_of(const std::string& name) const { return inputs_.contains(name); }

  void check(const Loss& loss) {
    const Tensor total = loss.total();
    const double expected = item_.at("value").get<double>();
    Complaints complaints;
    compare(static_cast<double>(total.item()), expected, value_tolerance * std::abs(expected), "value",
            complaints);
    backward(total);
    std::size_t gradients = 0;
    for (const auto& names : {std::pair{"grad_student", "student_logits"},
                              {"grad_student_strong", "student_logits_strong"},
                              {"grad_patches", "student_patches"},
                              {"grad_theta", "theta"}}) {
      const char* const key = names.first;
      const char* const input = names.second;
      if (!item_.contains(key)) continue;
      REQUIRE_MESSAGE(inputs_.contains(input), "the loss does not use " << input);
      compare_gradient(inputs_.at(input).grad(), item_.at(key), key, complaints);
      ++gradients;
    }
    for (const auto& [key, value] : item_.items()) gradients -= key.starts_with("grad_") ? 1 : 0;
    CHECK_MESSAGE(gradients == 0, "the case has gradients that are not compared");
    for (const std::string& complaint : complaints) FAIL_CHECK(complaint);
  }

 private:
  const Tensor& keep(const std::string& name, const json& values) {
    const auto [entry, is_new] = inputs_.try_emplace(name);
    if (is_new) {
      entry->second = tensor_of(values);
      if (!name.starts_with("teacher")) entry->second.require_grad();
    }
    return entry->second;
  }

  static void compare_gradient(const Tensor& actual, const json& lists, const std::string& what,
                               Complaints& out) {
    REQUIRE_MESSAGE(actual.defined(), what << ": there is none");
    const Tensor expected = tensor_of(lists);
    const auto found = actual.data<float>();
    const auto wanted = expected.data<float>();
    REQUIRE(wanted.size() <= found.size());
    double largest = 0.0;
    for (const float value : wanted) largest = std::max(largest, std::abs(static_cast<double>(value)));
    const double tolerance = what == "grad_theta" ? temperature_tolerance : value_tolerance;
    for (std::size_t i = 0; i < found.size(); ++i) {
      // Rows of which a case makes no use may be missing at its end: they have no gradient.
      const double value = i < wanted.size() ? static_cast<double>(wanted[i]) : 0.0;
      compare(static_cast<double>(found[i]), value, std::max(tolerance * largest, 1e-9),
              fmt::format("{}[{}]", what, i), out);
    }
  }

  const json& file_;
  const json& item_;
  Tensor labels_;
  std::map<std::string, Tensor> inputs_;
};

Loss alone(const Tensor& task) { return {.task = task, .terms = {task}}; }

/// {B, C, N} as {B, N, C}, with its gradient.
Tensor classes_last(const Tensor& x) {
  const auto move = [](const Tensor& from) {
    Tensor to = Tensor::empty({from.size(0), from.size(2), from.size(1)});
    for (std::int64_t b = 0; b < from.size(0); ++b)
      for (std::int64_t i = 0; i < from.size(1); ++i)
        for (std::int64_t j = 0; j < from.size(2); ++j)
          to.data<float>()[static_cast<std::size_t>((b * from.size(2) + j) * from.size(1) + i)] =
              from.data<float>()[static_cast<std::size_t>((b * from.size(1) + i) * from.size(2) + j)];
    return to;
  };
  return record("classes_last", move(x), {x}, [move](const Tensor& dy) -> Gradients { return {move(dy)}; });
}

/// The first rows of x, with their gradient.
Tensor first_rows(const Tensor& x, std::int64_t count) {
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < count; ++row) rows.push_back(row);
  return gather_rows(x, Tensor::from(rows, {count}));
}

Loss multi_level(Case& c, bool logit_stand) {
  const std::int64_t rows = c.count("rows");
  const bool two = c.count("views") == 2;
  const Tensor student = first_rows(c.student(), rows);
  const Tensor teacher = first_rows(c.teacher(), rows);
  const auto labels = c.labels().data<std::int64_t>().first(static_cast<std::size_t>(rows));
  return mlkd_loss({.student_weak = student,
                    .student_strong = two ? first_rows(c.input("student_logits_strong"), rows) : student,
                    .teacher_weak = teacher,
                    .teacher_strong = two ? first_rows(c.input("teacher_logits_strong"), rows) : teacher},
                   Tensor::from(std::span<const std::int64_t>(labels), {rows}),
                   {.temperature = c.number("T"),
                    .weight = c.number("weight"),
                    .ce_weight = c.number("ce"),
                    .logit_stand = logit_stand});
}

Loss transformed(Case& c, bool weighted) {
  return ttm_loss(c.student(), c.teacher(), c.labels(),
                  {.gamma = c.number("gamma"), .weight = c.number("weight"), .weighted = weighted});
}

using Compute = std::function<Loss(Case&)>;

const std::map<std::string, Compute>& computations() {
  static const std::map<std::string, Compute> all = {
      {"cross_entropy", [](Case& c) { return alone(cross_entropy(c.student(), c.labels())); }},
      {"label_smoothing",
       [](Case& c) {
         return alone(smoothed_cross_entropy(c.student(), c.labels(), static_cast<float>(c.number("eps"))));
       }},
      {"kd",
       [](Case& c) {
         return kd_loss(c.student(), c.teacher(), c.labels(),
                        {.temperature = c.number("T"), .alpha = c.number("alpha")});
       }},
      {"generous",
       [](Case& c) {
         return generous_loss(c.student(), c.teacher(), c.labels(),
                              {.tn = static_cast<float>(c.number("Tn")),
                               .alpha = static_cast<float>(c.number("alpha")),
                               .warmup = static_cast<float>(c.number("warm"))});
       }},
      {"deepkd",
       [](Case& c) {
         return deepkd_loss(c.student(), c.teacher(), c.labels(),
                            {.temperature = c.number("T"),
                             .ce_weight = c.number("ce"),
                             .dkd = c.flag("dkd"),
                             .alpha = c.number("alpha"),
                             .beta = c.number("beta"),
                             .warmup = c.number("warm"),
                             .topk = c.count("topk")});
       }},
      {"dkd",
       [](Case& c) {
         return dkd_loss(c.student(), c.teacher(), c.labels(),
                         {.temperature = c.number("T"),
                          .alpha = c.number("alpha"),
                          .beta = c.number("beta"),
                          .warmup = c.number("warm")});
       }},
      {"lskd_dkd",
       [](Case& c) {
         return dkd_loss(c.student(), c.teacher(), c.labels(),
                         {.temperature = c.number("T"),
                          .alpha = c.number("weight") * c.number("alpha"),
                          .beta = c.number("weight") * c.number("beta"),
                          .warmup = c.number("warm"),
                          .logit_stand = true});
       }},
      {"nkd",
       [](Case& c) {
         return nkd_loss(c.student(), c.teacher(), c.labels(),
                         {.gamma = c.number("gamma"), .temperature = c.number("tau")});
       }},
      {"normkd",
       [](Case& c) {
         return normkd_loss(c.student(), c.teacher(), c.labels(),
                            {.tn = c.number("Tn"), .alpha = c.number("alpha")});
       }},
      {"normkd_dkd",
       [](Case& c) {
         return normkd_dkd_loss(c.student(), c.teacher(), c.labels(),
                                {.tn = c.number("Tn"),
                                 .alpha = c.number("alpha"),
                                 .beta = c.number("beta"),
                                 .warmup = c.number("warm")});
       }},
      {"lskd",
       [](Case& c) {
         return lskd_loss(
             c.student(), c.teacher(), c.labels(),
             {.temperature = c.number("T"), .weight = c.number("weight"), .ce_weight = c.number("ce")});
       }},
      {"dist",
       [](Case& c) {
         return dist_loss(
             c.student(), c.teacher(), c.labels(),
             {.temperature = c.number("tau"), .beta = c.number("beta"), .gamma = c.number("gamma")});
       }},
      {"ctkd",
       [](Case& c) {
         return ctkd_loss(c.student(), c.teacher(), c.labels(), c.variable("theta"),
                          {.weight = c.number("weight"),
                           .ce_weight = c.number("ce"),
                           .first = c.number("t_start"),
                           .range = c.number("t_end"),
                           .lambda = c.number("lambda"),
                           .logit_stand = c.flag("logit_stand")});
       }},
      {"ttm", [](Case& c) { return transformed(c, false); }},
      {"wttm", [](Case& c) { return transformed(c, true); }},
      {"rld",
       [](Case& c) {
         return rld_loss(c.student(), c.teacher(), c.labels(),
                         {.temperature = c.number("T"),
                          .sample_temperature = c.number("alpha_T"),
                          .alpha = c.number("alpha"),
                          .beta = c.number("beta"),
                          .warmup = c.number("warm"),
                          .logit_stand = c.flag("logit_stand")});
       }},
      {"sdd_dkd",
       [](Case& c) {
         return sdd_dkd_loss({.student = c.student(),
                              .student_patches = classes_last(c.input("student_patches")),
                              .teacher_patches = classes_last(c.input("teacher_patches"))},
                             c.labels(),
                             {.temperature = c.number("T"),
                              .alpha = c.number("alpha"),
                              .beta = c.number("beta"),
                              .warmup = c.number("warm")});
       }},
      {"wkd_l",
       [](Case& c) {
         const Tensor distances = class_distances(c.input("teacher_fc"), c.number("sharpen"));
         return wkd_l_loss(c.student(), c.teacher(), c.labels(), distances,
                           {.temperature = c.number("T"),
                            .weight = c.number("weight"),
                            .regularisation = c.number("reg"),
                            .iterations = c.count("iterations")});
       }},
      {"mlkd", [](Case& c) { return multi_level(c, false); }},
      {"lskd_mlkd", [](Case& c) { return multi_level(c, true); }},
      {"crld",
       [](Case& c) {
         return crld_loss({.student_weak = c.student(),
                           .student_strong = c.input("student_logits_strong"),
                           .teacher_weak = c.teacher(),
                           .teacher_strong = c.input("teacher_logits_strong")},
                          c.labels(),
                          {.temperature = c.number("T"),
                           .ce_weight = c.number("ce"),
                           .within = c.number("wv"),
                           .across = c.number("cv"),
                           .weak_confidence = c.number("tau_w"),
                           .strong_confidence = c.number("tau_s")});
       }},
  };
  return all;
}

/// Of tests/golden and of the environment's folder, those that have cases of losses.
std::vector<fs::path> files() {
  std::vector<fs::path> folders = {fs::path(GENEROUS_SOURCE_DIR) / "tests/golden"};
  if (const char* variable = golden_variable()) folders.emplace_back(variable);
  std::vector<fs::path> paths;
  for (const fs::path& folder : folders)
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".json") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

TEST_CASE("every loss on logits: value and gradients") {
  std::map<std::string, int> checked;
  for (const fs::path& path : files()) {
    const json file = json::parse(std::ifstream(path));
    if (!file.contains("cases") || !file.contains("student_logits")) continue;
    on_every_cpu_implementation([&] {
      for (const json& item : file.at("cases")) {
        Case test(file, item);
        const std::string description =
            fmt::format("{}: {} {}", path.string(), test.loss(), item.at("args").dump());
        CAPTURE(description);
        const auto found = computations().find(test.loss());
        REQUIRE_MESSAGE(found != computations().end(), "no such loss here");
        test.check(found->second(test));
        ++checked[test.loss()];
      }
    });
  }
  for (const auto& computation : computations())
    CHECK_MESSAGE(checked[computation.first] > 0, computation.first << " has no case");
}

}  // namespace
}  // namespace generous
