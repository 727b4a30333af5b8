// A run that was stopped, interrupted or killed and then resumed is the run that never stopped, bit for bit.
#include <doctest/doctest.h>

#include <chrono>
#include <thread>

#include "tests/apps/program_runs.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

constexpr int time_columns = 2;  // of metrics.csv: images_per_s, seconds

/// Both folders hold the same run.
void check_same_run(const fs::path& one, const fs::path& other) {
  for (const char* name :
       {"last_model.safetensors", "best_model.safetensors", "training_state.safetensors"}) {
    CAPTURE(name);
    CHECK(read_file(one / name) == read_file(other / name));
  }
  CHECK(csv_rows(one / "metrics.csv", time_columns) == csv_rows(other / "metrics.csv", time_columns));
  CHECK(csv_rows(one / "steps.csv") == csv_rows(other / "steps.csv"));
}

void check_completes(const std::string& program, const Arguments& flags) {
  const Finished finished = run_app(program, flags);
  CAPTURE(finished.err);
  CHECK(finished.exit_code == 0);
}

/// Waits until the run has begun to save epochs.
void wait_for_rows(const fs::path& metrics, std::size_t rows) {
  for (int i = 0; i < 20000 && csv_rows(metrics).size() < rows; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  REQUIRE(csv_rows(metrics).size() >= rows);
}

const Arguments log_every_step = {"--log_steps", "1"};

}  // namespace

TEST_CASE("every stage: stopped inside an epoch and resumed equals uninterrupted") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  check_completes("train_standard",
                  small_run(folder / "images", folder / "teacher") + Arguments{"--num_epochs", "2"});
  const std::string teacher = (folder / "teacher" / "best_model.safetensors").string();

  struct Stage {
    std::string program;
    Arguments flags;
  };
  const std::vector<Stage> stages = {
      {"train_standard", {"--schedule", "1"}},
      {"train_standard", {"--optimizer", "adam", "--learning_rate", "0.01"}},
      {"train_standard", {"--randaugment", "2,9", "--random_erasing", "0.5"}},
      {"train_standard", {"--optimizer", "sgd", "--nesterov", "1", "--shuffle", "0", "--augmentation", "0"}},
      {"train_generous",
       {"--adversarial_model", "resnet8", "--adversarial_resume", teacher, "--warmup", "3"}},
      {"train_kd", {"--teacher_model", "resnet8", "--teacher_resume", teacher, "--temperature", "2"}},
      {"train_kd", {"--teacher_model", "resnet8", "--teacher_resume", teacher, "--method", "mlkd"}},
  };
  int number = 0;
  for (const Stage& stage : stages) {
    CAPTURE(stage.program);
    CAPTURE(stage.flags);
    const fs::path straight = folder / ("straight" + std::to_string(number));
    const fs::path halting = folder / ("halting" + std::to_string(number++));
    const Arguments flags = stage.flags + log_every_step + Arguments{"--num_epochs", "3"};
    check_completes(stage.program, small_run(folder / "images", straight) + flags);
    CHECK(csv_rows(straight / "metrics.csv").size() == 4);
    CHECK(csv_rows(straight / "steps.csv").size() == 19);

    // Stops in the second epoch, at the very end of it, and in the third; the settings come from params.json.
    check_completes(stage.program,
                    small_run(folder / "images", halting) + flags + Arguments{"--max_steps", "8"});
    CHECK(csv_rows(halting / "metrics.csv").size() == 2);
    CHECK(csv_rows(halting / "steps.csv").size() == 9);
    for (const char* steps : {"12", "17"})
      check_completes(stage.program, {"--save_path", halting.string(), "--resume", "--max_steps", steps});
    CHECK(csv_rows(halting / "metrics.csv").size() == 3);
    check_completes(stage.program, {"--save_path", halting.string(), "--resume"});
    check_same_run(straight, halting);
  }
}

TEST_CASE("a network with dropout and batch norm over rows resumes exactly") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const Arguments flags = {
      "--model_name", "net", "--dropout_rate", "0.5", "--num_channels", "6",
      "--num_epochs", "2",   "--log_steps",    "1",   "--dataset",      "class_folders",
      "--batch_size", "8",   "--threads",      "2",   "--data_dir",     (folder / "images").string()};
  const Arguments straight = {"--save_path", (folder / "straight").string()};
  const Arguments halting = {"--save_path", (folder / "halting").string()};
  check_completes("train_standard", straight + flags);
  check_completes("train_standard", halting + flags + Arguments{"--max_steps", "4"});
  check_completes("train_standard", halting + Arguments{"--resume"});
  check_same_run(folder / "straight", folder / "halting");
}

