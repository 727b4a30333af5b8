// Runs the programs by mpirun, on this machine alone.
#pragma once

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "tests/apps/run_checks.h"

namespace generous {

/// For a machine with fewer cores than processes, for root, and for containers that do not let one process
/// read another's memory; whom Open MPI ends it ends at once. Its settings; others ignore them.
inline void prepare_mpi() {
  for (const auto& [name, value] : {std::pair{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                                    {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                                    {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
                                    {"OMPI_MCA_hwloc_base_binding_policy", "none"},
                                    {"OMPI_MCA_btl_vader_single_copy_mechanism", "none"},
                                    {"OMPI_MCA_odls_base_sigkill_timeout", "0"}})
    ::setenv(name, value, 1);
}

inline std::string program_path(const std::string& name) {
  return std::string(GENEROUS_APPS_DIR) + "/" + name;
}

/// The flags of mpirun for so many processes of one program.
inline Arguments processes(int count, const std::string& program, const Arguments& flags) {
  return Arguments{"-np", std::to_string(count), program_path(program)} + flags;
}

/// Two processes, each with flags of its own.
inline Arguments unlike(const std::string& program, const Arguments& first, const Arguments& second) {
  return processes(1, program, first) + Arguments{":"} + processes(1, program, second);
}

inline Finished mpirun(const Arguments& arguments) {
  prepare_mpi();
  return run_app(GENEROUS_MPIRUN, arguments);
}

/// The lines of a text that begin with a program's name and a colon: its own, beside those of mpirun.
inline Arguments own_lines(const std::string& text, const std::string& program) {
  Arguments lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(program + ": ")) lines.push_back(line);
  return lines;
}

/// Ends with exit code 0; the standard output.
inline std::string completes_together(int count, const std::string& program, const Arguments& flags) {
  const Finished finished = mpirun(processes(count, program, flags));
  CAPTURE(flags);
  CAPTURE(finished.out);
  CAPTURE(finished.err);
  REQUIRE(finished.exit_code == 0);
  return finished.out;
}

/// The same bits in all that two runs leave.
inline void check_same_run(const std::filesystem::path& one, const std::filesystem::path& other) {
  for (const char* name : {"last_model.safetensors", "best_model.safetensors", "training_state.safetensors",
                           "steps.csv", "params.json"}) {
    CAPTURE(name);
    CHECK(read_file(one / name) == read_file(other / name));
  }
  CHECK(csv_rows(one / "metrics.csv", 2) == csv_rows(other / "metrics.csv", 2));
}

/// Flags of a run of 42 images whose last batch is smaller and not even.
inline Arguments uneven_run(const std::filesystem::path& images, const std::filesystem::path& run,
                            const std::string& model) {
  return {"--save_path",   run.string(),
          "--data_dir",    images.string(),
          "--dataset",     "class_folders",
          "--batch_size",  "11",
          "--model_name",  model,
          "--num_workers", "1",
          "--log_steps",   "1",
          "--threads",     "1"};
}

inline void wait_for_epochs(const std::filesystem::path& run, std::size_t epochs) {
  for (int i = 0; i < 6000 && csv_rows(run / "metrics.csv").size() < epochs + 1; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  REQUIRE(csv_rows(run / "metrics.csv").size() >= epochs + 1);
}

/// Waits for the program's end, at most so long; its exit code.
inline int ends_within(RunningProgram& program, int seconds) {
  for (int i = 0; i < 100 * seconds && program.running(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  REQUIRE_FALSE(program.running());
  return program.wait();
}

}  // namespace generous
