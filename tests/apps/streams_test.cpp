// Standard output and error that are blocked, full, closed or without a reader; and the signals of a
// terminal.
#include <doctest/doctest.h>
#include <pty.h>
#include <termios.h>

#include <chrono>
#include <thread>

#include "core/safetensors.h"
#include "nn/models/registry.h"
#include "nn/state_dict.h"
#include "tests/apps/program_runs.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

/// Both ends of a pipe or of a pseudo terminal, closed at the end.
class Ends {
 public:
  static Ends pipe() {
    int ends[2];
    require(::pipe2(ends, O_CLOEXEC) == 0, "pipe failed");
    return {ends[0], ends[1]};
  }
  static Ends terminal() {
    int ours = -1;
    int its = -1;
    require(::openpty(&ours, &its, nullptr, nullptr, nullptr) == 0, "openpty failed");
    ::fcntl(ours, F_SETFD, FD_CLOEXEC);
    ::fcntl(its, F_SETFD, FD_CLOEXEC);
    return {ours, its};
  }
  Ends(int ours, int its) : ours_(ours), its_(its) {}
  ~Ends() { close_ours(), ::close(its_); }
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;

  int its() const { return its_; }
  void close_ours() { ::close(std::exchange(ours_, -1)); }
  /// Until a program that writes would wait.
  void fill() const {
    ::fcntl(its_, F_SETFL, O_NONBLOCK);
    const std::string text(4096, '.');
    while (::write(its_, text.data(), text.size()) > 0) continue;
    ::fcntl(its_, F_SETFL, 0);
  }

 private:
  int ours_;
  int its_;
};

