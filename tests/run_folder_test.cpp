// A run's folder is safe from other programs: from a second one at the same time, from what killed ones left.
#include <doctest/doctest.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "tests/program_runs.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

/// Every file of a folder and its content, but for the lock.
std::map<std::string, std::string> content_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename() != ".lock") files[entry.path().filename()] = read_file(entry.path());
  return files;
}

void wait_for(const fs::path& file) {
  for (int i = 0; i < 20000 && !fs::exists(file); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  REQUIRE(fs::exists(file));
}

/// The program ends with exit code 1 and one line that holds every fragment.
void check_refused(const Arguments& arguments, const std::vector<std::string>& fragments) {
  const Finished finished = run_app("train_standard", arguments);
  CAPTURE(finished.err);
  CHECK(finished.exit_code == 1);
  CHECK(std::count(finished.err.begin(), finished.err.end(), '\n') == 1);
  for (const std::string& fragment : fragments) CHECK(contains(finished.err, fragment));
}

std::string completed(const Arguments& arguments) {
  const Finished finished = run_app("train_standard", arguments);
  CAPTURE(finished.err);
  REQUIRE(finished.exit_code == 0);
  return finished.out;
}

}  // namespace

TEST_CASE("a second program in a run's folder is refused, says who holds it, and changes nothing") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path run = folder / "run";
  RunningProgram first("train_standard",
                       small_run(folder / "images", run) + Arguments{"--num_epochs", "100000"});
  wait_for(run / "metrics.csv");
  first.send(SIGSTOP);
  const auto before = content_of(run);
  const std::string holder = fmt::format("in use by process {} on host ", first.process());
  for (const char* resume : {"", "--resume"}) {
    Arguments second = small_run(folder / "images", run);
    if (*resume != '\0') second.emplace_back(resume);
    check_refused(second, {run.string(), holder, "--save_path"});
    CHECK(content_of(run) == before);
  }
  first.send(SIGCONT);

  SUBCASE("the holder's lock ends with it when it is killed") { first.send(SIGKILL); }
  SUBCASE("and when it stops in good order, leaving no lock file") { first.send(SIGTERM); }
  const int ended = first.wait();
  CHECK((ended == -SIGKILL || ended == 143));
  CHECK(fs::exists(run / ".lock") == (ended == -SIGKILL));
  const std::size_t epochs = csv_rows(run / "metrics.csv").size() - 1;
  completed({"--save_path", run.string(), "--resume", "--num_epochs", std::to_string(epochs + 2)});
  CHECK(csv_rows(run / "metrics.csv").size() == epochs + 3);
  CHECK_FALSE(fs::exists(run / ".lock"));
}

TEST_CASE("of many programs that start at once in one folder, one trains and the others are refused") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path run = folder / "run";
  const Arguments flags = small_run(folder / "images", run) + Arguments{"--num_epochs", "2"};
  std::vector<std::unique_ptr<RunningProgram>> programs;
  for (int i = 0; i < 6; ++i) programs.push_back(std::make_unique<RunningProgram>("train_standard", flags));
  int trained = 0;
  for (const auto& program : programs) {
    if (program->wait() == 0) {
      ++trained;
      continue;
    }
    const std::string err = program->err();
    CAPTURE(err);
    CHECK((contains(err, "in use by ") || contains(err, "already holds a run")));
  }
  CHECK(trained == 1);
  CHECK(csv_rows(run / "metrics.csv").size() == 3);
  CHECK_FALSE(fs::exists(run / ".lock"));
}

TEST_CASE("a lock file that another program holds, without a word in it") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  write_text(folder / "run" / ".lock", "");
  const int held = ::open((folder / "run" / ".lock").c_str(), O_WRONLY);
  REQUIRE(::flock(held, LOCK_EX) == 0);
  check_refused(small_run(folder / "images", folder / "run"), {"in use by another program"});
  ::close(held);
  fs::remove(folder / "run" / ".lock");
  fs::create_directory(folder / "run" / ".lock");
  check_refused(small_run(folder / "images", folder / "run"), {".lock: Is a directory"});
}

TEST_CASE("temporary files of killed runs are removed at the next start") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path run = folder / "run";
  write_text(run / ".last_model.safetensors.4711-0.tmp", "part of a model");
  write_text(run / ".write_test.4711-0.tmp", "");
  write_text(run / "notes.tmp", "the user's");
  completed(small_run(folder / "images", run) + Arguments{"--num_epochs", "1"});
  const auto files = content_of(run);
  CHECK(files.size() == 7);
  CHECK(files.contains("notes.tmp"));
  CHECK(files.contains("training_state.safetensors"));
}

TEST_CASE("odd files and names: one line, without waiting") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path run = folder / "run";
  fs::create_directory(run);
  REQUIRE(::mkfifo((run / "params.json").c_str(), 0600) == 0);
  check_refused(small_run(folder / "images", run), {"params.json", "it is a pipe"});
  fs::remove(run / "params.json");
  fs::create_symlink("params.json", run / "params.json");
  check_refused(small_run(folder / "images", run), {"params.json", "Too many levels of symbolic links"});
  fs::remove(run / "params.json");
  for (const char* name :
       {"last_model.safetensors", "best_model.safetensors", "training_state.safetensors"}) {
    fs::create_symlink(name, run / name);
    check_refused(small_run(folder / "images", run), {name, "Too many levels of symbolic links"});
    fs::remove(run / name);
  }
  check_refused(small_run(folder / "images", run / std::string(300, 'n')), {"File name too long"});
  check_refused(small_run(folder / "images", run) + Arguments{"--init", std::string(300, 'n')},
                {"File name too long"});
  check_refused(small_run(folder / "images", run) + Arguments{"--init", std::string(5000, 'n')},
                {"File name too long"});
  make_images(folder / "more");
  REQUIRE(::mkfifo((folder / "more" / "train" / "class0" / "pipe.png").c_str(), 0600) == 0);
  check_refused(small_run(folder / "more", run), {"pipe.png"});
}
