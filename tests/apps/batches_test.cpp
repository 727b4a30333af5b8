// Batches that a model cannot be trained on are refused before the first step.
#include "apps/training/batches.h"

#include "nn/models/registry.h"
#include "tests/apps/run_checks.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

std::string complaint(const std::string& model, const Shape& image, std::int64_t images,
                      std::int64_t batch_size, bool drop_last = false) {
  const ModelSettings asked{.name = model, .family = find_family(model)};
  TrainingBatchSettings settings;
  settings.batch_size = batch_size;
  settings.drop_last = drop_last;
  return error_of([&] { check_batches(settings, asked, {.classes = 3, .image = image}, images); });
}

}  // namespace

TEST_CASE("a batch of one image is refused where batch norm would have one value a channel") {
  const Shape image{8, 8, 3};
  CHECK(complaint("net", image, 42, 8).empty());
  CHECK(contains(complaint("net", image, 43, 6),
                 "the last of 43 images in batches of 6 is one: give --batch_size 5 "
                 "or 8, or --drop_last 1"));
  CHECK(complaint("net", image, 43, 5).empty());
  CHECK(complaint("net", image, 43, 8).empty());
  CHECK(complaint("net", image, 43, 6, true).empty());
  CHECK(contains(complaint("net", image, 42, 1), "batches of one image"));
  CHECK(contains(complaint("net", image, 42, 1), "--batch_size 2"));
  CHECK(contains(complaint("net", image, 42, 1, true), "--batch_size 2"));
  CHECK(contains(complaint("net", image, 1, 8), "a single image"));
  // More than one value a channel comes from one image as well, down to the smallest that has.
  CHECK(complaint("resnet8", image, 43, 6).empty());
  CHECK(complaint("resnet8", {4, 5, 3}, 43, 6).empty());
  CHECK(contains(complaint("resnet8", {4, 4, 3}, 43, 6), "--drop_last 1"));
  CHECK(complaint("mlp", {1, 1, 3}, 43, 6).empty());  // no batch norm
}

TEST_CASE("dropping smaller batches needs a whole one") {
  CHECK(contains(complaint("mlp", {8, 8, 3}, 42, 43, true), "42 training images make no batch of 43"));
  CHECK(complaint("mlp", {8, 8, 3}, 42, 42, true).empty());
  CHECK(complaint("mlp", {8, 8, 3}, 42, 43).empty());
}

TEST_CASE("a run refuses such batches at its start, and trains when it drops the last") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const auto flags = [&](const char* run) {
    return Arguments{"--save_path",  (folder / run).string(),
                     "--data_dir",   (folder / "images").string(),
                     "--dataset",    "class_folders",
                     "--model_name", "net",
                     "--batch_size", "41",
                     "--threads",    "1",
                     "--log_steps",  "1",
                     "--num_epochs", "3"};
  };
  refuses("train_standard", flags("run"), {"net", "--batch_size 40 or 42", "--drop_last 1"});
  CHECK(fs::is_empty(folder / "run"));
  completes("train_standard", flags("run") + Arguments{"--drop_last", "1"});
  CHECK(csv_rows(folder / "run" / "steps.csv").size() == 4);
  CHECK(contains(read_file(folder / "run" / "params.json"), "\"drop_last\": 1"));

  completes("train_standard", flags("halting") + Arguments{"--drop_last", "1", "--max_steps", "2"});
  const Arguments resume = {"--save_path", (folder / "halting").string(), "--resume"};
  refuses("train_standard", resume + Arguments{"--drop_last", "0"}, {"drop_last was 1, now it is 0"});
  completes("train_standard", resume);
  for (const char* file : {"last_model.safetensors", "training_state.safetensors", "steps.csv"})
    CHECK(read_file(folder / "run" / file) == read_file(folder / "halting" / file));
}

TEST_CASE("more workers than a loader takes are refused with the bound that --help names") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  Arguments flags = small_run(folder / "images", folder / "run") + Arguments{"--num_epochs", "1"};
  flags[static_cast<std::size_t>(std::find(flags.begin(), flags.end(), "--num_workers") - flags.begin()) +
        1] = "65";
  const Finished refused = run_app("train_standard", flags);
  CHECK(refused.exit_code == 2);
  CHECK(contains(refused.err, "--num_workers must be an integer from 0 to 64, not '65'"));
  CHECK(contains(completes("train_standard", {"--help"}), "an integer from 0 to 64"));
  flags[static_cast<std::size_t>(std::find(flags.begin(), flags.end(), "--num_workers") - flags.begin()) +
        1] = "64";
  completes("train_standard", flags);
}
