// Training programs with --tensorboard: what they leave beside metrics.csv, and that nothing else differs.
#include <cmath>
#include <numeric>
#include <sstream>

#include "tests/apps/run_checks.h"
#include "tests/tensorboard/read_events.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

/// metrics.csv by column, each from epoch 1 on.
std::map<std::string, std::vector<double>> columns_of(const fs::path& metrics) {
  const auto cells = [](const std::string& row) {
    std::vector<std::string> texts;
    std::istringstream in(row);
    for (std::string cell; std::getline(in, cell, ',');) texts.push_back(cell);
    return texts;
  };
  const std::vector<std::string> rows = csv_rows(metrics);
  const std::vector<std::string> names = cells(rows.at(0));
  std::map<std::string, std::vector<double>> columns;
  for (std::size_t i = 1; i < rows.size(); ++i)
    for (std::size_t c = 0; c < names.size(); ++c)
      columns[names[c]].push_back(std::stod(cells(rows[i]).at(c)));
  return columns;
}

void check_same_training(const fs::path& one, const fs::path& other) {
  for (const char* weights : {"last_model.safetensors", "best_model.safetensors"})
    CHECK(read_file(one / weights) == read_file(other / weights));
  CHECK(csv_rows(one / "metrics.csv", 2) == csv_rows(other / "metrics.csv", 2));
}

struct Runs {
  TemporaryFolder folder;
  fs::path images = folder / "images";
  Runs() { make_images(images); }
  fs::path operator[](const std::string& name) const { return folder / name; }
  void train(const std::string& name, const Arguments& flags, const std::string& program) const {
    completes(program, small_run(images, (*this)[name]) + flags);
  }
};

}  // namespace

TEST_CASE(
    "every column of metrics.csv is a scalar of its epoch, whatever a run measures; all else is the same") {
  const Runs runs;
  const Arguments everything = {"--num_epochs", "3", "--validation",    "6", "--ema_decay", "0.9",
                                "--schedule",   "1", "--paper_metrics", "1"};
  runs.train("plain", everything, "train_standard");
  CHECK(event_files(runs["plain"]).empty());
  runs.train("teacher", everything + Arguments{"--tensorboard"}, "train_standard");
  check_same_training(runs["plain"], runs["teacher"]);
  const Arguments teacher = {"--num_epochs", "2", "--tensorboard", "1"};
  runs.train(
      "generous",
      teacher + Arguments{"--adversarial_resume", runs["teacher"].string(), "--adversarial_model", "resnet8"},
      "train_generous");
  runs.train("student",
             teacher + Arguments{"--method", "kd,at", "--teacher_resume", runs["teacher"].string()},
             "train_kd");

  const std::map<std::string, std::string> others = {
      {"lr", "learning_rate"},
      {"images_per_s", "images_per_second"},
      {"seconds", "seconds"},
      {"train_loss", "train/loss"},
      {"train_top1_percent", "train/top1_percent"},
      {"test_loss", "test/loss"},
      {"test_top1_percent", "test/top1_percent"},
      {"test_top5_percent", "test/top5_percent"},
      {"paper_top1_percent", "test/paper_top1_percent"},
      {"ema_top1_percent", "test/ema_top1_percent"},
      {"validation_loss", "validation/loss"},
      {"validation_top1_percent", "validation/top1_percent"},
      {"validation_top5_percent", "validation/top5_percent"},
      {"ema_validation_top1_percent", "validation/ema_top1_percent"}};
  for (const auto& [name, terms] : {std::pair{"teacher", 0}, {"generous", 2}, {"student", 3}}) {
    CAPTURE(name);
    const std::vector<ReadEvent> epochs = epochs_of(runs[name]);
    auto columns = columns_of(runs[name] / "metrics.csv");
    columns.erase("epoch");
    int found_terms = 0;
    for (const auto& entry : columns) {
      CAPTURE(entry.first);
      const bool is_term = !others.contains(entry.first);
      found_terms += is_term ? 1 : 0;
      const std::string tag = is_term ? "train/loss/" + entry.first : others.at(entry.first);
      REQUIRE(entry.second.size() == epochs.size());
      for (std::size_t i = 0; i < epochs.size(); ++i) {
        REQUIRE(epochs[i].scalars.contains(tag));
        CHECK(epochs[i].scalars.at(tag) == doctest::Approx(entry.second[i]).epsilon(1e-5));
      }
    }
    CHECK(found_terms == terms);
    CHECK(epochs.at(0).scalars.size() == columns.size() + 1);  // and logits/std
  }
}

