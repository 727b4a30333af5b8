// Every case of feature_methods.json (tests/golden/README.md): the methods on features, as they are trained,
// with their own settings, connectors and state. GENEROUS_GOLDEN names a folder with further files of this
// form.

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "nn/distill/cat_kd.h"
#include "nn/distill/crd.h"
#include "nn/distill/feature_method.h"
#include "nn/distill/methods.h"
#include "nn/distill/mgd.h"
#include "nn/distill/nd.h"
#include "nn/distill/ofd.h"
#include "nn/distill/simkd.h"
#include "nn/reused_classifier.h"
#include "nn/state_dict.h"
#include "tests/core/cpu_implementations.h"
#include "tests/nn/golden_compare.h"
#include "tests/nn/golden_files.h"
#include "tests/nn/golden_fill.h"
#include "tests/nn/golden_model.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

/// A case and what it is computed from: the tensors of both networks by the file's names, as leaves.
struct GoldenCase {
  GoldenCase(const json& whole, const json& one)
      : file(whole), item(one), prefix(file.value("prefix", std::string())) {}

  std::string method() const { return item.at("method").get<std::string>(); }
  double arg(const char* name) const { return item.at("args").at(name).get<double>(); }
  Tensor fill(const std::string& name, const Shape& shape) const {
    return golden_values(prefix + name, shape, file.value("scale", 1.5));
  }

  /// The feature or vector `name` of the student or teacher; the student's is kept for its gradient.
  Tensor tensor(const std::string& name, const Shape& shape) {
    const std::string set = item.contains("set") ? item.at("set").get<std::string>() + "." : "";
    Tensor values = fill(set + name, shape);
    if (shape.rank() == 4) values = nchw_to_nhwc(values);
    if (!name.starts_with("teacher") && !name.starts_with("nd_teacher") && !name.starts_with("nd_centres")) {
      values.require_grad();
      students.emplace_back(name, values);
    }
    return values;
  }

  Outputs outputs(const std::string& network) {
    const json& set = file.at("sets").at(item.at("set").get<std::string>());
    Outputs outputs;
    Features& features = outputs.features;
    std::size_t number = 0;
    for (const json& shape : set.at(network + "_feats"))
      features.stages.push_back(tensor(fmt::format("{}_feat{}", network, number++), shape_of(shape)));
    features.before_relu = features.stages;
    features.norms.assign(number, nullptr);
    features.pooled = tensor(network + "_pooled", shape_of(set.at(network + "_pooled")));
    outputs.logits = Tensor::zeros({features.pooled.size(0), 3});
    return outputs;
  }

  const json& file;
  const json& item;
  std::string prefix;
  std::vector<std::pair<std::string, Tensor>> students;
};

/// Fills a method's state by the rule and compares its names and shapes with the file's.
void fill_state(const GoldenCase& golden, Module& method,
                const std::function<bool(const std::string&)>& keep) {
  std::set<std::string> expected;
  if (golden.item.contains("params"))
    for (const json& entry : golden.item.at("params"))
      expected.insert(entry.at(0).get<std::string>() + shape_of(entry.at(1)).str());
  std::set<std::string> found;
  NamedTensors values;
  for (const auto& [name, tensor] : state_dict(method)) {
    if (keep(name)) {
      values.emplace_back(name, tensor);
    } else {
      values.emplace_back(name, golden_state(golden.prefix + name, tensor.shape()));
    }
    found.insert(name + tensor.shape().str());
  }
  for (const std::string& entry : expected) CHECK_MESSAGE(found.contains(entry), entry);
  load_state_dict(method, values, "the deterministic fill");
}

/// Gradients: 1e-3 of their norm; zero where the file's is zero but for rounding.
void compare_gradient(const Tensor& gradient, const json& expected, double largest_norm,
                      const std::string& what, Complaints& out) {
  const Summary summary(expected);
  const Allowance zeros{zero_tolerance * largest_norm, zero_tolerance * largest_norm};
  compare_summary(
      gradient, summary,
      summary.norm < zero ? zeros : relative_allowance(summary, gradient.numel(), gradient_tolerance), what,
      out);
}

double largest_norm_of(const json& summaries) {
  double largest = 0.0;
  for (const json& summary : summaries) largest = std::max(largest, Summary(summary).norm);
  return largest;
}

