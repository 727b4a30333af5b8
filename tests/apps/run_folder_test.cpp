// A run's folder is safe: from a second program at the same time, from what killed ones left, and a run of
// another program is safe from this one.
#include <sys/file.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "tests/apps/run_checks.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

void wait_for(const fs::path& file) {
  for (int i = 0; i < 20000 && !fs::exists(file); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  REQUIRE(fs::exists(file));
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
    refuses("train_standard", second, {run.string(), holder, "--save_path"});
    CHECK(content_of(run) == before);
  }
  first.send(SIGCONT);

  SUBCASE("the holder's lock ends with it when it is killed") { first.send(SIGKILL); }
  SUBCASE("and when it stops in good order, leaving no lock file") { first.send(SIGTERM); }
  const int ended = first.wait();
  CHECK((ended == -SIGKILL || ended == 143));
  CHECK(fs::exists(run / ".lock") == (ended == -SIGKILL));
  const std::size_t epochs = csv_rows(run / "metrics.csv").size() - 1;
  completes("train_standard",
            {"--save_path", run.string(), "--resume", "--num_epochs", std::to_string(epochs + 2)});
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
  refuses("train_standard", small_run(folder / "images", folder / "run"), {"in use by another program"});
  ::close(held);
  fs::remove(folder / "run" / ".lock");
  fs::create_directory(folder / "run" / ".lock");
  refuses("train_standard", small_run(folder / "images", folder / "run"), {".lock: Is a directory"});
}

TEST_CASE("temporary files of killed runs are removed at the next start") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path run = folder / "run";
  write_text(run / ".last_model.safetensors.4711-0.tmp", "part of a model");
  write_text(run / ".write_test.4711-0.tmp", "");
  write_text(run / "notes.tmp", "the user's");
  completes("train_standard", small_run(folder / "images", run) + Arguments{"--num_epochs", "1"});
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
  refuses("train_standard", small_run(folder / "images", run), {"params.json", "it is a pipe"});
  fs::remove(run / "params.json");
  fs::create_symlink("params.json", run / "params.json");
  refuses("train_standard", small_run(folder / "images", run),
          {"params.json", "Too many levels of symbolic links"});
  fs::remove(run / "params.json");
  for (const char* name :
       {"last_model.safetensors", "best_model.safetensors", "training_state.safetensors"}) {
    fs::create_symlink(name, run / name);
    refuses("train_standard", small_run(folder / "images", run), {name, "Too many levels of symbolic links"});
    fs::remove(run / name);
  }
  refuses("train_standard", small_run(folder / "images", run / std::string(300, 'n')),
          {"File name too long"});
  refuses("train_standard", small_run(folder / "images", run) + Arguments{"--init", std::string(300, 'n')},
          {"File name too long"});
  refuses("train_standard", small_run(folder / "images", run) + Arguments{"--init", std::string(5000, 'n')},
          {"File name too long"});
  make_images(folder / "more");
  REQUIRE(::mkfifo((folder / "more" / "train" / "class0" / "pipe.png").c_str(), 0600) == 0);
  refuses("train_standard", small_run(folder / "more", run), {"pipe.png"});
}

TEST_CASE("a folder that holds a run of another program is left as it is") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  for (const char* name :
       {"best_model.tar", "last_model.tar", "weights.pth", "training.log", "metrics.csv"}) {
    const fs::path run = folder / (std::string("run of ") + name);
    write_text(run / "params.json", R"({"model_name": "resnet8", "num_epochs": 1})");
    write_text(run / name, "somebody's work");
    const auto before = content_of(run);
    refuses("train_standard", small_run(folder / "images", run),
            {run.string(), "cannot go on with", name, "choose another --save_path", "params.json"});
    CHECK(content_of(run) == before);
  }
  // What everybody starts from, and what nobody minds.
  const fs::path run = folder / "run";
  write_text(run / "params.json", R"({"num_epochs": 1})");
  write_text(run / "notes.txt", "to be tried: other seeds");
  completes("train_standard", small_run(folder / "images", run));
  fs::remove(run / "training_state.safetensors");
  fs::remove(run / "last_model.safetensors");
  fs::remove(run / "best_model.safetensors");
  refuses("train_standard", small_run(folder / "images", run), {"metrics.csv, training.log"});
}

TEST_CASE("a flag that changes a value of params.json is said, once for each key") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path run = folder / "run";
  write_text(run / "params.json",
             R"({"num_epochs": 160, "augmentation": true, "schedule": [80, 120], "gamma": 1e-1, "seed": 3})");
  const std::string out = completes("train_standard", small_run(folder / "images", run) +
                                                          Arguments{"--num_epochs", "1", "--schedule", "7"});
  CHECK(contains(out, "params.json changes: num_epochs from 160 to 1\n"));
  CHECK(contains(out, "params.json changes: schedule from [80,120] to [7]\n"));
  CHECK(contains(read_file(run / "training.log"), "num_epochs from 160 to 1"));
  const auto changes = [](const std::string& text) {
    std::size_t count = 0;
    for (std::size_t at = 0; (at = text.find("json changes: ", at)) != std::string::npos; ++at) ++count;
    return count;
  };
  CHECK(changes(out) == 2);
  const std::string again =
      completes("train_standard", {"--save_path", run.string(), "--resume", "--num_epochs", "2"});
  CHECK(changes(again) == 1);
  CHECK(contains(again, "num_epochs from 1 to 2"));
}

TEST_CASE("best weights that are gone are said, and what that means") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path run = folder / "run";
  completes("train_standard", small_run(folder / "images", run) + Arguments{"--num_epochs", "1"});
  const Arguments resume = {"--save_path", run.string(), "--resume", "--num_epochs"};
  CHECK_FALSE(contains(completes("train_standard", resume + Arguments{"2"}), "is missing"));
  fs::remove(run / "best_model.safetensors");
  const std::string out = completes("train_standard", resume + Arguments{"3"});
  CHECK(contains(out, "best_model.safetensors is missing: the weights of the best epoch so far, "));
}
