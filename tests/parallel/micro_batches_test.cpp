// --micro_batches of the real programs.
#include <doctest/doctest.h>

#include "tests/apps/run_checks.h"

namespace generous {
namespace {

const Arguments in_two = {"--micro_batches", "2", "--log_steps", "1", "--num_epochs", "2"};

}  // namespace

TEST_CASE("a run in slices: batch norm by slice, the same bits every time, and resumed to the bit") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const auto run = [&](const std::string& name) { return small_run(folder / "images", folder / name); };
  completes("train_standard", run("whole") + Arguments{"--log_steps", "1", "--num_epochs", "2"});
  completes("train_standard", run("straight") + in_two);
  completes("train_standard", run("halting") + in_two + Arguments{"--max_steps", "8"});
  completes("train_standard", {"--save_path", (folder / "halting").string(), "--resume"});
  for (const char* file :
       {"last_model.safetensors", "best_model.safetensors", "training_state.safetensors", "steps.csv"})
    CHECK(read_file(folder / "straight" / file) == read_file(folder / "halting" / file));
  CHECK(contains(read_file(folder / "straight" / "params.json"), "\"micro_batches\": 2"));
  CHECK_FALSE(contains(read_file(folder / "whole" / "params.json"), "micro_batches"));
  CHECK(csv_rows(folder / "straight" / "steps.csv") != csv_rows(folder / "whole" / "steps.csv"));
  CHECK(csv_rows(folder / "straight" / "steps.csv").size() == 13);

  // Another number of slices is allowed, and said.
  completes("train_standard", run("other") + in_two + Arguments{"--max_steps", "8"});
  const std::string out = completes(
      "train_standard", {"--save_path", (folder / "other").string(), "--resume", "--micro_batches", "1"});
  CHECK(contains(out, "each batch was taken in 2 slices so far and is taken in 1 from here on"));
  CHECK(read_file(folder / "other" / "last_model.safetensors") !=
        read_file(folder / "straight" / "last_model.safetensors"));
}

TEST_CASE("a network without batch norm learns the same in slices, but for rounding") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const auto losses = [&](const std::string& name, const std::string& slices) {
    Arguments flags = small_run(folder / "images", folder / name) +
                      Arguments{"--log_steps", "1", "--num_epochs", "1", "--micro_batches", slices};
    *(std::ranges::find(flags, "--model_name") + 1) = "mlp";
    completes("train_standard", flags);
    return csv_rows(folder / name / "steps.csv", 1);  // without the learning rate
  };
  const std::vector<std::string> whole = losses("whole", "1");
  const std::vector<std::string> sliced = losses("sliced", "2");
  REQUIRE(whole.size() == 7);
  REQUIRE(sliced.size() == whole.size());
  for (std::size_t i = 1; i < whole.size(); ++i) {
    const auto loss = [](const std::string& row) { return std::stod(row.substr(row.rfind(',') + 1)); };
    CHECK(loss(sliced[i]) == doctest::Approx(loss(whole[i])).epsilon(1e-4));
  }
}

TEST_CASE("what needs a whole batch is refused in one line, before anything is written") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const Arguments run = small_run(folder / "images", folder / "run");
  refuses("train_standard", run + Arguments{"--micro_batches", "3"},
          {"the smallest batch of 42 images in batches of 8 has 2", "3 slices", "--drop_last 1"});
  completes("train_standard",
            run + Arguments{"--micro_batches", "3", "--drop_last", "1", "--max_steps", "2"});
  const Arguments other = small_run(folder / "images", folder / "other") + Arguments{"--micro_batches", "2"};
  refuses("train_standard", other + Arguments{"--mixup", "0.2"}, {"mixup", "2 slices", "--micro_batches 1"});
  const std::string teacher = (folder / "run" / "last_model.safetensors").string();
  refuses("train_kd",
          other + Arguments{"--teacher_model", "resnet8", "--teacher_resume", teacher, "--method", "kd,rkd"},
          {"method kd,rkd", "2 slices", "--micro_batches 1"});
  CHECK_FALSE(std::filesystem::exists(folder / "other" / "params.json"));
}

}  // namespace generous
