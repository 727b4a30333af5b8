#include "apps/training/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <map>
#include <new>
#include <system_error>

#include "core/console.h"
#include "core/error.h"
#include "core/version.h"

namespace generous {

Failure failure_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const SharedError& shared) {
    return {shared.what(), shared.exit_code()};
  } catch (const UsageError& usage) {
    return {usage.what(), 2};
  } catch (const std::bad_alloc&) {
    return {"out of memory: try a smaller --batch_size", 1};
  } catch (const std::filesystem::filesystem_error& file) {
    return {fmt::format("{}: {}", file.path1().string(), file.code().message()), 1};
  } catch (const std::system_error& system) {
    const bool no_thread = system.code() == std::errc::resource_unavailable_try_again;
    return {no_thread ? "cannot start a thread: raise the limits on processes (ulimit -u) and address space "
                        "(ulimit -v)"
                      : system.what(),
            1};
  } catch (const std::exception& other) {
    return {other.what(), 1};
  }
}

namespace {

/// Names of other programs, the paper's among them, that are understood.
std::map<std::string, std::string> habits() {
  return {{"lr", "learning_rate"},
          {"epochs", "num_epochs"},
          {"epoch", "num_epochs"},
          {"bs", "batch_size"},
          {"wd", "weight_decay"},
          {"model", "model_name"},
          {"arch", "model_name"},
          {"model_s", "model_name"},
          {"model_t", "teacher_model"},
          {"path_t", "teacher_resume"},
          {"data", "data_dir"},
          {"data_path", "data_dir"},
          {"workers", "num_workers"},
          {"milestones", "schedule"},
          {"lr_decay_epochs", "schedule"},
          {"lr_decay_rate", "gamma"},
          {"opt", "optimizer"},
          {"optim", "optimizer"},
          {"distill", "method"},
          {"output_dir", "save_path"},
          {"save_dir", "save_path"},
          {"smoothing", "label_smoothing"},
          {"T", "temperature"},
          {"kd_T", "temperature"},
          {"checkpoint", "weights"},
          {"ckpt", "weights"}};
}

/// What to say of others' flags that have no counterpart of the same values.
std::map<std::string, Options::Answer> answers() {
  const Options::Answer device{"device",
                               "the GPU is chosen by --device, as cuda:1; of several processes, mpirun -np "
                               "2, each takes one of cuda:0,1"};
  const Options::Answer start{"init", "weights to start from are given by --init FILE"};
  return {
      {"gpu_id", device},
      {"gpu", device},
      {"gpus", device},
      {"gpu_ids", device},
      {"pretrained", start},
      {"load", start},
      {"amp", {"dtype", "give --dtype bf16"}},
      {"teacher",
       {"teacher_resume", "a teacher is given by --teacher_resume, its weights or the folder of its run"}}};
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
    if (argc == 2 && std::string_view(argv[1]) == "--version") {
      print_line(fmt::format("{} (generous) {}", program, version()));
      return 0;
    }
    Options options(program, {argv + std::min(argc, 1), argv + argc});
    options.habits(habits());
    options.answers(answers());
    return body(options);
  } catch (const std::exception&) {
    const Failure failure = failure_of(std::current_exception());
    print_error(fmt::format("{}: {}", program, failure.message));
    return failure.exit_code;
  }
}

}  // namespace generous
