// Standard output and standard error of a program: what is lost is said, and an error message never hangs.
#pragma once

#include <chrono>
#include <string_view>

namespace generous {

/// How long the end of a program waits for a terminal or a pipe that takes nothing.
inline constexpr std::chrono::seconds patience{1};

/// To be called first in a program. Descriptors 0, 1 and 2 that the program was started without are taken, so
/// that no file opened later is mistaken for one of them. Writing to a standard output that was closed still
/// fails (EBADF). Writing to a pipe without a reader fails as well, instead of ending the process.
void prepare_standard_streams();

/// Writes all of `text`. Returns 0, or the errno of what failed. Waits for as long as it takes.
int write_all(int descriptor, std::string_view text);

/// A program's result, for standard output: one line, made printable (core/printable.h). Throws Error when it
/// cannot be written.
void print_line(std::string_view line);
/// The same for several lines, each ended by '\n'.
void print_lines(std::string_view lines);

/// A message, one line, for standard error, made printable. What cannot be written within `patience` is given
/// up: there is nowhere left to say so.
void print_error(std::string_view line) noexcept;

}  // namespace generous
