// Every reference value of a folder (tests/golden/README.md), computed again and compared, on every CPU
// implementation. The folder is the environment variable GENEROUS_GOLDEN, or tests/golden.

#include <doctest/doctest.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "nn/losses.h"
#include "nn/models/registry.h"
#include "nn/optim.h"
#include "nn/state_dict.h"
#include "tests/cpu_implementations.h"
#include "tests/golden_compare.h"
#include "tests/golden_fill.h"

namespace generous {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// The folder from the environment, or nullptr: the project's own.
const char* golden_variable() { return std::getenv("GENEROUS_GOLDEN"); }

fs::path golden_folder() {
  const char* variable = golden_variable();
  return variable != nullptr ? fs::path(variable) : fs::path(GENEROUS_SOURCE_DIR) / "tests/golden";
}

/// Whether a part of the folder is there; only a folder from the environment may lack one.
bool golden_has(const fs::path& path) {
  if (fs::exists(path)) return true;
  REQUIRE_MESSAGE(golden_variable() != nullptr, path);
  MESSAGE("not in the folder: " << path);
  return false;
}

json read_json(const fs::path& path) {
  std::ifstream stream(path);
  REQUIRE_MESSAGE(stream.good(), path);
  return json::parse(stream);
}

std::vector<fs::path> files_in(const fs::path& folder, const std::string& extension) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == extension) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

Shape shape_of(const json& dims) {
  return Shape(std::span<const std::int64_t>(dims.get<std::vector<std::int64_t>>()));
}

Tensor tensor_of(const json& rows) {
  const std::vector<double> values = flat(rows);
  const auto b = static_cast<std::int64_t>(rows.size());
  return Tensor::from(std::vector<float>(values.begin(), values.end()),
                      {b, static_cast<std::int64_t>(values.size()) / b});
}

std::string joined(const std::vector<std::string>& words) {
  return words.empty() ? "none" : fmt::format("{}", fmt::join(words, ", "));
}

// --- models ---

/// A model file's model with the deterministic weights, and its inputs.
struct GoldenModel {
  explicit GoldenModel(const json& file)
      : input(shape_of(file.at("input"))),
        classes(file.at("classes").get<std::int64_t>()),
        images(nchw_to_nhwc(golden_values("input", input, 1.0))),
        labels(golden_labels(input[0], classes)),
        teacher_logits(golden_values("teacher_logits", {input[0], classes}, 3.0)),
        model(make_model(file.at("model").get<std::string>(),
                         {.classes = classes, .image = {input[2], input[3], input[1]}})) {
    NamedTensors weights;
    for (const auto& [name, tensor] : state_dict(*model))
      weights.emplace_back(name, golden_state(name, tensor.shape()));
    load_state_dict(*model, weights, "the deterministic fill");
  }

  GenerousLoss loss(const Tensor& logits) const {
    return generous_loss(logits, teacher_logits, labels, {.tn = 1.0F, .alpha = 1.0F, .warmup = 0.5F});
  }

  Shape input;  ///< {N, C, H, W}
  std::int64_t classes;
  Tensor images;  ///< {N, H, W, C}
  Tensor labels;
  Tensor teacher_logits;
  std::unique_ptr<Module> model;
};

void check_state(const json& file, const Module& model) {
  const NamedTensors state = state_dict(model);
  const json& expected = file.at("state_dict");
  REQUIRE(state.size() == expected.size());
  for (std::size_t i = 0; i < state.size(); ++i) {
    CHECK(state[i].first == expected[i].at(0).get<std::string>());
    CHECK(state[i].second.shape() == shape_of(expected[i].at(1)));
  }
  CHECK(model.parameter_count() == file.at("params").get<std::int64_t>());
}

void expect_none(const Complaints& complaints) {
  CHECK_MESSAGE(complaints.empty(), fmt::format("\n{}", fmt::join(complaints, "\n")));
}

/// One tensor per parameter, in PyTorch's layout, by name.
using NamedGradients = std::map<std::string, Tensor>;
using Allowances = std::map<std::string, Allowance>;

