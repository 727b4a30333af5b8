// The folder of reference values: the environment variable GENEROUS_GOLDEN, or tests/golden.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace generous {

/// The folder from the environment, or nullptr: the project's own.
inline const char* golden_variable() { return std::getenv("GENEROUS_GOLDEN"); }

inline std::filesystem::path golden_folder() {
  const char* variable = golden_variable();
  return variable != nullptr ? std::filesystem::path(variable)
                             : std::filesystem::path(GENEROUS_SOURCE_DIR) / "tests/golden";
}

/// Whether a part of the folder is there; only a folder from the environment may lack one.
inline bool golden_has(const std::filesystem::path& path) {
  if (std::filesystem::exists(path)) return true;
  REQUIRE_MESSAGE(golden_variable() != nullptr, path);
  MESSAGE("not in the folder: " << path);
  return false;
}

inline nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream stream(path);
  REQUIRE_MESSAGE(stream.good(), path);
  return nlohmann::json::parse(stream);
}

/// A file of the folder; nullopt where golden_has says no.
inline std::optional<nlohmann::json> golden_json(const std::string& name) {
  if (!golden_has(golden_folder() / name)) return std::nullopt;
  return read_json(golden_folder() / name);
}

/// The names among `found`, sums of methods apart, that are `listed` or have reference values: without those
/// of methods that nobody from outside has said anything of.
inline std::vector<std::string> methods_with_reference(const std::vector<std::string>& found,
                                                       const std::vector<std::string>& listed) {
  const std::filesystem::path folder = std::filesystem::path(GENEROUS_SOURCE_DIR) / "tests/golden";
  std::set<std::string> known(listed.begin(), listed.end());
  for (const auto& [file, key] :
       {std::pair{"logit_methods.json", "loss"}, {"feature_methods.json", "method"}})
    for (const auto& entry : read_json(folder / file).at("cases")) known.insert(entry.at(key));
  std::vector<std::string> kept;
  for (const std::string& name : found)
    if (known.contains(name) || name.find(',') != std::string::npos) kept.push_back(name);
  return kept;
}

}  // namespace generous
