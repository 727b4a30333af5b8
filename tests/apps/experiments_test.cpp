// Every configuration of apps/experiments runs as it is, two steps of two images, on small data in the layout
// of its dataset.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

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

struct Data {
  explicit Data(const fs::path& folder) : root(folder) {
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

}  // namespace

TEST_CASE("each of the paper's 30 configurations runs") {
  const TemporaryFolder folder;
  const Data data(folder / "data");
  const fs::path shipped = fs::path(GENEROUS_SOURCE_DIR) / "apps/experiments";
  int count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(shipped)) {
    if (entry.path().filename() != "params.json") continue;
    const fs::path run = fs::path("experiments") / fs::relative(entry.path(), shipped).parent_path();
    CAPTURE(run.string());
    const json params = json::parse(read_file(entry.path()));
    const auto dataset = params.at("dataset").get<std::string>();
    write_text(folder / run / "params.json", params.dump());

    const std::string program = program_of(run.string());
    fs::path teacher;
    if (program != "train_standard") {
      const std::string kind = program == "train_kd" ? "teacher" : "adversarial";
      teacher = folder /
                fs::path(params.at(fmt::format("{}_resume", kind)).get<std::string>()).parent_path() /
                "best_model.safetensors";
      fs::create_directories(teacher.parent_path());
      write_safetensors(teacher,
                        state_dict(*make_model(params.at(fmt::format("{}_model", kind)).get<std::string>(),
                                               Data::options(dataset))));
    }
    const Finished finished =
        run_app(program,
                {"--save_path", run.string(), "--data_dir", (data.root / dataset).string(), "--batch_size",
                 "2", "--max_steps", "2", "--log_steps", "1", "--num_workers", "0", "--device", "cpu"},
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
    ++count;
  }
  CHECK(count == 30);
}
