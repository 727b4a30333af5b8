// What goes wrong in one process ends all of them, within seconds, with one line that says which and why.
#include <sched.h>

#include "tests/parallel/mpi_runs.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

struct ProcessState {
  char state = 'X';  ///< X: there is no such process, Z: nobody has asked for its exit code
  pid_t parent = 0;
};

ProcessState state_of(const std::string& process) {
  ProcessState found;
  std::ifstream file("/proc/" + process + "/stat");
  std::string line;
  std::getline(file, line);
  const std::size_t behind_name = line.rfind(')');
  if (behind_name == std::string::npos) return found;
  std::istringstream fields(line.substr(behind_name + 1));
  fields >> found.state >> found.parent;
  return found;
}

bool has_ended(pid_t process) {
  const char state = state_of(std::to_string(process)).state;
  return state == 'X' || state == 'Z';
}

/// The processes that mpirun started, by their parent.
std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (state_of(name).parent == parent) children.push_back(static_cast<pid_t>(std::stol(name)));
  }
  std::ranges::sort(children);
  return children;
}

Arguments long_run(const fs::path& images, const fs::path& run) {
  return small_run(images, run) + Arguments{"--num_epochs", "5000"};
}

}  // namespace

TEST_CASE("a killed process ends the others; the run goes on from its last checkpoint") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  prepare_mpi();
  RunningProgram program(GENEROUS_MPIRUN,
                         processes(3, "train_standard",
                                   small_run(folder / "images", folder / "run") +
                                       Arguments{"--num_epochs", "5000", "--drop_last", "1"}));
  wait_for_epochs(folder / "run", 2);
  const std::vector<pid_t> children = children_of(program.process());
  REQUIRE(children.size() == 3);
  ::kill(children[1], SIGKILL);
  CHECK(ends_within(program, 20) != 0);
  CHECK(contains(program.err(), "process rank 1 "));
  CHECK(contains(program.err(), "exited on signal 9"));
  for (int i = 0; i < 500 && !std::ranges::all_of(children, has_ended); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(std::ranges::all_of(children, has_ended));
  completes_together(3, "train_standard",
                     {"--save_path", (folder / "run").string(), "--resume", "--num_epochs",
                      std::to_string(csv_rows(folder / "run" / "metrics.csv").size())});
}

TEST_CASE("a signal to one process, or to mpirun, stops all in good order, saved") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  prepare_mpi();
  {
    RunningProgram program(GENEROUS_MPIRUN,
                           processes(2, "train_standard", long_run(folder / "images", folder / "one")));
    wait_for_epochs(folder / "one", 1);
    ::kill(children_of(program.process()).at(1), SIGTERM);
    CHECK(ends_within(program, 30) == 143);
    CHECK(contains(program.out(), "stopped by SIGTERM (rank 1 of 2) in epoch"));
  }
  {
    // Open MPI kills what is not saved in time.
    ::setenv("OMPI_MCA_odls_base_sigkill_timeout", "4", 1);
    RunningProgram program(GENEROUS_MPIRUN,
                           processes(2, "train_standard", long_run(folder / "images", folder / "all")));
    wait_for_epochs(folder / "all", 1);
    program.send(SIGINT);
    CHECK(ends_within(program, 40) != 0);
    CHECK(contains(read_file(folder / "all" / "training.log"), "--resume goes on from here"));
  }
  for (const char* name : {"one", "all"}) {
    const std::size_t rows = csv_rows(folder / name / "metrics.csv").size();
    completes_together(
        2, "train_standard",
        {"--save_path", (folder / name).string(), "--resume", "--num_epochs", std::to_string(rows)});
  }
}

TEST_CASE("more processes than cores is said") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  cpu_set_t before{};
  cpu_set_t first{};
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  for (std::size_t core = 0; CPU_COUNT(&first) == 0; ++core)
    if (CPU_ISSET(core, &before)) CPU_SET(core, &first);
  REQUIRE(sched_setaffinity(0, sizeof first, &first) == 0);
  const Finished finished = mpirun(processes(
      2, "train_standard", small_run(folder / "images", folder / "run") + Arguments{"--max_steps", "1"}));
  REQUIRE(sched_setaffinity(0, sizeof before, &before) == 0);
  CAPTURE(finished.err);
  CHECK(finished.exit_code == 0);
  CHECK(contains(finished.out, "note: 2 processes share 1 cores of "));
}

TEST_CASE("what all processes find out is said once") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const Arguments run = small_run(folder / "images", folder / "run");
  const auto refused = [&](const Arguments& flags, const std::string& words, int code) {
    const Finished finished = mpirun(processes(2, "train_standard", run + flags));
    CAPTURE(finished.err);
    CHECK(finished.exit_code == code);
    const Arguments lines = own_lines(finished.err, "train_standard");
    REQUIRE(lines.size() == 1);
    CHECK(contains(lines[0], words));
  };
  refused({"--learning_rate", "1e6", "--num_epochs", "40"}, "checkpoints are as they were", 1);
  refused({"--nonsense", "1"}, "nonsense", 2);
  refused({"--micro_batches", "3"}, "3 slices cannot be shared out evenly to 2 processes", 1);
  refused({"--mixup", "0.3"}, "give --micro_batches 1 and one process", 1);
}

TEST_CASE("what one process alone finds out is said with its name") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const auto refused = [&](const Arguments& first, const Arguments& second,
                           const std::vector<std::string>& words) {
    const Finished finished = mpirun(unlike("train_standard", first, second));
    CAPTURE(finished.err);
    CHECK(finished.exit_code == 1);
    const Arguments lines = own_lines(finished.err, "train_standard");
    REQUIRE(lines.size() == 1);
    for (const std::string& word : words) CHECK(contains(lines[0], word));
  };
  const Arguments good = small_run(folder / "images", folder / "run");
  refused(good, good + Arguments{"--learning_rate", "0.2"},
          {"differ in learning_rate", "rank 0 of 2", "rank 1 of 2 on host", "0.2"});

  make_images(folder / "damaged");
  write_text(folder / "damaged" / "train" / "class1" / "3.png", "no picture");
  refused(good, small_run(folder / "damaged", folder / "run"), {"rank 1 of 2 on host", "3.png"});
  make_images(folder / "others");
  fs::copy_file(folder / "others" / "train" / "class1" / "3.png",
                folder / "others" / "train" / "class1" / "4.png", fs::copy_options::overwrite_existing);
  refused(good, small_run(folder / "others", folder / "run"), {"differ in training images"});

  // Another build of the program.
  const fs::path other = folder / "train_standard";
  fs::copy_file(program_path("train_standard"), other);
  std::ofstream(other, std::ios::app | std::ios::binary) << "other";
  const Finished finished =
      mpirun(processes(1, "train_standard", good) + Arguments{":", "-np", "1", other.string()} + good);
  CAPTURE(finished.err);
  CHECK(finished.exit_code == 1);
  REQUIRE(own_lines(finished.err, "train_standard").size() == 1);
  CHECK(contains(finished.err, "differ in the program's file"));
  CHECK_FALSE(fs::exists(folder / "run" / "params.json"));
}

}  // namespace generous
