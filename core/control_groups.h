// The control groups that Linux has put this process into: what of the machine it may use.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace generous {

/// The folders of the process's group of this controller ("cpu", "memory") and of every group around it, of
/// version 1 or 2, which all may set limits; folders that are not there among them. `root` is where /proc and
/// /sys are.
std::vector<std::filesystem::path> control_groups(const std::string& controller,
                                                  const std::filesystem::path& root = "/");

}  // namespace generous
