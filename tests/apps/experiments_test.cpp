// Every configuration of apps/experiments runs as it is, two steps of two images, on small data in the layout
// of its dataset.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/stages.h"
#include "apps/training/settings.h"
#include "core/safetensors.h"
#include "nn/models/registry.h"
#include "nn/state_dict.h"
#include "tests/apps/program_runs.h"
#include "tests/data/data_files.h"

using namespace generous;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

std::string numbered_lines(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) lines += fmt::format("class{}\n", i);
  return lines;
}

/// CIFAR's binary layout has a fixed number of records: here 40 noisy images again and again. `labels` are
/// the largest labels that stand before an image.
std::string cifar_records(std::size_t count, const std::vector<int>& labels) {
  const Random random(3, "cifar records");
  std::vector<std::string> images(40);
  for (std::uint32_t image = 0; image < images.size(); ++image)
    for (std::uint32_t i = 0; i < 3072; ++i)
      images[image].push_back(static_cast<char>(random.below(256, 0, image, i)));
  std::string records;
  for (std::size_t i = 0; i < count; ++i) {
    for (const int largest : labels)
      records.push_back(static_cast<char>(i % (static_cast<std::size_t>(largest) + 1)));
    records += images[i % images.size()];
  }
  return records;
}

struct SmallData {
  explicit SmallData(const fs::path& folder) : root(folder) {
    const std::string tens = cifar_records(10000, {9});
    for (const char* file :
         {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"})
      write_file(root / "cifar10" / fmt::format("{}.bin", file), tens);
    write_file(root / "cifar10/batches.meta.txt", numbered_lines(10));

    write_file(root / "cifar100/train.bin", cifar_records(50000, {19, 99}));
    write_file(root / "cifar100/test.bin", cifar_records(10000, {19, 99}));
    write_file(root / "cifar100/fine_label_names.txt", numbered_lines(100));

    const fs::path tiny = root / "tiny_imagenet";
    write_file(tiny / "wnids.txt", "n01\nn02\nn03\n");
    write_file(tiny / "words.txt", "n01\tred\nn02\tgreen\nn03\tgrey\n");
    const std::map<std::string, std::string> images{
        {"n01", jpeg_red_64x64}, {"n02", jpeg_green_64x64}, {"n03", jpeg_grey_64x64}};
    for (const auto& [wnid, image] : images) {
      for (const char* number : {"0", "1"})
        write_file(tiny / "train" / wnid / "images" / fmt::format("{}_{}.JPEG", wnid, number), image);
      write_file(tiny / "val/images" / fmt::format("{}.JPEG", wnid), image);
    }
    write_file(tiny / "val/val_annotations.txt", "n01.JPEG\tn01\nn02.JPEG\tn02\nn03.JPEG\tn03\n");
  }

  static ModelOptions options(const std::string& dataset) {
    if (dataset == "tiny_imagenet") return {.classes = 3, .image = {64, 64, 3}};
    return {.classes = dataset == "cifar100" ? 100 : 10};
  }

  fs::path root;
};

/// The programs' names for the three stages, by the run's folder.
std::string program_of(const std::string& run) {
  if (contains(run, "/generous_")) return "train_generous";
  return contains(run, "/baseline/") ? "train_standard" : "train_kd";
}

/// The losses of a run's steps.csv, whose rows are step, loss and more.
std::vector<double> losses(const fs::path& run) {
  const std::vector<std::string> rows = csv_rows(run / "steps.csv");
  REQUIRE(rows.at(0).starts_with("step,loss,"));
  std::vector<double> values;
  for (std::size_t i = 1; i < rows.size(); ++i)
    values.push_back(std::stod(rows[i].substr(rows[i].find(',') + 1)));
  return values;
}

/// Two steps of a run by its params.json, from a teacher that has just been initialised.
void check_runs(const TemporaryFolder& folder, const SmallData& data, const fs::path& run) {
  CAPTURE(run.string());
  const json params = json::parse(read_file(folder / run / "params.json"));
  const auto dataset = params.at("dataset").get<std::string>();
  const std::string program = program_of(run.string());
  fs::path teacher;
  if (program != "train_standard") {
    const std::string kind = program == "train_kd" ? "teacher" : "adversarial";
    teacher = folder / fs::path(params.at(fmt::format("{}_resume", kind)).get<std::string>()).parent_path() /
              "best_model.safetensors";
    fs::create_directories(teacher.parent_path());
    write_safetensors(teacher,
                      state_dict(*make_model(params.at(fmt::format("{}_model", kind)).get<std::string>(),
                                             SmallData::options(dataset))));
  }
  const Arguments teacher_flags = teacher.empty() ? Arguments{} : Arguments{"--teacher_accuracy", "0"};
  const Finished finished =
      run_app(program,
              teacher_flags + Arguments{"--save_path", run.string(), "--data_dir",
                                        (data.root / dataset).string(), "--batch_size", "2", "--max_steps",
                                        "2", "--log_steps", "1", "--num_workers", "0", "--device", "cpu"},
              {.working_folder = folder / ""});
  CAPTURE(finished.out);
  CAPTURE(finished.err);
  REQUIRE(finished.exit_code == 0);
  const std::vector<double> found = losses(folder / run);
  CHECK(found.size() == 2);
  for (const double loss : found) CHECK(std::isfinite(loss));
  // Half a gigabyte for the largest.
  fs::remove_all(folder / run);
  if (!teacher.empty()) fs::remove(teacher);
}

/// The folders of a tree that have a params.json, below its "experiments".
std::vector<fs::path> runs_in(const fs::path& tree) {
  std::vector<fs::path> runs;
  for (const auto& entry : fs::recursive_directory_iterator(tree))
    if (entry.path().filename() == "params.json")
      runs.push_back("experiments" / fs::relative(entry.path().parent_path(), tree));
  return runs;
}

}  // namespace

TEST_CASE("each of the paper's 30 configurations runs") {
  const TemporaryFolder folder;
  const SmallData data(folder / "data");
  fs::copy(fs::path(GENEROUS_SOURCE_DIR) / "apps/experiments", folder / "experiments",
           fs::copy_options::recursive);
  const std::vector<fs::path> runs = runs_in(folder / "experiments");
  CHECK(runs.size() == 30);
  for (const fs::path& run : runs) check_runs(folder, data, run);
}

TEST_CASE("each configuration that field.sh writes is understood, and those of one pair run") {
  const TemporaryFolder folder;
  const SmallData data(folder / "data");
  const std::string script = (fs::path(GENEROUS_SOURCE_DIR) / "apps/experiments/field.sh").string();
  const std::string root = (folder / "").string();
  REQUIRE(run_app("/bin/bash", {script, root}).exit_code == 0);
  const std::vector<fs::path> runs = runs_in(folder / "experiments");
  // Of 12 and 2 pairs: 8 + 2 teachers of two kinds, 7 + 1 other students, 7 methods from both teachers.
  CHECK(runs.size() == 222);
  for (const fs::path& run : runs) {
    CAPTURE(run.string());
    const auto stage = std::ranges::find(stages, program_of(run.string()), &TrainingStage::program);
    REQUIRE(stage != stages.end());
    Options options(stage->program, {"--save_path", (folder / run).string()});
    TrainingSettings settings;
    settings.declare(options, *stage);
    CHECK(options.finish());
  }
  const fs::path pairs = "experiments/CIFAR100_240";
  for (const char* run : {"baseline/wrn_16_2", "kd_generous_wrn_40_2/generous_wrn_40_2",
                          "kd_standard_wrn_40_2/wrn_16_2/dkd", "kd_generous_wrn_40_2/wrn_16_2/crd"})
    check_runs(folder, data, pairs / run);
  // The commands are words for the shell.
  const std::string spaced = (folder / "one's own").string();
  REQUIRE(run_app("/bin/bash", {script, spaced}).exit_code == 0);
  const Finished words =
      run_app("/bin/bash", {"-c", "head -n 1 \"$0\" | sed \"s|^|printf '%s\\\\n' |\" | bash",
                            (fs::path(spaced) / pairs / "commands.txt").string()});
  CHECK(words.out ==
        "train_standard\n--save_path\n" + spaced + "/experiments/CIFAR100_240/baseline/resnet56\n");
  // What is there is left as it is.
  const std::string changed = "{\"model_name\": \"resnet8\"}";
  write_text(folder / pairs / "baseline/vgg8/params.json", changed);
  REQUIRE(run_app("/bin/bash", {script, root}).exit_code == 0);
  CHECK(read_file(folder / pairs / "baseline/vgg8/params.json") == changed);
}
