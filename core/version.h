// The version of this library, as the project's CMakeLists.txt has it.
#pragma once

#include <string_view>

namespace generous {

/// "MAJOR.MINOR.PATCH" (semver.org) of the library that was linked.
std::string_view version();

}  // namespace generous
