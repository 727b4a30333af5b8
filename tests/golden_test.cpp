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

/// Every parameter's gradient in PyTorch's layout.
using NamedGradients = std::map<std::string, Tensor>;

NamedGradients gradients_of(const Module& model) {
  NamedGradients all;
  for (const StateEntry& entry : model.parameters()) {
    REQUIRE_MESSAGE(entry.tensor.grad().defined(), entry.name);
    all.emplace(entry.name, to_disk_layout(entry.tensor.grad(), entry.layout));
  }
  return all;
}

// A gradient jumps where the input of a ReLU crosses zero, or where another element of a pooling window
// becomes the largest. An input closer to zero than its rounding error may be on either side, and adds a
// summand or does not: PyTorch in single precision misses its own double-precision gradients by up to 2e-3
// for that reason, and which do so depends on the machine. So how far jumps can move each gradient is
// measured: by two opposite noises in the images, somewhat above rounding errors. It is 0 for models that
// have no such inputs.
constexpr double noise_scale = 4e-6;

std::map<std::string, Jump> measure_jumps(const json& file, const NamedGradients& reference) {
  std::map<std::string, Jump> jumps;
  for (const double scale : {noise_scale, -noise_scale}) {
    const GoldenModel golden(file);
    const Tensor noise = nchw_to_nhwc(golden_values("noise", golden.input, scale));
    backward(golden.loss(golden.model->forward(golden.images + noise)).total);
    for (const auto& [name, gradient] : gradients_of(*golden.model)) {
      const Tensor change = gradient - reference.at(name);
      Jump& jump = jumps[name];
      jump.norm += norm_of(change.data<float>());
      double largest = 0.0;
      for (const float value : change.data<float>())
        largest = std::max(largest, std::abs(static_cast<double>(value)));
      jump.element += largest;
    }
  }
  return jumps;
}

void check_gradients(const json& file, const NamedGradients& gradients,
                     const std::map<std::string, Jump>& jumps) {
  const json& expected = file.at("grad");
  REQUIRE(gradients.size() == expected.size());
  double largest_norm = 0.0;
  for (const auto& [name, summary] : expected.items())
    largest_norm = std::max(largest_norm, summary.at(0).get<double>());
  for (const auto& [name, gradient] : gradients) {
    const json& summary = expected.at(name);
    if (summary.at(0).get<double>() < golden_zero)
      check_close(norm_of(gradient.data<float>()), 0.0, golden_zero_tolerance * largest_norm,
                  "gradient of " + name + " norm");
    else
      check_summary(gradient, summary, jumps.at(name), "gradient of " + name);
  }
}

void check_after_step(const json& file, const Module& model, float learning_rate,
                      const std::map<std::string, Jump>& jumps) {
  const json& expected = file.at("after_step");
  std::size_t checked = 0;
  for (const auto& [name, tensor] : state_dict(model)) {
    if (name.ends_with("num_batches_tracked")) {
      CHECK(tensor.data<std::int64_t>()[0] == 1);  // one batch in training mode so far
      continue;
    }
    const auto it = jumps.find(name);  // buffers have no gradient
    const Jump jump = it == jumps.end() ? Jump() : it->second;
    const auto rate = static_cast<double>(learning_rate);
    check_summary(tensor, expected.at(name), {.norm = rate * jump.norm, .element = rate * jump.element},
                  name + " after the step");
    ++checked;
  }
  CHECK(checked == expected.size());
}

void check_model(const json& file) {
  const GoldenModel golden(file);
  Module& model = *golden.model;
  check_state(file, model);
  REQUIRE(std::ranges::equal(golden.labels.data<std::int64_t>(),
                             file.at("labels").get<std::vector<std::int64_t>>()));

  model.eval();
  {
    const NoGrad guard;
    check_matrix(model(golden.images), file.at("eval_logits"), "evaluation logits");
  }

  model.train();
  const auto optimizer = make_sgd(model, {.momentum = 0.9F, .weight_decay = 5e-4F});
  const Tensor logits = model(golden.images);
  check_matrix(logits, file.at("train_logits"), "training logits");
  const GenerousLoss loss = golden.loss(logits);
  const auto check_loss = [&file](const Tensor& value, const char* key) {
    check_value(static_cast<double>(value.item()), file.at(key).get<double>(), key);
  };
  check_loss(loss.cross_entropy, "cross_entropy");
  check_loss(loss.nckd, "nckd");
  check_loss(loss.total, "generous_loss");

  backward(loss.total);
  const NamedGradients gradients = gradients_of(model);
  const auto jumps = measure_jumps(file, gradients);
  check_gradients(file, gradients, jumps);
  constexpr float learning_rate = 0.1F;
  optimizer->step(learning_rate);
  check_after_step(file, model, learning_rate, jumps);
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
    check_value(static_cast<double>(loss.item()), expected, name);
    backward(loss);
    check_matrix(student.grad(), item.at("grad_student"), name + " gradient");
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