/// An open file, closed at the end.
struct File {
  int descriptor;
  explicit File(const char* path) : descriptor(::open(path, O_WRONLY | O_CLOEXEC)) {
    require(descriptor >= 0, "cannot open {}", path);
  }
  ~File() { ::close(descriptor); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
};

/// Its exit code if it ends within so many seconds.
std::optional<int> wait_at_most(RunningProgram& program, double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    if (!program.running()) return program.wait();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return std::nullopt;
}

void wait_for_rows(const fs::path& metrics, std::size_t rows) {
  for (int i = 0; i < 20000 && csv_rows(metrics).size() < rows; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  REQUIRE(csv_rows(metrics).size() >= rows);
}

struct Images {
  TemporaryFolder folder;
  Images() { make_images(folder / "images"); }

  fs::path run() const { return folder / "run"; }
  Arguments training(const char* epochs) const {
    return small_run(folder / "images", run()) + Arguments{"--num_epochs", epochs};
  }
  Arguments evaluation() const {
    const fs::path weights = folder / "weights.safetensors";
    write_safetensors(weights, state_dict(*make_model("resnet8", {.classes = 3, .image = {16, 24, 3}})));
    return {"--model_name", "resnet8",
            "--dataset",    "class_folders",
            "--data_dir",   (folder / "images").string(),
            "--weights",    weights.string(),
            "--threads",    "1"};
  }
};

constexpr double quickly = 120.0;  // seconds, under a sanitizer too; a blocked program would take for ever

}  // namespace

TEST_CASE("a terminal stopped by Ctrl-S or a full pipe blocks neither the training nor the first signal") {
  for (const bool pipe : {false, true}) {
    CAPTURE(pipe);
    const Images images;
    const Ends ends = pipe ? Ends::pipe() : Ends::terminal();
    if (pipe)
      ends.fill();
    else
      REQUIRE(::tcflow(ends.its(), TCOOFF) == 0);

    RunningProgram stopped("train_standard", images.training("100000"), {.out = ends.its()});
    wait_for_rows(images.run() / "metrics.csv", 3);
    stopped.send(SIGINT);
    CHECK(wait_at_most(stopped, quickly) == 130);
    CHECK(contains(read_file(images.run() / "training.log"), "stopped by SIGINT"));

    // A whole run is complete, and the output that was lost is an error. Standard error is blocked too: the
    // message at the end must not hang.
    const auto rows = csv_rows(images.run() / "metrics.csv").size();
    const std::string epochs = std::to_string(rows + 2);
    RunningProgram whole("train_standard", images.training(epochs.c_str()) + Arguments{"--resume"},
                         {.out = ends.its(), .err = ends.its()});
    CHECK(wait_at_most(whole, quickly) == 1);
    CHECK(csv_rows(images.run() / "metrics.csv").size() == rows + 3);
    CHECK(contains(read_file(images.run() / "training.log"), "done: "));
  }
}

TEST_CASE("a terminal that goes on shows what was printed while it was stopped, and nothing was lost") {
  const Images images;
  const Ends ends = Ends::terminal();
  REQUIRE(::tcflow(ends.its(), TCOOFF) == 0);
  RunningProgram program("train_standard", images.training("3"), {.out = ends.its()});
  wait_for_rows(images.run() / "metrics.csv", 3);
  REQUIRE(::tcflow(ends.its(), TCOON) == 0);
  CHECK(wait_at_most(program, quickly) == 0);
  CHECK(program.err().empty());
}

TEST_CASE(
    "a training whose output has no reader or no room goes on, saves, and says at its end what was lost") {
  const Images images;
  Ends pipe = Ends::pipe();
  const File full("/dev/full");
  RunningProgram::Options options;
  SUBCASE("no reader") {
    pipe.close_ours();
    options.out = pipe.its();
  }
  SUBCASE("no room") { options.out = full.descriptor; }
  const Finished finished = run_app("train_standard", images.training("2"), options);
  CHECK(finished.exit_code == 1);
  CHECK(contains(finished.err, "standard output did not take every line ("));
  CHECK(contains(finished.err, (images.run() / "training.log").string()));
  CHECK(csv_rows(images.run() / "metrics.csv").size() == 3);
  CHECK(contains(read_file(images.run() / "training.log"), "done: "));
}

TEST_CASE("programs whose result is their output say its loss, and exit with 1") {
  const Images images;
  Ends pipe = Ends::pipe();
  pipe.close_ours();
  const File full("/dev/full");
  const Arguments loading = {
      "--dataset", "class_folders", "--data_dir", (images.folder / "images").string(), "--seconds", "0.1"};
  const std::vector<std::pair<std::string, Arguments>> calls = {
      {"evaluate", images.evaluation()},
      {"loader_benchmark", loading},
      {"benchmark", {"--models", "resnet8", "--batch", "2", "--steps", "1", "--threads", "1"}},
      {"predict", {"--help"}}};
  for (const auto& call : calls) {
    const auto& [program, arguments] = call;
    CAPTURE(call.first);
    for (const int out : {pipe.its(), full.descriptor, -1}) {
      CAPTURE(out);
      const Finished finished = run_app(program, arguments, {.out = out});
      CHECK(finished.exit_code == 1);
      CHECK(finished.err.starts_with(program + ": the result is lost: cannot write to standard output: "));
      CHECK(std::count(finished.err.begin(), finished.err.end(), '\n') == 1);
    }
  }
}

TEST_CASE("a standard error that is closed or full changes no exit code, and no file takes its place") {
  const Images images;
  const File full("/dev/full");
  for (const int err : {-1, full.descriptor}) {
    CAPTURE(err);
    CHECK(run_app("train_standard", {"--batch_size", "x"}, {.err = err}).exit_code == 2);
    CHECK(run_app("evaluate", {"--model_name", "resnet8", "--dataset", "cifar10", "--weights", "none"},
                  {.err = err})
              .exit_code == 1);
    CHECK(run_app("evaluate", images.evaluation(), {.err = err}).exit_code == 0);
  }
  // Not even with both closed, when the first file opened would be standard output.
  CHECK(run_app("train_standard", images.training("1"), {.out = -1, .err = -1}).exit_code == 0);
  for (const auto& entry : fs::directory_iterator(images.run()))
    if (entry.path().extension() != ".log") CHECK_FALSE(contains(read_file(entry.path()), "epoch 1/1"));
}

TEST_CASE("SIGHUP saves and stops like SIGTERM, however often it comes; under nohup it does nothing") {
  const Images images;
  SUBCASE("heard") {
    RunningProgram program("train_standard", images.training("100000"));
    wait_for_rows(images.run() / "metrics.csv", 2);
    program.send(SIGSTOP);  // a closed terminal hangs up twice: by the shell, and by the kernel
    program.send(SIGTERM);
    program.send(SIGHUP);
    program.send(SIGCONT);
    const int exit_code = wait_at_most(program, quickly).value_or(0);
    CHECK((exit_code == 129 || exit_code == 143));  // which one comes first is not defined
  }
  SUBCASE("alone") {
    RunningProgram program("train_standard", images.training("100000"));
    wait_for_rows(images.run() / "metrics.csv", 2);
    program.send(SIGHUP);
    CHECK(wait_at_most(program, quickly) == 129);
    CHECK(contains(program.out(), "stopped by SIGHUP"));
    const std::size_t rows = csv_rows(images.run() / "metrics.csv").size();
    const std::string epochs = std::to_string(rows + 1);
    CHECK(run_app("train_standard", images.training(epochs.c_str()) + Arguments{"--resume"}).exit_code == 0);
  }
  SUBCASE("ignored") {
    RunningProgram program("train_standard", images.training("20"), {.hangup_ignored = true});
    wait_for_rows(images.run() / "metrics.csv", 2);
    program.send(SIGHUP);
    CHECK(program.wait() == 0);  // when it is done, however long that takes
    CHECK(csv_rows(images.run() / "metrics.csv").size() == 21);
  }
}
