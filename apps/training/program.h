// What the main function of every program does.
#pragma once

#include "apps/training/config.h"

namespace generous {

/// Reads the configuration and runs `body` with it. Returns its exit code; for an exception prints one line
/// "program: what was wrong" on standard error and returns 1, or 2 if the command line was wrong.
int run_program(Program program, int argc, char** argv, int (*body)(const Config&));

}  // namespace generous
