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

std::string program_beside(std::string_view name) {
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  if (error) return shell_word(name);
  const fs::path program = folder / name;
  const fs::path here = fs::current_path(error);
  const fs::path relative = error ? program : program.lexically_relative(here);
  const bool below = !relative.empty() && *relative.begin() != "..";
  if (!below) return shell_word(program.string());
  // One without a folder would be looked for in PATH.
  return shell_word(relative.has_parent_path() ? relative.string() : "./" + relative.string());
}

}  // namespace generous
