// Several processes give the bits of one that takes the same slices, and one run may pass from some to
// others.
#include "tests/parallel/mpi_runs.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

struct Case {
  std::string program;
  std::string model;
  Arguments flags;
};

}  // namespace

TEST_CASE("two processes give the bits of one that adds up two slices") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  completes("train_standard",
            small_run(folder / "images", folder / "teacher") + Arguments{"--num_epochs", "1"});
  const std::string teacher = (folder / "teacher" / "best_model.safetensors").string();
  const Arguments from_teacher{"--teacher_model", "resnet8", "--teacher_resume", teacher};
  const std::vector<Case> cases{
      {"train_standard", "resnet8", {"--validation", "6", "--ema_decay", "0.9", "--paper_metrics", "1"}},
      {"train_standard", "net", {"--dropout_rate", "0.5", "--num_channels", "6", "--optimizer", "adam"}},
      {"train_generous", "resnet8", {"--adversarial_model", "resnet8", "--adversarial_resume", teacher}},
      {"train_kd", "resnet8", from_teacher + Arguments{"--method", "dkd,at,mgd", "--label_smoothing", "0.1"}},
      {"train_kd", "resnet8", from_teacher + Arguments{"--method", "dkd", "--optimizer", "dot"}},
      {"train_kd", "resnet8", from_teacher + Arguments{"--method", "crld", "--randaugment", "2,9"}}};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(i);
    const Arguments flags = cases[i].flags + Arguments{"--num_epochs", "2", "--micro_batches", "2"};
    const fs::path one = folder / ("one" + std::to_string(i));
    const fs::path two = folder / ("two" + std::to_string(i));
    completes(cases[i].program, uneven_run(folder / "images", one, cases[i].model) + flags);
    completes_together(2, cases[i].program, uneven_run(folder / "images", two, cases[i].model) + flags);
    check_same_run(one, two);
    CHECK(csv_rows(one / "steps.csv").size() == 9);
  }
}

TEST_CASE("more processes give the bits of one that adds up as many slices") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  for (const int count : {3, 4}) {
    CAPTURE(count);
    const std::string slices = std::to_string(count);
    const Arguments flags{"--num_epochs", "2", "--micro_batches", slices};
    const auto run = [&](const std::string& name) {
      return uneven_run(folder / "images", folder / (name + slices), "resnet8") + flags;
    };
    completes("train_standard", run("one"));
    completes_together(count, "train_standard", run("many"));
    check_same_run(folder / ("one" + slices), folder / ("many" + slices));
  }
}

TEST_CASE("a run goes on with another number of processes") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const auto run = [&](const std::string& name) {
    return uneven_run(folder / "images", folder / name, "resnet8") +
           Arguments{"--num_epochs", "3", "--micro_batches", "2"};
  };
  const auto resume = [&](const std::string& name) {
    return Arguments{"--save_path", (folder / name).string(), "--resume"};
  };
  completes("train_standard", run("straight"));
  // Two processes, one, two: the same slices.
  completes_together(2, "train_standard", run("halting") + Arguments{"--max_steps", "2"});
  completes("train_standard", resume("halting") + Arguments{"--max_steps", "6"});
  completes_together(2, "train_standard", resume("halting"));
  check_same_run(folder / "straight", folder / "halting");
  // Three: other slices, which is said.
  completes_together(2, "train_standard", run("other") + Arguments{"--max_steps", "5"});
  const std::string out =
      completes_together(3, "train_standard", resume("other") + Arguments{"--micro_batches", "3"});
  CHECK(contains(out, "taken in 2 slices so far and is taken in 3 from here on"));
  CHECK(csv_rows(folder / "other" / "metrics.csv").size() == 4);
}

}  // namespace generous
