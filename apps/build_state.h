// What a program was built from, and how.
#pragma once

#include <string>

namespace generous {

/// As texts for people.
struct BuildState {
  std::string version;   ///< "generous 0.1"
  std::string source;    ///< "git 0123456789ab of 2026-01-31, with changes", or that it is no checkout of git
  std::string compiler;  ///< "GNU 12.2.0, Release, -march=native"
  std::string libraries;  ///< those that are known at build time: "Eigen 3.4.0, fmt 9.1.0"
};

/// Of this program. Defined in a source that each build makes anew where it changed (apps/build_state.cmake);
/// main functions alone use it, so that a commit compiles one file and links the programs.
BuildState build_state();

}  // namespace generous