NamedGradients gradients_of(const Module& model) {
  NamedGradients all;
  for (const StateEntry& entry : model.parameters()) {
    REQUIRE_MESSAGE(entry.tensor.grad().defined(), entry.name);
    all.emplace(entry.name, to_disk_layout(entry.tensor.grad(), entry.layout));
  }
  return all;
}

// A bias before a batch norm has no gradient in theory: the files have norms of about 1e-16 for it. In single
// precision it is the rounding error of a sum whose terms are of the size of the other gradients.
constexpr double zero = 1e-9;
constexpr double zero_tolerance = 1e-5;

Allowances gradient_allowances(const json& file, const NamedGradients& gradients) {
  double largest_norm = 0.0;
  for (const json& entry : file.at("grad")) largest_norm = std::max(largest_norm, Summary(entry).norm);
  Allowances allowances;
  for (const auto& [name, gradient] : gradients) {
    const Summary expected(file.at("grad").at(name));
    allowances[name] = expected.norm < zero
                           ? Allowance{zero_tolerance * largest_norm, zero_tolerance * largest_norm}
                           : relative_allowance(expected, gradient.numel(), gradient_tolerance);
  }
  return allowances;
}

Complaints compare_gradients(const json& file, const NamedGradients& gradients,
                             const Allowances& allowances) {
  Complaints complaints;
  for (const auto& [name, gradient] : gradients)
    compare_summary(gradient, Summary(file.at("grad").at(name)), allowances.at(name), "gradient of " + name,
                    complaints);
  return complaints;
}

// A gradient jumps where the input of a ReLU crosses zero, or where another element of a pooling window
// becomes the largest. An input closer to zero than its rounding error may fall on either side and adds its
// summand or does not: PyTorch in single precision, too, misses some of its own double-precision gradients by
// 2e-3, and which ones depends on the machine. Where the strict comparison fails, the jumps within the reach
// of rounding errors are measured and allowed: the change of each gradient under a few noises in the images,
// of the size of a few rounding errors.
constexpr double noise_scale = 5e-7;
constexpr int noises = 6;

void allow_measured_jumps(const json& file, const NamedGradients& reference, Allowances& allowances) {
  Allowances jumps;
  for (int i = 0; i < noises; ++i) {
    const GoldenModel golden(file);
    const Tensor noise = nchw_to_nhwc(golden_values(fmt::format("noise{}", i), golden.input, noise_scale));
    backward(golden.loss(golden.model->forward(golden.images + noise)).total);
    for (const auto& [name, gradient] : gradients_of(*golden.model)) {
      const Tensor change = gradient - reference.at(name);
      Allowance& jump = jumps[name];
      jump.norm = std::max(jump.norm, norm_of(change.data<float>()));
      for (const float value : change.data<float>())
        jump.element = std::max(jump.element, std::abs(static_cast<double>(value)));
    }
  }
  for (auto& [name, allowance] : allowances) {
    allowance.norm += jumps.at(name).norm;
    allowance.element += jumps.at(name).element;
  }
}

/// A step moves a parameter by learning_rate times the gradient, and its error with it.
Complaints compare_after_step(const json& file, const Module& model, float learning_rate,
                              const Allowances& gradient_errors) {
  const json& expected = file.at("after_step");
  Complaints complaints;
  std::size_t compared = 0;
  for (const auto& [name, tensor] : state_dict(model)) {
    if (name.ends_with("num_batches_tracked")) {
      CHECK(tensor.data<std::int64_t>()[0] == 1);  // one batch in training mode so far
      continue;
    }
    const Summary summary(expected.at(name));
    Allowance allowance = relative_allowance(summary, tensor.numel(), value_tolerance);
    if (const auto it = gradient_errors.find(name);
        it != gradient_errors.end()) {  // buffers have no gradient
      allowance.norm += static_cast<double>(learning_rate) * it->second.norm;
      allowance.element += static_cast<double>(learning_rate) * it->second.element;
    }
    compare_summary(tensor, summary, allowance, name + " after the step", complaints);
    ++compared;
  }
  CHECK(compared == expected.size());
  return complaints;
}