/// The file's gradients and those that `backward` left in the student's tensors and the method's parameters.
void compare_gradients(const GoldenCase& golden, const Module* method) {
  Complaints complaints;
  std::set<std::string> compared;
  const json& expected = golden.item.at("grad");
  for (const auto& student : golden.students) {
    const std::string& name = student.first;
    const Tensor& tensor = student.second;
    if (!expected.contains(name)) {
      CHECK_MESSAGE(!tensor.grad().defined(), name);
      continue;
    }
    REQUIRE_MESSAGE(tensor.grad().defined(), name);
    const Tensor gradient = tensor.shape().rank() == 4 ? nhwc_to_nchw(tensor.grad()) : tensor.grad();
    compare_gradient(gradient, expected.at(name), largest_norm_of(expected), "gradient of " + name,
                     complaints);
    compared.insert(name);
  }
  CHECK(compared.size() == expected.size());
  if (golden.item.contains("grad_params")) {
    const json& of_params = golden.item.at("grad_params");
    std::size_t count = 0;
    for (const StateEntry& entry : method->parameters()) {
      REQUIRE_MESSAGE(of_params.contains(entry.name), entry.name);
      REQUIRE_MESSAGE(entry.tensor.grad().defined(), entry.name);
      compare_gradient(to_disk_layout(entry.tensor.grad(), entry.layout), of_params.at(entry.name),
                       largest_norm_of(of_params), "gradient of " + entry.name, complaints);
      ++count;
    }
    CHECK(count == of_params.size());
  }
  expect_none(complaints);
}

void compare_value(const Tensor& value, const json& expected, const std::string& what) {
  Complaints complaints;
  const auto wanted = expected.get<double>();
  compare(static_cast<double>(value.item()), wanted, value_tolerance * std::abs(wanted), what, complaints);
  expect_none(complaints);
}

void compare_buffers(const GoldenCase& golden, const Module& method) {
  if (!golden.item.contains("buffers_after")) return;
  Complaints complaints;
  std::size_t count = 0;
  for (const auto& [name, tensor] : state_dict(method)) {
    if (!golden.item.at("buffers_after").contains(name)) continue;
    const Summary summary(golden.item.at("buffers_after").at(name));
    compare_summary(tensor, summary, relative_allowance(summary, tensor.numel(), value_tolerance), name,
                    complaints);
    ++count;
  }
  CHECK(count == golden.item.at("buffers_after").size());
  expect_none(complaints);
}

/// A setting as a flag has it.
std::string text_of(const json& value) {
  if (value.is_boolean()) return value.get<bool>() ? "1" : "0";
  if (value.is_number_integer()) return std::to_string(value.get<std::int64_t>());
  return fmt::format("{:.17g}", value.get<double>());
}

/// What the file's arguments are called here; "" for those that follow from shapes.
const std::map<std::string, std::map<std::string, std::string>> settings{
    {"vid", {{"log_scales", ""}}},
    {"reviewkd",
     {{"warm", ""}, {"in_channels", ""}, {"out_channels", ""}, {"shapes", ""}, {"out_shapes", ""}}},
    {"crd", {{"K", "negatives"}, {"momentum", "bank_momentum"}, {"n_data", ""}}},
};

/// A method with the case's settings.
std::unique_ptr<Method> method_of(const GoldenCase& golden, std::vector<std::string> flags = {}) {
  const auto renamed = settings.find(golden.method());
  for (const auto& [name, value] : golden.item.at("args").items()) {
    std::string setting = name;
    if (renamed != settings.end() && renamed->second.contains(name)) setting = renamed->second.at(name);
    if (!setting.empty()) flags.insert(flags.end(), {"--" + setting, text_of(value)});
  }
  std::unique_ptr<Method> method = make_method(golden.method());
  Options options("golden", flags);
  method->declare(options);
  options.check_names();
  return method;
}

/// A method whose loss is a function of both networks' features alone.
void check_method(GoldenCase& golden, const std::function<void(Outputs& teacher)>& complete = nullptr) {
  std::vector<std::string> flags;
  std::int64_t epoch = 0;
  if (golden.item.at("args").contains("warm")) {
    flags = {"--warmup", "1000000"};
    epoch = std::llround(golden.arg("warm") * 1e6);
  }
  const std::unique_ptr<Method> method = method_of(golden, flags);
  const Outputs student = golden.outputs("student");
  Outputs teacher = golden.outputs("teacher");
  if (complete) complete(teacher);
  method->connect(student, teacher, {});
  method->initialise(0);
  const bool default_scales = golden.item.at("args").value("log_scales", std::string()) == "default";
  fill_state(golden, *method,
             [&](const std::string& name) { return default_scales && name.starts_with("log_scales"); });
  const Loss loss = method->loss({.student = {student},
                                  .teacher = {teacher},
                                  .labels = Tensor::zeros({student.logits.size(0)}, DType::i64),
                                  .indices = {},
                                  .step = {},
                                  .epoch = epoch});
  compare_value(loss.distillation, golden.item.at("value"), "value");
  backward(loss.distillation);
  compare_gradients(golden, method.get());
  compare_buffers(golden, *method);
}

