// Every reference value of a folder (tests/golden/README.md), computed again and compared, on every CPU
// implementation. The folder is the environment variable GENEROUS_GOLDEN, or tests/golden.

#include <doctest/doctest.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "nn/losses.h"
#include "nn/models/registry.h"
#include "nn/optim.h"
#include "nn/state_dict.h"
#include "tests/cpu_implementations.h"
#include "tests/golden_fill.h"

namespace generous {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The references are in double precision; single precision agrees to a few 1e-6 of a tensor's size, and 1e-4 leaves
// room for other machines' roundings.
constexpr double tolerance = 1e-4;
// A bias before a batch norm has no gradient in theory: the files have norms of about 1e-16, below `zero`, for it. In
// single precision it is the rounding error of a sum whose terms are of the size of the other gradients.
constexpr double zero = 1e-9;
constexpr double zero_tolerance = 1e-5;
// Gradients jump where the input of a ReLU crosses zero or where the largest of a pooling window changes, so an input
// closer to zero than its rounding error may add or drop a whole summand (PyTorch in single precision misses its own
// double-precision gradients by up to 2e-3 for that reason). How much such jumps can change each tensor is not guessed
// but measured: as the change of its gradient under noise in the images that is just above the rounding errors.
constexpr double noise_scale = 4e-6;
constexpr float learning_rate = 0.1F;

fs::path golden_folder() {
  const char* variable = std::getenv("GENEROUS_GOLDEN");
  return variable != nullptr ? fs::path(variable) : fs::path(GENEROUS_SOURCE_DIR) / "tests/golden";
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

/// A matrix of the file as a flat list.
std::vector<double> flat(const json& rows) {
  std::vector<double> values;
  for (const json& row : rows)
    for (const json& value : row) values.push_back(value.get<double>());
  return values;
}

Tensor tensor_of(const json& rows) {
  const std::vector<double> values = flat(rows);
  const auto b = static_cast<std::int64_t>(rows.size());
  return Tensor::from(std::vector<float>(values.begin(), values.end()),
                      {b, static_cast<std::int64_t>(values.size()) / b});
}

double norm(std::span<const float> values) {
  double sum = 0.0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

void check_close(double actual, double expected, double allowed, const std::string& what) {
  const bool close = std::abs(actual - expected) <= allowed;  // false for NaN
  CHECK_MESSAGE(close, what << ": " << actual << ", expected " << expected << " within " << allowed);
}

/// Every element within the tolerance, relative to the largest one.
void check_all(const Tensor& actual, const json& rows, const std::string& what) {
  const std::vector<double> expected = flat(rows);
  const auto values = actual.data<float>();
  REQUIRE(values.size() == expected.size());
  double largest = 0.0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < values.size(); ++i)
    check_close(static_cast<double>(values[i]), expected[i], tolerance * largest, fmt::format("{}[{}]", what, i));
}

void check_value(double actual, double expected, const std::string& what) {
  check_close(actual, expected, tolerance * std::abs(expected), what);
}

/// How far a tensor may be from the reference beyond the tolerance.
struct Jump {
  double norm = 0.0;
  double element = 0.0;
};

/// [norm, [first three values]] of the file against a tensor in PyTorch's layout. The norm is compared relative to
/// itself, an element relative to the typical element: norm / sqrt(count), or to itself where it is larger.
void check_summary(const Tensor& actual, const json& summary, const Jump& jump, const std::string& what) {
  const double expected_norm = summary.at(0).get<double>();
  const auto values = actual.data<float>();
  check_close(norm(values), expected_norm, tolerance * expected_norm + jump.norm, what + " norm");
  const double typical = expected_norm / std::sqrt(static_cast<double>(values.size()));
  const json& first = summary.at(1);
  REQUIRE(first.size() == std::min<std::size_t>(3, values.size()));
  for (std::size_t i = 0; i < first.size(); ++i) {
    const double expected = first[i].get<double>();
    check_close(static_cast<double>(values[i]), expected,
                tolerance * std::max(typical, std::abs(expected)) + jump.element, fmt::format("{}[{}]", what, i));
  }
}

// --- models ---

struct GoldenModel {
  explicit GoldenModel(const json& file)
      : classes(file.at("classes").get<std::int64_t>()), input(shape_of(file.at("input"))) {
    model = make_model(file.at("model").get<std::string>(),
                       {.classes = classes, .image = {input[2], input[3], input[1]}});
  }
  std::int64_t classes;
  Shape input;  ///< {N, C, H, W}
  std::unique_ptr<Module> model;
};

void check_state_and_fill(const json& file, Module& model) {
  const NamedTensors state = state_dict(model);
  const json& expected = file.at("state_dict");
  REQUIRE(state.size() == expected.size());
  NamedTensors filled;
  for (std::size_t i = 0; i < state.size(); ++i) {
    const auto& [name, tensor] = state[i];
    REQUIRE(name == expected[i].at(0).get<std::string>());
    REQUIRE(tensor.shape() == shape_of(expected[i].at(1)));
    filled.emplace_back(name, golden_state(name, tensor.shape()));
  }
  CHECK(model.parameter_count() == file.at("params").get<std::int64_t>());
  load_state_dict(model, filled, "the golden fill");
}

using NamedGradients = std::map<std::string, Tensor>;

/// Every parameter's gradient in PyTorch's layout.
NamedGradients gradients(const Module& model) {
  NamedGradients all;
  for (const StateEntry& entry : model.parameters()) {
    REQUIRE_MESSAGE(entry.tensor.grad().defined(), entry.name);
    all.emplace(entry.name, to_disk_layout(entry.tensor.grad(), entry.layout));
  }
  return all;
}

struct GoldenModel {
  explicit GoldenModel(const json& file)
      : input(shape_of(file.at("input"))),
        classes(file.at("classes").get<std::int64_t>()),
        images(nchw_to_nhwc(golden_values("input", input, 1.0))),
        labels(golden_labels(input[0], classes)),
        teacher_logits(golden_values("teacher_logits", {input[0], classes}, 3.0)),
        model(make_model(file.at("model").get<std::string>(),
                         {.classes = classes, .image = {input[2], input[3], input[1]}})) {}

  GenerousLoss loss_of(const Tensor& logits) const {
    return generous_loss(logits, teacher_logits, labels, {.tn = 1.0F, .alpha = 1.0F, .warmup = 0.5F});
  }

  Shape input;  ///< {N, C, H, W}
  std::int64_t classes;
  Tensor images;  ///< {N, H, W, C}
  Tensor labels;
  Tensor teacher_logits;
  std::unique_ptr<Module> model;
};

/// What the kinks can change in each gradient: by how much two opposite noises in the images change it.
std::map<std::string, Jump> measure_jumps(const GoldenModel& golden, const NamedTensors& weights,
                                          const NamedGradients& reference) {
  std::map<std::string, Jump> jumps;
  for (const double sign : {1.0, -1.0}) {
    const NoGrad guard;
    Tensor noisy = golden.images + nchw_to_nhwc(golden_values("noise", golden.input, sign * noise_scale));
    load_state_dict(*golden.model, weights, "the golden fill");
    for (const StateEntry& entry : golden.model->parameters()) Tensor(entry.tensor).clear_grad();
    backward(golden.loss_of((*golden.model)(noisy)).total);
    for (const auto& [name, gradient] : gradients(*golden.model)) {
      const Tensor change = gradient - reference.at(name);
      Jump& jump = jumps[name];
      jump.norm += norm(change.data<float>());
      const auto values = change.data<float>();
      jump.element += static_cast<double>(std::abs(*std::ranges::max_element(values, {}, [](float v) { return std::abs(v); })));
    }
  }
  return jumps;
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
    check_close(static_cast<double>(loss.item()), expected, value_tolerance * expected, name);
    backward(loss);
    check_all(student.grad(), item.at("grad_student"), value_tolerance, name + " gradient");
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
  MESSAGE("models checked: " << fmt::format("{}", fmt::join(checked, ", ")));
}

TEST_CASE("every loss of losses.json: value and full gradient") {
  const fs::path path = golden_folder() / "losses.json";
  const json file = read_json(path);
  on_every_cpu_implementation([&file] { check_losses(file); });

  std::vector<std::string> skipped;
  for (const json& item : file.at("cases"))
    if (const auto name = item.at("loss").get<std::string>(); not_yet.contains(name)) skipped.push_back(name);
  MESSAGE("losses checked: " << file.at("cases").size() - skipped.size() << ", skipped: " << skipped.size()
                             << " (" << fmt::format("{}", fmt::join(skipped, ", ")) << ")");
}

TEST_CASE("every model's names, shapes and parameter count") {
  const fs::path folder = golden_folder() / "state_dicts";
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
                                  << fmt::format("{}", fmt::join(skipped, ", ")) << ")");
}

}  // namespace generous