Complaints compare_outputs(const json& file, const Tensor& logits, const GenerousLoss& loss) {
  Complaints complaints;
  compare_matrix(logits, file.at("train_logits"), "training logits", complaints);
  const auto compare_loss = [&](const Tensor& value, const std::string& key) {
    const double expected = file.at(key).get<double>();
    compare(static_cast<double>(value.item()), expected, value_tolerance * expected, key, complaints);
  };
  compare_loss(loss.cross_entropy, "cross_entropy");
  compare_loss(loss.nckd, "nckd");
  compare_loss(loss.total, "generous_loss");
  return complaints;
}

void check_model(const json& file) {
  const GoldenModel golden(file);
  Module& model = *golden.model;
  check_state(file, model);
  REQUIRE(std::ranges::equal(golden.labels.data<std::int64_t>(),
                             file.at("labels").get<std::vector<std::int64_t>>()));

  model.eval();
  Complaints complaints;
  {
    const NoGrad guard;
    compare_matrix(model(golden.images), file.at("eval_logits"), "evaluation logits", complaints);
  }
  expect_none(complaints);

  model.train();
  const auto optimizer = make_sgd(model, {.momentum = 0.9F, .weight_decay = 5e-4F});
  const Tensor logits = model(golden.images);
  const GenerousLoss loss = golden.loss(logits);
  expect_none(compare_outputs(file, logits, loss));

  backward(loss.total);
  const NamedGradients gradients = gradients_of(model);
  REQUIRE(gradients.size() == file.at("grad").size());
  Allowances allowances = gradient_allowances(file, gradients);
  if (!compare_gradients(file, gradients, allowances).empty())
    allow_measured_jumps(file, gradients, allowances);
  expect_none(compare_gradients(file, gradients, allowances));

  constexpr float learning_rate = 0.1F;
  optimizer->step(learning_rate);
  expect_none(compare_after_step(file, model, learning_rate, allowances));
}

// --- losses ---

/// Losses of the file that the project does not have yet.
const std::set<std::string> not_yet{"dkd", "normkd", "lskd", "dist"};

Tensor compute_loss(const std::string& name, const json& args, const Tensor& student, const Tensor& teacher,
                    const Tensor& labels) {
  const auto arg = [&args](const char* key) { return args.at(key).get<float>(); };
  if (name == "cross_entropy") return cross_entropy(student, labels);
  if (name == "kd")
    return kd_loss(student, teacher, labels, {.temperature = arg("T"), .alpha = arg("alpha")}).total;
  if (name == "generous")
    return generous_loss(student, teacher, labels,
                         {.tn = arg("Tn"), .alpha = arg("alpha"), .warmup = arg("warm")})
        .total;
  fail("losses.json: no loss '{}' here", name);
}

void check_losses(const json& file) {
  const Tensor teacher = tensor_of(file.at("teacher_logits"));
  const auto label_list = file.at("labels").get<std::vector<std::int64_t>>();
  const Tensor labels = Tensor::from(label_list, {static_cast<std::int64_t>(label_list.size())});
  for (const json& item : file.at("cases")) {
    const auto name = item.at("loss").get<std::string>();
    if (not_yet.contains(name)) continue;
    CAPTURE(item.at("args").dump());
    Tensor student = tensor_of(file.at("student_logits"));
    student.require_grad();
    const Tensor loss = compute_loss(name, item.at("args"), student, teacher, labels);
    const double expected = item.at("value").get<double>();
    Complaints complaints;
    compare(static_cast<double>(loss.item()), expected, value_tolerance * expected, name, complaints);
    backward(loss);
    compare_matrix(student.grad(), item.at("grad_student"), name + " gradient", complaints);
    expect_none(complaints);
  }
}

// --- state dicts ---

