// The log as a record: by what a run was made, where, with which settings; and what is another when it goes
// on.
#include <doctest/doctest.h>

#include "apps/training/log.h"
#include "tests/apps/run_checks.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

/// What the lines "DATE TIME  what: text" of a log say.
std::vector<std::string> entries(const fs::path& run, const std::string& what) {
  std::vector<std::string> found;
  std::istringstream in(read_file(run / "training.log"));
  const std::string begin = what + ": ";
  for (std::string line; std::getline(in, line);)
    if (line.size() > 21 && line.substr(21).starts_with(begin))
      found.push_back(line.substr(21 + begin.size()));
  return found;
}

}  // namespace

TEST_CASE("an entry is written again only where it says something else; the display has none") {
  const TemporaryFolder folder;
  Display display(false);
  RunLog log(folder / "training.log", display);
  log.record("host", "a");
  log.line("to host: b");
  log.record("host", "a");
  log.record("host", "ab");
  log.record("host", "a");
  log.record("host", "a");
  log.write();
  CHECK(entries(folder.path(), "host") == std::vector<std::string>{"a", "ab", "a"});
}

TEST_CASE("a run's log says by what, where and how; one that goes on says what is another") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path teacher = folder / "a teacher";
  completes("train_standard", small_run(folder / "images", teacher) + Arguments{"--num_epochs", "1"});
  const fs::path run = folder / "run";
  const std::string out =
      completes("train_kd", small_run(folder / "images", run) +
                                Arguments{"--teacher_resume", teacher.string(), "--method", "kd",
                                          "--temperature", "3.5", "--num_epochs", "3", "--max_steps", "8"});
  CHECK_FALSE(contains(out, "settings: "));
  const auto one = [&](const std::string& what) {
    CAPTURE(what);
    const std::vector<std::string> found = entries(run, what);
    REQUIRE(found.size() == 1);
    return found[0];
  };
  CHECK(one("version").starts_with("generous "));
  CHECK(contains(one("version"), "git"));
  CHECK(contains(one("version"), ", -march="));
  CHECK(contains(one("command"), "train_kd --save_path " + run.string()));
  CHECK(contains(one("command"), "--teacher_resume '" + teacher.string() + "'"));
  CHECK(contains(one("host"), " cores, "));
  CHECK(contains(one("computes on"), "1 thread)"));
  CHECK(contains(one("libraries"), "Eigen "));
  CHECK(one("teacher").starts_with("resnet8, " + teacher.string()));
  CHECK(contains(one("teacher"), ", hash "));
  CHECK(one("method").starts_with("kd; temperature 3.5, "));
  CHECK(entries(run, "recipe").empty());
  std::string settings;
  for (const std::string& line : entries(run, "settings")) {
    CHECK(line.size() <= 90);
    settings += ", " + line;
  }
  for (const char* setting : {", model_name resnet8", ", batch_size 8", ", temperature 3.5", ", seed 0"})
    CHECK(contains(settings, setting));

  completes("train_kd", {"--save_path", run.string(), "--resume", "--num_epochs", "4", "--threads", "2"});
  CHECK(entries(run, "version").size() == 1);
  CHECK(entries(run, "method").size() == 1);
  CHECK(contains(entries(run, "command").at(1), "--resume --num_epochs 4"));
  CHECK(contains(entries(run, "computes on").at(1), "2 threads)"));
  const std::string log = read_file(run / "training.log");
  CHECK(contains(log, "num_epochs from 3 to 4"));
  CHECK(contains(log, "resumed in epoch 2 after step 8"));

  // What model and dataset have for defaults; more threads than cores.
  const std::string many =
      completes("train_standard", {"--save_path", (folder / "mlp").string(), "--data_dir",
                                   (folder / "images").string(), "--dataset", "class_folders", "--model_name",
                                   "mlp", "--num_epochs", "1", "--threads", "512", "--max_steps", "1"});
  CHECK(contains(many, "note: 512 threads on "));
  CHECK(contains(entries(folder / "mlp", "recipe").at(0), "learning_rate 0.001"));
  CHECK_FALSE(contains(out, " threads on "));
}
