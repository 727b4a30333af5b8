// Every reference value of a folder (tests/golden/README.md), computed again and compared, on every CPU
// implementation. The folder is the environment variable GENEROUS_GOLDEN, or tests/golden.

#include <doctest/doctest.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/core/cpu_implementations.h"
#include "tests/nn/golden_files.h"
#include "tests/nn/golden_model.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_in(const fs::path& folder, const std::string& extension) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == extension) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string joined(const std::vector<std::string>& words) {
  return words.empty() ? "none" : fmt::format("{}", fmt::join(words, ", "));
}

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

const std::set<std::string> deepest{"densenet169", "resnet101"};
/// Under AddressSanitizer these take minutes and are left out: what they consist of is in other suites,
/// smaller.
const std::set<std::string> slow_instrumented{"densenet169", "mobile_half", "resnet101", "shufflev1",
                                              "shufflev2",   "vgg11_bn",    "vgg13_bn"};
#ifdef __SANITIZE_ADDRESS__
constexpr bool instrumented = true;
#else
constexpr bool instrumented = false;
#endif

bool model_is_known(const std::string& name) {
  const std::vector<std::string> names = model_names();
  return name.starts_with("wrn_") || std::ranges::count(names, name) == 1;
}

void check_state_dict(const fs::path& path, const IndexEntry& index) {
  const auto model = make_model(path.stem(), {.classes = index.classes});
  CHECK(model->parameter_count() == index.parameters);
  std::ifstream stream(path);
  std::string line;
  for (const auto& entry : state_dict(*model)) {
    REQUIRE_MESSAGE(std::getline(stream, line), entry.first);
    const auto [expected_name, expected_shape] = parse_line(line);
    REQUIRE(entry.first == expected_name);
    REQUIRE(entry.second.shape() == expected_shape);
  }
  CHECK_FALSE(std::getline(stream, line));
}

}  // namespace

TEST_CASE("every model file: state, logits, losses, gradients, one SGD step") {
  std::vector<std::string> checked;
  for (const fs::path& path : files_in(golden_folder(), ".json")) {
    CAPTURE(path);
    const json file = read_json(path);
    if (!file.contains("state_dict")) continue;  // the losses, the features
    // The readable implementation needs minutes for the deepest two; all that they consist of, smaller ones
    // have.
    if (instrumented && slow_instrumented.contains(path.stem())) continue;
    if (deepest.contains(path.stem()))
      check_golden_model(file);
    else
      on_every_cpu_implementation([&file] { check_golden_model(file); });
    checked.push_back(path.stem());
  }
  REQUIRE_MESSAGE(!checked.empty(), "no model files in " << golden_folder());
  MESSAGE("models checked: " << joined(checked));
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
      REQUIRE_MESSAGE(golden_variable() != nullptr, name << " is not there any more");
      skipped.push_back(name);
      continue;
    }
    check_state_dict(path, index.at(name));
    checked.push_back(name);
  }
  for (const std::string& name : model_names())
    if (name != "wrn_D_K" && std::ranges::count(checked, name) == 0)
      MESSAGE(name << " has no reference: nothing from outside says which state it should have");
  MESSAGE("state dicts checked: " << checked.size() << ", skipped: " << skipped.size() << " ("
                                  << joined(skipped) << ")");
}

}  // namespace generous