TEST_CASE("the same seed gives the same bits whatever the number of workers; another seed does not") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const auto last_model = [&](const std::string& name, const Arguments& flags) {
    Arguments run = {"--save_path",  (folder / name).string(),
                     "--data_dir",   (folder / "images").string(),
                     "--dataset",    "class_folders",
                     "--model_name", "resnet8",
                     "--batch_size", "8",
                     "--threads",    "2",
                     "--num_epochs", "2"};
    check_completes("train_standard", run + flags);
    return read_file(folder / name / "last_model.safetensors");
  };
  const std::string one = last_model("one", {"--seed", "5", "--num_workers", "1"});
  CHECK(one == last_model("two", {"--seed", "5", "--num_workers", "3"}));
  CHECK(one == last_model("none", {"--seed", "5", "--num_workers", "0"}));
  CHECK(one != last_model("other", {"--seed", "6", "--num_workers", "1"}));
}

TEST_CASE("a signal stops the run in good order: exit 130 or 143, and the resumed run is exact") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const Arguments flags = log_every_step + Arguments{"--num_epochs", "30"};
  check_completes("train_standard", small_run(folder / "images", folder / "straight") + flags);
  for (const auto& [signal, exit_code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    const fs::path run = folder / std::to_string(exit_code);
    RunningProgram program("train_standard", small_run(folder / "images", run) + flags);
    wait_for_rows(run / "metrics.csv", 3);
    program.send(signal);
    CHECK(program.wait() == exit_code);
    CHECK(contains(program.out(), "--resume goes on"));
    REQUIRE(csv_rows(run / "metrics.csv").size() < 31);  // it did stop early
    check_completes("train_standard", {"--save_path", run.string(), "--resume"});
    check_same_run(folder / "straight", run);
  }
}

TEST_CASE("a run that is stopped while its teacher is measured goes on, or begins anew") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path teacher = folder / "teacher" / "last_model.safetensors";
  // Wide, so that measuring it takes a while.
  check_completes("train_standard",
                  {"--save_path", (folder / "teacher").string(), "--data_dir", (folder / "images").string(),
                   "--dataset", "class_folders", "--model_name", "wrn_16_8", "--max_steps", "1"});
  REQUIRE(fs::exists(teacher));
  const auto run = [&](const fs::path& path) {
    return small_run(folder / "images", path) + log_every_step +
           Arguments{"--teacher_model", "wrn_16_8",     "--teacher_resume",
                     teacher.string(),  "--num_epochs", "1"};
  };
  check_completes("train_kd", run(folder / "straight"));
  int before_the_first_step = 0;
  for (int attempt = 0; attempt < 30 && before_the_first_step < 2; ++attempt) {
    const fs::path path = folder / std::to_string(attempt);
    RunningProgram program("train_kd", run(path));
    for (int i = 0; i < 10000 && !fs::exists(path / "training_state.safetensors"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    REQUIRE(fs::exists(path / "training_state.safetensors"));
    std::this_thread::sleep_for(std::chrono::milliseconds(1 + attempt));
    program.send(SIGTERM);
    const int exit_code = program.wait();  // by the signal itself where it came before the training
    if (exit_code != 143 || !contains(program.out(), "after step 0")) continue;
    ++before_the_first_step;
    CHECK_FALSE(fs::exists(path / "last_model.safetensors"));
    const Arguments resume = {"--resume"};
    check_completes("train_kd", run(path) + (before_the_first_step == 1 ? resume : Arguments{}));
    check_same_run(folder / "straight", path);
  }
  CHECK(before_the_first_step == 2);
}

// ThreadSanitizer hands a signal to its handler at the thread's next library call, when the first signal may
// have ended the run in good order.
#ifdef __SANITIZE_THREAD__
constexpr bool signals_are_deferred = true;
#else
constexpr bool signals_are_deferred = false;
#endif

TEST_CASE("the second signal ends the program at once" * doctest::skip(signals_are_deferred)) {
  const TemporaryFolder folder;
  make_images(folder / "images");
  RunningProgram program("train_standard",
                         small_run(folder / "images", folder / "run") + Arguments{"--num_epochs", "1000"});
  wait_for_rows(folder / "run" / "metrics.csv", 2);
  // While the program is held, both arrive; which one is handled first is not defined.
  program.send(SIGSTOP);
  program.send(SIGINT);
  program.send(SIGTERM);
  program.send(SIGCONT);
  const int exit_code = program.wait();
  CHECK((exit_code == 130 || exit_code == 143));
  CHECK_FALSE(contains(program.out(), "stopped by"));  // which an orderly stop says
}

TEST_CASE("a run killed at any moment can be resumed, and ends as if it had not been") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const Arguments flags = log_every_step + Arguments{"--num_epochs", "12"};
  check_completes("train_standard", small_run(folder / "images", folder / "straight") + flags);
  const fs::path run = folder / "killed";
  int kills = 0;
  for (int attempt = 0; attempt < 8; ++attempt) {
    const bool resumable = fs::exists(run / "training_state.safetensors");
    RunningProgram program("train_standard", small_run(folder / "images", run) + flags +
                                                 Arguments(resumable ? 1 : 0, "--resume"));
    // The first may die before it has begun; on a busy machine the others would too.
    for (int wait = 0; attempt > 0 && wait < 1000 && !fs::exists(run / "training_state.safetensors"); ++wait)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::this_thread::sleep_for(std::chrono::milliseconds(60 + 35 * attempt));
    program.send(SIGKILL);
    const int exit_code = program.wait();
    if (exit_code == -SIGKILL)
      ++kills;
    else
      CHECK(exit_code == 0);
  }
  CHECK(kills > 0);
  REQUIRE(fs::exists(run / "training_state.safetensors"));
  check_completes("train_standard", {"--save_path", run.string(), "--resume"});
  check_same_run(folder / "straight", run);
}

