// What the suites about runs ask of the programs they run.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "core/safetensors.h"
#include "tests/apps/program_runs.h"

namespace generous {

/// The program ends with exit code 1 and one line of its own (the dataset's cache may have notes before it)
/// that holds every fragment.
inline void refuses(const std::string& program, const Arguments& arguments,
                    const std::vector<std::string>& fragments) {
  const Finished finished = run_app(program, arguments);
  CAPTURE(arguments);
  CAPTURE(finished.err);
  CHECK(finished.exit_code == 1);
  const std::string message =
      finished.err.substr(std::min(finished.err.find(program + ": "), finished.err.size()));
  CHECK(std::count(message.begin(), message.end(), '\n') == 1);
  for (const std::string& fragment : fragments) {
    CAPTURE(fragment);
    CHECK(contains(message, fragment));
  }
}

/// The program ends with exit code 0; its standard output.
inline std::string completes(const std::string& program, const Arguments& arguments) {
  const Finished finished = run_app(program, arguments);
  CAPTURE(arguments);
  CAPTURE(finished.err);
  REQUIRE(finished.exit_code == 0);
  return finished.out;
}

/// Every file of a folder and its content, but for the lock.
inline std::map<std::string, std::string> content_of(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename() != ".lock") files[entry.path().filename()] = read_file(entry.path());
  return files;
}

/// Changes the metadata of a safetensors file.
template <class Change>
void change_metadata(const std::filesystem::path& path, Change change) {
  SafetensorsFile file = read_safetensors(path);
  change(file.metadata);
  write_safetensors(path, file.tensors, file.metadata);
}

/// Makes a training state what it was before it said what the run computes from.
inline void make_old_state(const std::filesystem::path& path) {
  change_metadata(path, [](auto& metadata) {
    for (const char* key : {"classes", "hashes", "threads", "metrics"}) metadata.erase(key);
  });
}

}  // namespace generous
