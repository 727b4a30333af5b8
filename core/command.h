// Command lines in messages, as they can be pasted into a shell.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace generous {

/// A text as one word of a shell's command line: in single quotes unless nothing in it is special there.
std::string shell_word(std::string_view text);

/// How another program of this build is called from the current folder, as a word: `build/apps/train_kd`.
std::string program_beside(std::string_view name);

/// The same of a program that may not be there: beside this one or in the folder above.
std::optional<std::string> find_program(std::string_view name);

}  // namespace generous