TEST_CASE("a run that ended before it saved any weights is resumed from its beginning: the seed or --init") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const auto flags = [&](const char* run) {
    return small_run(folder / "images", folder / run) + log_every_step + Arguments{"--num_epochs", "1"};
  };
  check_completes("train_standard", flags("other") + Arguments{"--seed", "5"});
  Arguments more = {"--seed", "3"};
  SUBCASE("the seed") {}
  SUBCASE("weights of another run") {
    more = more + Arguments{"--init", (folder / "other" / "last_model.safetensors").string()};
  }
  check_completes("train_standard", flags("straight") + more);
  // No room for weights: the first save fails.
  const auto failed = run_app("train_standard", flags("failed") + more, {.largest_file = 32768});
  CHECK(failed.exit_code == 1);
  REQUIRE(fs::exists(folder / "failed" / "training_state.safetensors"));
  CHECK_FALSE(fs::exists(folder / "failed" / "last_model.safetensors"));
  check_completes("train_standard", {"--save_path", (folder / "failed").string(), "--resume"});
  check_same_run(folder / "straight", folder / "failed");
}

TEST_CASE("a resumed run must be the same run; only its length and where it runs may change") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path run = folder / "run";
  const Arguments resume = {"--save_path", run.string(), "--resume"};

  const Finished nothing =
      run_app("train_standard", small_run(folder / "images", run) + Arguments{"--resume"});
  CHECK(nothing.exit_code == 1);
  CHECK(contains(nothing.err, "nothing to resume"));

  check_completes("train_standard", small_run(folder / "images", run) + Arguments{"--num_epochs", "1"});
  const std::string state = read_file(run / "training_state.safetensors");
  const std::string params = read_file(run / "params.json");
  struct Change {
    std::string key;
    std::string value;
    std::string before;
  };
  for (const Change& change :
       {Change{"seed", "1", "0"}, Change{"batch_size", "9", "8"},
        Change{"model_name", "resnet14", "\"resnet8\""}, Change{"learning_rate", "0.2", "0.1"},
        Change{"schedule", "80", "[80,120]"}, Change{"optimizer", "adam", "\"sgd\""}}) {
    const Finished refused =
        run_app("train_standard", resume + Arguments{"--num_epochs", "2", "--" + change.key, change.value});
    CAPTURE(refused.err);
    CHECK(refused.exit_code == 1);
    CHECK(contains(refused.err, "cannot resume"));
    CHECK(contains(refused.err, change.key + " was " + change.before));
  }
  fs::remove(folder / "images" / "train" / "class1" / "3.png");
  const Finished fewer = run_app("train_standard", resume + Arguments{"--num_epochs", "2"});
  CHECK(fewer.exit_code == 1);
  CHECK(contains(fewer.err, "42 training images, now there are 41"));
  CHECK(read_file(run / "params.json") == params);

  const Finished complete = run_app("train_standard", resume);
  CHECK(complete.exit_code == 0);
  CHECK(contains(complete.out, "complete: 1 epoch,"));
  CHECK(read_file(run / "training_state.safetensors") == state);

  make_images(folder / "images");
  fs::rename(folder / "images", folder / "moved");
  check_completes("train_standard", resume + Arguments{"--num_epochs", "2", "--data_dir",
                                                       (folder / "moved").string(), "--num_workers", "0"});
  check_completes("train_standard",
                  small_run(folder / "moved", folder / "straight") + Arguments{"--num_epochs", "2"});
  CHECK(read_file(run / "last_model.safetensors") ==
        read_file(folder / "straight" / "last_model.safetensors"));

  const Finished again = run_app("train_standard", small_run(folder / "moved", run));
  CHECK(again.exit_code == 1);
  CHECK(contains(again.err, "already holds a run"));

  write_text(run / "training_state.safetensors", state.substr(0, state.size() - 1));
  const Finished damaged = run_app("train_standard", resume + Arguments{"--num_epochs", "3"});
  CHECK(damaged.exit_code == 1);
  CHECK(contains(damaged.err, "training_state.safetensors"));
}
