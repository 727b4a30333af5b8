#include "core/command.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace generous {

namespace fs = std::filesystem;

std::string shell_word(std::string_view text) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./:,=@%";
  if (!text.empty() && text.find_first_not_of(plain) == text.npos) return std::string(text);
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

namespace {

/// The folder of the running program; "" where the system does not tell.
fs::path folder_of_program() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path();
}

/// How a program is called from the current folder.
std::string call_of(const fs::path& program) {
  std::error_code error;
  const fs::path here = fs::current_path(error);
  const fs::path relative = error ? program : program.lexically_relative(here);
  const bool below = !relative.empty() && *relative.begin() != "..";
  if (!below) return shell_word(program.string());
  // One without a folder would be looked for in PATH.
  return shell_word(relative.has_parent_path() ? relative.string() : "./" + relative.string());
}

}  // namespace

std::string program_beside(std::string_view name) {
  const fs::path folder = folder_of_program();
  return folder.empty() ? shell_word(name) : call_of(folder / name);
}

std::optional<std::string> find_program(std::string_view name) {
  const fs::path folder = folder_of_program();
  for (const fs::path& place : {folder, folder.parent_path()}) {
    std::error_code not_there;
    if (fs::is_regular_file(place / name, not_there)) return call_of(place / name);
  }
  return {};
}

}  // namespace generous
