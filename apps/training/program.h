// What the main function of every program does.
#pragma once

#include <exception>
#include <functional>
#include <string>
#include <string_view>

#include "core/options.h"
#include "nn/parallel/group.h"

namespace generous {

/// What an exception says to the user, and the exit code that it means.
Failure failure_of(const std::exception_ptr& error);

/// Runs `body`, which declares the program's settings and calls Options::finish, unless --version alone is
/// asked for. Returns its exit code; for an exception prints one line "program: what was wrong" on standard
/// error and returns 1, or 2 if the command line was wrong.
int run_program(const std::string& program, int argc, char** argv, const std::function<int(Options&)>& body);

/// Throws UsageError if `output` is the file that --`key` reads, `input`, by this or another name.
void require_other_file(const std::string& output, std::string_view key, const std::string& input);

}  // namespace generous
