// The programs with --device cuda: every stage trains, stops, resumes, evaluates and predicts as on the CPU.

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/apps/program_runs.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

constexpr int time_columns = 2;  // of metrics.csv: images_per_s, seconds

const Arguments on_gpu = {"--device", "cuda", "--deterministic", "1", "--log_steps", "1"};
const Arguments on_cpu = {"--device", "cpu", "--log_steps", "1"};

/// Runs a program to its end: what follows reads what it leaves.
void complete(const std::string& program, const Arguments& flags) {
  const Finished finished = run_app(program, flags);
  CAPTURE(finished.err);
  REQUIRE(finished.exit_code == 0);
}

std::vector<double> numbers(const std::string& row) {
  std::vector<double> values;
  std::istringstream cells(row);
  for (std::string cell; std::getline(cells, cell, ',');) values.push_back(std::stod(cell));
  return values;
}

/// steps.csv of both runs, up to the rounding errors that a few steps make.
void check_same_steps(const fs::path& found, const fs::path& wanted) {
  const std::vector<std::string> ours = csv_rows(found / "steps.csv");
  const std::vector<std::string> theirs = csv_rows(wanted / "steps.csv");
  REQUIRE(ours.size() == theirs.size());
  REQUIRE(ours.size() > 5);
  CHECK(ours[0] == theirs[0]);
  for (std::size_t i = 1; i < ours.size(); ++i) {
    CAPTURE(i);
    const std::vector<double> a = numbers(ours[i]);
    const std::vector<double> b = numbers(theirs[i]);
    REQUIRE(a.size() == b.size());
    for (std::size_t k = 0; k < a.size(); ++k) CHECK(a[k] == doctest::Approx(b[k]).epsilon(2e-2));
  }
}

}  // namespace

TEST_CASE(
    "every stage on the GPU: the CPU's losses step by step, and a resumed run is the uninterrupted one") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const Arguments one_epoch = {"--num_epochs", "1", "--learning_rate", "0.01"};
  complete("train_standard", small_run(folder / "images", folder / "teacher") + one_epoch + on_cpu);
  const std::string teacher = (folder / "teacher" / "best_model.safetensors").string();
  struct Stage {
    std::string program;
    Arguments flags;
  };
  const std::vector<Stage> stages = {
      {"train_standard", {}},
      {"train_standard",
       {"--label_smoothing", "0.1", "--mixup", "0.4", "--cutmix", "1", "--ema_decay", "0.8", "--validation",
        "6"}},
      {"train_generous",
       {"--adversarial_model", "resnet8", "--adversarial_resume", teacher, "--warmup", "0"}},
      {"train_kd", {"--teacher_model", "resnet8", "--teacher_resume", teacher}},
      {"train_kd",
       {"--teacher_model", "resnet8", "--teacher_resume", teacher, "--method", "mlkd,crd,nd,mgd"}},
      {"train_kd",
       {"--teacher_model", "resnet8", "--teacher_resume", teacher, "--method", "deepkd", "--optimizer",
        "deepkd"}},
  };
  for (const Stage& stage : stages) {
    CAPTURE(stage.program);
    const fs::path base = folder / std::to_string(&stage - stages.data());
    const auto run = [&](const std::string& name, const Arguments& device) {
      return small_run(folder / "images", fs::path(base.string() + name)) + stage.flags + one_epoch + device;
    };
    complete(stage.program, run("_cpu", on_cpu));
    complete(stage.program, run("_gpu", on_gpu));
    check_same_steps(base.string() + "_gpu", base.string() + "_cpu");

    complete(stage.program, run("_resumed", on_gpu) + Arguments{"--max_steps", "4"});
    complete(stage.program, run("_resumed", on_gpu) + Arguments{"--resume"});
    for (const char* file : {"last_model.safetensors", "training_state.safetensors"})
      CHECK(read_file(fs::path(base.string() + "_gpu") / file) ==
            read_file(fs::path(base.string() + "_resumed") / file));
    if (fs::exists(base.string() + "_gpu/ema_last_model.safetensors"))
      CHECK(read_file(base.string() + "_gpu/ema_last_model.safetensors") ==
            read_file(base.string() + "_resumed/ema_last_model.safetensors"));
    CHECK(csv_rows(base.string() + "_gpu/metrics.csv", time_columns) ==
          csv_rows(base.string() + "_resumed/metrics.csv", time_columns));
  }
}

TEST_CASE("evaluate on the GPU prints and reports what it does on the CPU") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  complete("train_standard", small_run(folder / "images", folder / "run") +
                                 Arguments{"--num_epochs", "1", "--learning_rate", "0.01"} + on_cpu);
  const std::string weights = (folder / "run/best_model.safetensors").string();
  const auto evaluated = [&](const std::string& device) {
    const Finished finished =
        run_app("evaluate",
                {"--model_name", "resnet8", "--weights", weights, "--dataset", "class_folders", "--data_dir",
                 (folder / "images").string(), "--device", device, "--report", (folder / device).string(),
                 "--report_features", "4", "--teacher_model", "resnet8", "--teacher_resume", weights});
    CAPTURE(finished.err);
    REQUIRE(finished.exit_code == 0);
    return finished.out;
  };
  const auto line = [](const std::string& text, const std::string& begin) {
    const std::size_t at = text.find(begin);
    REQUIRE(at != std::string::npos);
    return text.substr(at, text.find('\n', at) - at);
  };
  const std::string found = evaluated("cuda");
  const std::string wanted = evaluated("cpu");
  CHECK(line(found, "top-1") == line(wanted, "top-1"));
  const auto report = [&](const std::string& device) {
    return nlohmann::json::parse(read_file(folder / device / "report.json"));
  };
  for (const char* key : {"loss", "logit_deviation", "non_target_entropy"})
    CHECK(report("cuda")[key].get<double>() ==
          doctest::Approx(report("cpu")[key].get<double>()).epsilon(1e-4));
  CHECK(report("cuda")["teacher"]["agreement"] == 100.0);
  CHECK(report("cuda")["teacher"]["kl"].get<double>() < 1e-6);
  const std::vector<std::string> features = csv_rows(folder / "cuda" / "features.csv");
  REQUIRE(features.size() == 5);
  CHECK(features[1] != features[2]);
}

TEST_CASE("a GPU is asked for by its number, and one that is not there is refused with those that are") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const Arguments run = small_run(folder / "images", folder / "run");
  const Finished refused = run_app("train_standard", run + Arguments{"--device", "cuda:97"});
  CHECK(refused.exit_code == 1);
  CHECK(contains(refused.err, "there is no cuda:97; there "));
  CHECK(contains(refused.err, "cuda:0 ("));
  complete("train_standard", run + Arguments{"--num_epochs", "1", "--device", "cuda:0"});
  complete("evaluate",
           {"--model_name", "resnet8", "--weights", (folder / "run" / "last_model.safetensors").string(),
            "--dataset", "class_folders", "--data_dir", (folder / "images").string(), "--device", "cuda:0"});
}