/// SimKD's head: the projected feature, and the logits of the teacher's classifier.
void check_simkd(GoldenCase& golden) {
  const FeaturePair last = last_pair("simkd", golden.outputs("student"), golden.outputs("teacher"));
  const json& names = golden.item.at("teacher_classifier");
  const auto weight_of = [&](std::size_t i) {
    return golden_state(golden.prefix + names.at(i).at(0).get<std::string>(), shape_of(names.at(i).at(1)));
  };
  const Classifier classifier{.weight = weight_of(0), .bias = weight_of(1)};
  ReusedClassifierHead head({.in = last.student.size(3),
                             .channels = last.teacher.size(3),
                             .factor = golden.item.at("args").at("factor"),
                             .height = last.teacher.size(1),
                             .width = last.teacher.size(2),
                             .classes = golden.item.at("args").at("classes")});
  fill_state(golden, head, [](const std::string& name) { return name.starts_with("classifier"); });
  head.reuse(classifier);
  const Tensor projected = head.project(last.student);
  const auto weight = static_cast<float>(golden.arg("weight"));
  const Tensor loss = weight * simkd_loss({.student = projected, .teacher = last.teacher});
  compare_value(loss, golden.item.at("value"), "value");
  backward(loss);
  compare_gradients(golden, &head);
  compare_buffers(golden, head);
  Complaints complaints;
  compare_matrix(head.classify(global_avg_pool(projected)).detach(), golden.item.at("logits"), "logits",
                 complaints);
  expect_none(complaints);
}

/// With the file's mask.
void check_mgd(GoldenCase& golden) {
  const FeaturePair last = last_pair("mgd", golden.outputs("student"), golden.outputs("teacher"));
  struct Named : Module {
    explicit Named(const FeaturePair& pair)
        : generator(add<MaskedGenerator>("mgd", pair.student.size(3), pair.teacher.size(3))) {}
    Tensor forward(const Tensor& x) override { return x; }
    MaskedGenerator& generator;
  } method(last);
  fill_state(golden, method, [](const std::string&) { return false; });
  const Shape shape{last.teacher.size(0), last.teacher.size(3)};
  Tensor kept = golden_values(golden.prefix + "mgd_random", shape, 0.5, 0.5);
  for (float& r : kept.data<float>()) r = static_cast<double>(r) < golden.arg("lambda") ? 0.0F : 1.0F;
  const Tensor generated = method.generator.forward(last.student, reshape(kept, {shape[0], 1, 1, shape[1]}));
  const Tensor loss = static_cast<float>(golden.arg("alpha")) * mgd_loss(generated, last.teacher);
  compare_value(loss, golden.item.at("value"), "value");
  backward(loss);
  compare_gradients(golden, &method);
}

/// The teacher's batch norms of the file, and the margins it has for them.
void check_ofd(GoldenCase& golden) {
  const json& weights = golden.item.at("teacher_bn_weight");
  const json& biases = golden.item.at("teacher_bn_bias");
  std::vector<std::unique_ptr<BatchNorm>> norms;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto weight = weights[i].get<std::vector<float>>();
    const auto bias = biases[i].get<std::vector<float>>();
    const Shape shape{static_cast<std::int64_t>(weight.size())};
    norms.push_back(std::make_unique<BatchNorm>(shape[0]));
    NamedTensors state = state_dict(*norms.back());
    state[0].second = Tensor::from(weight, shape);
    state[1].second = Tensor::from(bias, shape);
    load_state_dict(*norms.back(), state, "the file's batch norm");
    const std::vector<float> margins = ofd_margins(weight, bias);
    Complaints complaints;
    compare_matrix(Tensor::from(margins, shape), json::array({golden.item.at("margins")[i]}), "margins",
                   complaints);
    expect_none(complaints);
  }
  check_method(golden, [&](Outputs& teacher) {
    for (std::size_t i = 0; i < norms.size(); ++i)
      teacher.features.norms[teacher.features.norms.size() - norms.size() + i] = norms[i].get();
  });
}

