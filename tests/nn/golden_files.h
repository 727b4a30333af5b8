// The folder of reference values: the environment variable GENEROUS_GOLDEN, or tests/golden.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

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

}  // namespace generous
