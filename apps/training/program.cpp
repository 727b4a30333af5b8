#include "apps/training/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <new>
#include <system_error>

#include "core/console.h"
#include "core/error.h"

namespace generous {

namespace {

int report(const std::string& program, std::string_view message, int exit_code) {
  print_error(fmt::format("{}: {}", program, message));
  return exit_code;
}

}  // namespace

void require_other_file(const std::string& output, std::string_view key, const std::string& input) {
  std::error_code not_there;
  if (std::filesystem::equivalent(output, input, not_there))
    throw UsageError(
        fmt::format("--output {} is the file that --{} reads ({}): give another one", output, key, input));
}

int run_program(const std::string& program, int argc, char** argv, const std::function<int(Options&)>& body) {
  prepare_standard_streams();
  // A write beyond the file size limit then fails like one on a full disk, instead of ending the process.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    Options options(program, {argv + std::min(argc, 1), argv + argc});
    return body(options);
  } catch (const UsageError& error) {
    return report(program, error.what(), 2);
  } catch (const std::bad_alloc&) {
    return report(program, "out of memory: try a smaller --batch_size", 1);
  } catch (const std::filesystem::filesystem_error& error) {
    return report(program, fmt::format("{}: {}", error.path1().string(), error.code().message()), 1);
  } catch (const std::system_error& error) {
    const bool no_thread = error.code() == std::errc::resource_unavailable_try_again;
    return report(program,
                  no_thread
                      ? "cannot start a thread: raise the limits on processes (ulimit -u) and address space "
                        "(ulimit -v)"
                      : error.what(),
                  1);
  } catch (const std::exception& error) {
    return report(program, error.what(), 1);
  }
}

}  // namespace generous