TEST_CASE("histograms are of the test images' logits and of the weights as they are saved") {
  const Runs runs;
  runs.train("run", {"--num_epochs", "2", "--tensorboard", "1"}, "train_standard");
  const std::vector<ReadEvent> epochs = epochs_of(runs["run"]);
  REQUIRE(epochs.size() == 2);
  const auto& histograms = epochs[1].histograms;
  CHECK(histograms.size() == 3);
  const Histogram& deviations = histograms.at("logits/std_by_test_image");
  CHECK(deviations.count == 15.0);
  CHECK(deviations.sum / 15.0 == doctest::Approx(epochs[1].scalars.at("logits/std")).epsilon(1e-5));
  completes("evaluate", {(runs["run"] / "last_model.safetensors").string(), "--data_dir",
                         runs.images.string(), "--report", runs["report"].string()});
  std::vector<double> reported = columns_of(runs["report"] / "images.csv").at("logit_deviation");
  REQUIRE(reported.size() == 15);
  CHECK(deviations.sum ==
        doctest::Approx(std::accumulate(reported.begin(), reported.end(), 0.0)).epsilon(1e-4));
  const auto [smallest, largest] = std::ranges::minmax(reported);
  CHECK(deviations.smallest == doctest::Approx(smallest).epsilon(1e-4));
  CHECK(deviations.largest == doctest::Approx(largest).epsilon(1e-4));

  std::vector<double> norms;
  std::vector<float> classifier;
  for (const auto& [name, tensor] : read_safetensors(runs["run"] / "last_model.safetensors").tensors) {
    if (!name.ends_with("weight") || tensor.shape().rank() == 1) continue;
    double squares = 0.0;
    for (const double number : tensor.data<float>()) squares += number * number;
    norms.push_back(std::sqrt(squares));
    if (name.starts_with("fc.") || name.starts_with("linear."))
      classifier.assign(tensor.data<float>().begin(), tensor.data<float>().end());
  }
  const Histogram& of_norms = histograms.at("weights/norm_by_layer");
  CHECK(of_norms.count ==
        10.0);  // resnet8: the first convolution, three blocks of two, two shortcuts, the classifier
  CHECK(norms.size() == 10);
  CHECK(of_norms.sum == doctest::Approx(std::accumulate(norms.begin(), norms.end(), 0.0)).epsilon(1e-5));
  CHECK(of_norms.largest == doctest::Approx(std::ranges::max(norms)).epsilon(1e-5));
  const Histogram& of_classifier = histograms.at("weights/classifier");
  REQUIRE(classifier.size() == 3 * 64);
  CHECK(of_classifier.count == 3 * 64);
  CHECK(of_classifier.smallest == std::ranges::min(classifier));
  CHECK(of_classifier.largest == std::ranges::max(classifier));
}

TEST_CASE("stopped, resumed, from an older state too: each epoch once, as of a run that never stopped") {
  const Runs runs;
  const Arguments flags = {"--num_epochs", "4", "--tensorboard", "1"};
  runs.train("straight", flags, "train_standard");
  // One epoch and a part of the next; three; then as after one, with the events of three.
  runs.train("run", flags + Arguments{"--max_steps", "9"}, "train_standard");
  CHECK(epochs_of(runs["run"]).size() == 1);
  fs::copy(runs["run"], runs["before"]);
  const auto go_on = [&](const Arguments& more) {
    completes("train_standard", Arguments{"--save_path", runs["run"].string(), "--resume"} + more);
  };
  go_on({"--max_steps", "18"});
  CHECK(epochs_of(runs["run"]).size() == 3);
  CHECK(event_files(runs["run"]).size() == 2);
  for (const char* file :
       {"training_state.safetensors", "metrics.csv", "last_model.safetensors", "best_model.safetensors"})
    fs::copy_file(runs["before"] / file, runs["run"] / file, fs::copy_options::overwrite_existing);
  go_on({"--max_steps", "10"});
  CHECK(epochs_of(runs["run"]).size() == 1);
  SUBCASE("to its end") {
    go_on({});
    check_same_training(runs["straight"], runs["run"]);
    const std::vector<ReadEvent> expected = epochs_of(runs["straight"]);
    const std::vector<ReadEvent> found = epochs_of(runs["run"]);
    REQUIRE(found.size() == 4);
    for (std::size_t i = 0; i < found.size(); ++i)
      for (const auto& [tag, number] : expected[i].scalars)
        if (tag != "images_per_second" && tag != "seconds") CHECK(found[i].scalars.at(tag) == number);
  }
  SUBCASE("without the file from here on, which stays as it is") {
    const std::string content = read_file(event_files(runs["run"]).at(0));
    go_on({"--tensorboard", "0"});
    CHECK(epochs_of(runs["run"]).size() == 1);
    CHECK(read_file(event_files(runs["run"]).at(0)) == content);
    check_same_training(runs["straight"], runs["run"]);
  }
}

TEST_CASE("a folder with event files alone holds a run of another program") {
  const Runs runs;
  const std::string file = "events.out.tfevents.1700000000.host.1.0";
  write_text(runs["run"] / file, "theirs");
  refuses("train_standard", small_run(runs.images, runs["run"]), {"holds a run", file});
}