/// Two steps with the file's negatives and the same batch.
void check_crd(GoldenCase& golden) {
  const json& item = golden.item;
  const auto images = item.at("args").at("n_data").get<std::int64_t>();
  std::vector<std::int64_t> labels;
  for (std::int64_t n = 0; n < images; ++n) labels.push_back(n);
  const std::unique_ptr<Method> made = method_of(golden);
  auto& method = dynamic_cast<Crd&>(*made);
  const FeaturePair pooled = pooled_pair("crd", golden.outputs("student"), golden.outputs("teacher"));
  Outputs student;
  Outputs teacher;
  student.features.pooled = pooled.student;
  teacher.features.pooled = pooled.teacher;
  method.connect(student, teacher, {.labels = labels, .classes = images});
  method.initialise(0);
  fill_state(golden, method, [](const std::string& name) { return name.starts_with("Z_"); });

  const auto index = item.at("index").get<std::vector<std::int64_t>>();
  const auto batch = static_cast<std::int64_t>(index.size());
  Tensor negatives = Tensor::zeros({batch, images});
  for (std::size_t b = 0; b < index.size(); ++b) {
    const auto drawn = item.at("contrast_index")[b].get<std::vector<std::size_t>>();
    REQUIRE(static_cast<std::int64_t>(drawn[0]) == index[b]);
    for (std::size_t k = 1; k < drawn.size(); ++k)
      negatives.data<float>()[b * static_cast<std::size_t>(images) + drawn[k]] += 1.0F;
  }
  const Tensor indices = Tensor::from(index, {batch});
  const auto weight = static_cast<float>(golden.arg("weight"));
  const Tensor loss = weight * method.contrast(pooled, indices, negatives);
  compare_value(loss, item.at("value"), "value");
  backward(loss);
  compare_gradients(golden, &method);
  Complaints complaints;
  for (const auto& [name, tensor] : state_dict(method)) {
    if (name.starts_with("Z_")) compare_value(tensor, item.at(name), name);
    if (!name.starts_with("memory_")) continue;
    const Tensor rows = gather_rows(tensor, indices);
    const Summary summary(item.at(name + "_rows"));
    compare_summary(rows, summary, relative_allowance(summary, rows.numel(), value_tolerance), name,
                    complaints);
  }
  expect_none(complaints);
  const NoGrad no_grad;
  compare_value(weight * method.contrast(pooled, indices, negatives), item.at("second_value"),
                "second value");
}

void check_nd(GoldenCase& golden) {
  const auto input = [&](const std::string& name) {
    return golden.tensor(name, shape_of(golden.item.at(name)));
  };
  const auto labels = golden.item.at("labels").get<std::vector<std::int64_t>>();
  const Tensor loss = static_cast<float>(golden.arg("weight")) *
                      nd_loss(input("nd_student"), input("nd_teacher"), input("nd_centres"),
                              Tensor::from(labels, {static_cast<std::int64_t>(labels.size())}));
  compare_value(loss, golden.item.at("value"), "value");
  backward(loss);
  compare_gradients(golden, nullptr);
}

void check_cat_kd(GoldenCase& golden) {
  const auto input = [&](const std::string& name) {
    return golden.tensor(name, shape_of(golden.item.at(name)));
  };
  const Tensor loss = static_cast<float>(golden.arg("weight")) *
                      cat_kd_loss(input("student_cam"), input("teacher_cam"),
                                  golden.item.at("args").at("resolution").get<std::int64_t>(),
                                  golden.item.at("args").at("normalize").get<bool>());
  compare_value(loss, golden.item.at("value"), "value");
  backward(loss);
  compare_gradients(golden, nullptr);
}

const std::map<std::string, void (*)(GoldenCase&)> others{{"cat_kd", check_cat_kd}, {"crd", check_crd},
                                                          {"nd", check_nd},         {"simkd", check_simkd},
                                                          {"mgd", check_mgd},       {"ofd", check_ofd}};

void check_case(const json& file, const json& item) {
  GoldenCase golden(file, item);
  const auto other = others.find(golden.method());
  if (other != others.end())
    other->second(golden);
  else
    check_method(golden);
}

std::vector<fs::path> golden_files() {
  std::vector<fs::path> files{fs::path(GENEROUS_SOURCE_DIR) / "tests/golden/feature_methods.json"};
  const char* folder = golden_variable();
  if (folder == nullptr) return files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

TEST_CASE("every case of the methods on features: value, gradients, buffers") {
  for (const fs::path& path : golden_files()) {
    std::ifstream stream(path);
    REQUIRE_MESSAGE(stream.good(), path);
    const json file = json::parse(stream);
    if (!file.contains("sets")) continue;  // another form
    std::map<std::string, int> checked;
    for (const json& item : file.at("cases")) {
      const auto method = item.at("method").get<std::string>();
      CAPTURE(path);
      CAPTURE(method);
      CAPTURE(item.at("args").dump());
      CAPTURE(item.value("set", std::string()));
      on_every_cpu_implementation([&] { check_case(file, item); });
      ++checked[method];
    }
    std::string list;
    for (const auto& [method, count] : checked) list += fmt::format(" {} {}", count, method);
    MESSAGE(path.filename() << ":" << list);
    CHECK(!checked.empty());
  }
}

}  // namespace
}  // namespace generous
