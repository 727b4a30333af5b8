// --paper_metrics 1: the paper's accuracy and its choice of the best epoch beside ours.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "apps/training/evaluation.h"
#include "tests/apps/program_runs.h"
#include "tests/data/data_files.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> cells(const std::string& row) {
  std::vector<std::string> all;
  std::istringstream stream(row);
  for (std::string cell; std::getline(stream, cell, ',');) all.push_back(cell);
  return all;
}

/// The numbers of a column of metrics.csv, by epoch from 1.
std::vector<double> column(const fs::path& metrics, const std::string& name) {
  std::vector<double> values;
  std::size_t index = 0;
  for (const std::string& row : csv_rows(metrics)) {
    const std::vector<std::string> all = cells(row);
    if (row.starts_with("epoch"))
      index = static_cast<std::size_t>(std::find(all.begin(), all.end(), name) - all.begin());
    else
      values.push_back(std::stod(all.at(index)));
  }
  return values;
}

const Arguments asked = {"--paper_metrics", "1"};

}  // namespace

TEST_CASE("the mean over batches of 128: the last one counts like a full one") {
  PaperAccuracy accuracy;
  CHECK(accuracy.percent() == 0.0);
  for (int i = 0; i < 96; ++i) accuracy.add(true);
  CHECK(accuracy.percent() == 100.0);
  for (int i = 96; i < 128; ++i) accuracy.add(false);
  CHECK(accuracy.percent() == 75.0);
  for (int i = 0; i < 128; ++i) accuracy.add(i < 64);
  CHECK(accuracy.percent() == 62.5);
  accuracy.add(true);  // one image, as much as 128
  CHECK(accuracy.percent() == (75.0 + 50.0 + 100.0) / 3.0);
}

TEST_CASE(
    "a run with the paper's measures: its column, its best epoch, exactly over a resume; evaluate agrees") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  // 15 test images are one batch: the paper's accuracy is ours, and only the choice among equals differs.
  const Arguments flags = asked + Arguments{"--num_epochs", "10", "--learning_rate", "0.01"};
  const auto run = [&](const char* name, const Arguments& more) {
    const Finished finished =
        run_app("train_standard", small_run(folder / "images", folder / name) + flags + more);
    CAPTURE(finished.err);
    CHECK(finished.exit_code == 0);
    return finished.out;
  };
  const std::string out = run("straight", {});
  const fs::path metrics = folder / "straight" / "metrics.csv";
  CHECK(csv_rows(metrics).at(0) ==
        "epoch,lr,train_loss,train_top1_percent,test_loss,test_top1_percent,test_top5_percent,"
        "paper_top1_percent,images_per_s,seconds");
  CHECK(column(metrics, "paper_top1_percent") == column(metrics, "test_top1_percent"));
  CHECK(contains(read_file(folder / "straight" / "params.json"), "\"paper_metrics\": 1"));

  run("halting", {"--max_steps", "47"});
  const std::string resumed = run("halting", {"--resume"});
  for (const char* name : {"training_state.safetensors", "last_model.safetensors"})
    CHECK(read_file(folder / "halting" / name) == read_file(folder / "straight" / name));
  for (const std::string& text : {out, resumed}) {
    const std::size_t done = text.find("done: best top-1 ");
    REQUIRE(done != std::string::npos);
    const std::string line = text.substr(done, text.find('\n', done) - done);
    CAPTURE(line);
    const std::size_t rule = line.find(", by the paper's program's rule ");
    REQUIRE(rule != std::string::npos);
    const std::vector<double> accuracy = column(metrics, "paper_top1_percent");
    const auto first = std::max_element(accuracy.begin(), accuracy.end());
    const auto last = std::max_element(accuracy.rbegin(), accuracy.rend()).base();
    REQUIRE(first + 1 != last);  // there are equals
    CHECK(line.substr(0, rule) ==
          fmt::format("done: best top-1 {:.2f} % in epoch {}", *first, first - accuracy.begin() + 1));
    CHECK(contains(line, fmt::format("rule {:.2f} % in epoch {};", *first, last - accuracy.begin())));
  }

  const Arguments evaluate = {"--model_name", "resnet8",
                              "--dataset",    "class_folders",
                              "--threads",    "1",
                              "--data_dir",   (folder / "images").string(),
                              "--weights",    (folder / "straight" / "last_model.safetensors").string()};
  const std::string with = run_app("evaluate", evaluate + asked).out;
  CHECK(contains(with, fmt::format("\npaper    {:.4f} %", column(metrics, "paper_top1_percent").back())));
  CHECK_FALSE(contains(run_app("evaluate", evaluate).out, "paper"));
}

TEST_CASE("without the flag nothing of it is anywhere, and a resumed run can neither begin nor end it") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  for (const char* before : {"0", "1"}) {
    const fs::path run = folder / before;
    const bool off = std::string_view(before) == "0";
    const Arguments flags =
        small_run(folder / "images", run) + Arguments{"--num_epochs", "1"} + (off ? Arguments{} : asked);
    CHECK(run_app("train_standard", flags).exit_code == 0);
    for (const char* name : {"params.json", "training.log", "metrics.csv", "training_state.safetensors"}) {
      CAPTURE(name);
      if (off) CHECK_FALSE(contains(read_file(run / name), "paper"));
    }
    const Finished changed = run_app(
        "train_standard",
        {"--save_path", run.string(), "--resume", "--num_epochs", "2", "--paper_metrics", off ? "1" : "0"});
    CHECK(changed.exit_code == 1);
    CHECK(contains(changed.err, std::string("paper_metrics was ") + before));
  }
}

TEST_CASE("Tiny-ImageNet without augmentation: the log says that the paper's program augments all the same") {
  const TemporaryFolder folder;
  const fs::path images = folder / "images";
  write_file(images / "wnids.txt", "n01\nn02\n");
  write_file(images / "words.txt", "n01\tgoldfish\nn02\tcentipede\n");
  write_file(images / "val" / "val_annotations.txt", "0.JPEG\tn01\t0\t0\t9\t9\n1.JPEG\tn02\t0\t0\t9\t9\n");
  for (const auto& [name, image] : {std::pair{"n01", jpeg_red_64x64}, {"n02", jpeg_green_64x64}})
    write_file(images / "train" / name / "images" / (std::string(name) + "_0.JPEG"), image);
  write_file(images / "val" / "images" / "0.JPEG", jpeg_red_64x64);
  write_file(images / "val" / "images" / "1.JPEG", jpeg_green_64x64);
  const auto notes = [&](const char* augmentation, const char* paper_metrics) {
    const std::string run = (folder / (std::string(augmentation) + paper_metrics)).string();
    const Finished finished = run_app(
        "train_standard", {"--save_path", run, "--data_dir", images.string(), "--dataset", "tiny_imagenet",
                           "--model_name", "resnet8", "--threads", "1", "--num_epochs", "1", "--augmentation",
                           augmentation, "--paper_metrics", paper_metrics});
    CAPTURE(finished.err);
    CHECK(finished.exit_code == 0);
    return contains(finished.out, "augments the training images of Tiny-ImageNet even with augmentation 0");
  };
  CHECK(notes("0", "1"));
  CHECK_FALSE(notes("1", "1"));
  CHECK_FALSE(notes("0", "0"));
}