/// "conv1.weight 16x3x3x3" -> name and shape; "scalar" is the shape {}.
std::pair<std::string, Shape> parse_line(const std::string& line) {
  std::istringstream stream(line);
  std::string name;
  std::string text;
  stream >> name >> text;
  if (text == "scalar") return {name, Shape()};
  std::vector<std::int64_t> dims;
  std::istringstream extents(text);
  for (std::string extent; std::getline(extents, extent, 'x');) dims.push_back(std::stoll(extent));
  return {name, Shape(std::span<const std::int64_t>(dims))};
}

struct IndexEntry {
  std::int64_t classes = 0;
  std::int64_t parameters = 0;
};

std::map<std::string, IndexEntry> read_index(const fs::path& path) {
  std::ifstream stream(path);
  REQUIRE_MESSAGE(stream.good(), path);
  std::string line;
  std::getline(stream, line);  // the heading
  std::map<std::string, IndexEntry> index;
  std::string name;
  IndexEntry entry;
  while (stream >> name >> entry.classes >> entry.parameters) index[name] = entry;
  return index;
}

bool model_is_known(const std::string& name) {
  const std::vector<std::string> names = model_names();
  return name.starts_with("wrn_") || std::ranges::count(names, name) == 1;
}

void check_state_dict(const fs::path& path, const IndexEntry& index) {
  const auto model = make_model(path.stem(), {.classes = index.classes});
  CHECK(model->parameter_count() == index.parameters);
  std::ifstream stream(path);
  std::string line;
  for (const auto& [name, tensor] : state_dict(*model)) {
    REQUIRE_MESSAGE(std::getline(stream, line), name);
    const auto [expected_name, expected_shape] = parse_line(line);
    REQUIRE(name == expected_name);
    REQUIRE(tensor.shape() == expected_shape);
  }
  CHECK_FALSE(std::getline(stream, line));
}

}  // namespace

TEST_CASE("every model file: state, logits, losses, gradients, one SGD step") {
  std::vector<std::string> checked;
  for (const fs::path& path : files_in(golden_folder(), ".json")) {
    if (path.filename() == "losses.json") continue;
    CAPTURE(path);
    const json file = read_json(path);
    on_every_cpu_implementation([&file] { check_model(file); });
    checked.push_back(path.stem());
  }
  REQUIRE_MESSAGE(!checked.empty(), "no model files in " << golden_folder());
  MESSAGE("models checked: " << joined(checked));
}

TEST_CASE("every loss of losses.json: value and full gradient") {
  const fs::path path = golden_folder() / "losses.json";
  if (!golden_has(path)) return;
  const json file = read_json(path);
  on_every_cpu_implementation([&file] { check_losses(file); });

  std::vector<std::string> skipped;
  for (const json& item : file.at("cases"))
    if (const auto name = item.at("loss").get<std::string>(); not_yet.contains(name)) skipped.push_back(name);
  MESSAGE("losses checked: " << file.at("cases").size() - skipped.size() << ", skipped: " << skipped.size()
                             << " (" << joined(skipped) << ")");
}

TEST_CASE("every model's names, shapes and parameter count") {
  const fs::path folder = golden_folder() / "state_dicts";
  if (!golden_has(folder)) return;
  const auto index = read_index(folder / "INDEX.txt");
  std::vector<std::string> checked;
  std::vector<std::string> skipped;
  for (const fs::path& path : files_in(folder, ".txt")) {
    const std::string name = path.stem();
    if (name == "INDEX") continue;
    CAPTURE(name);
    if (!model_is_known(name)) {
      skipped.push_back(name);
      continue;
    }
    check_state_dict(path, index.at(name));
    checked.push_back(name);
  }
  for (const std::string& name : model_names())
    if (name != "wrn_D_K") CHECK_MESSAGE(std::ranges::count(checked, name) == 1, name << " has no reference");
  MESSAGE("state dicts checked: " << checked.size() << ", skipped: " << skipped.size() << " ("
                                  << joined(skipped) << ")");
}

}  // namespace generous
