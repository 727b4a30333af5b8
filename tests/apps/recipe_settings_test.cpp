// The settings of training recipes, in runs: smoothed labels, mixed images, averaged weights, images held out
// and left out, early stopping, kept epochs, the report of the teacher.
#include <doctest/doctest.h>

#include <cmath>
#include <sstream>

#include "tests/apps/run_checks.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

constexpr int time_columns = 2;  // of metrics.csv: images_per_s, seconds

/// Images, and a teacher who has learned from them.
struct Workplace {
  Workplace() {
    make_images(folder / "images");
    completes("train_standard", run("teacher", {"--num_epochs", "2", "--learning_rate", "0.01"}));
  }
  fs::path path(const std::string& name) const { return folder.path() / name; }
  Arguments run(const std::string& name, const Arguments& more) const {
    return small_run(folder.path() / "images", path(name)) + more;
  }
  Arguments resume(const std::string& name, const Arguments& more = {}) const {
    return Arguments{"--save_path", path(name).string(), "--resume"} + more;
  }
  Arguments teacher() const {
    return {"--teacher_model", "resnet8", "--teacher_resume",
            (path("teacher") / "last_model.safetensors").string()};
  }

  TemporaryFolder folder;
};

/// The numbers of a column of metrics.csv, by epoch from 1.
std::vector<double> column(const fs::path& run, const std::string& name) {
  std::vector<double> values;
  std::size_t index = 0;
  for (const std::string& row : csv_rows(run / "metrics.csv")) {
    std::vector<std::string> cells;
    std::istringstream stream(row);
    for (std::string cell; std::getline(stream, cell, ',');) cells.push_back(cell);
    if (row.starts_with("epoch"))
      index = static_cast<std::size_t>(std::find(cells.begin(), cells.end(), name) - cells.begin());
    else
      values.push_back(std::stod(cells.at(index)));
  }
  return values;
}

/// The first epoch with the largest value, from 1.
std::int64_t best_of(const std::vector<double>& values) {
  return std::max_element(values.begin(), values.end()) - values.begin() + 1;
}

std::string line_with(const std::string& text, const std::string& part) {
  const std::size_t at = text.find(part);
  REQUIRE(at != std::string::npos);
  const std::size_t begin = text.rfind('\n', at) + 1;
  return text.substr(begin, text.find('\n', at) - begin);
}

const Arguments everything = {"--label_smoothing", "0.1", "--mixup",      "0.4", "--cutmix",         "1",
                              "--ema_decay",       "0.8", "--validation", "10",  "--subset_percent", "60",
                              "--learning_rate",   "0.02"};

}  // namespace

TEST_CASE("every stage with everything on: stopped and resumed equals uninterrupted, to the bit") {
  const Workplace at;
  struct Stage {
    std::string program;
    Arguments flags;
  };
  for (const Stage& stage :
       {Stage{"train_standard", {}},
        Stage{"train_generous", at.teacher() + Arguments{"--knowledge", "kl", "--optimizer", "adamw"}},
        Stage{"train_kd", at.teacher() + Arguments{"--method", "vid"}}}) {
    CAPTURE(stage.program);
    const Arguments flags =
        stage.flags + everything + Arguments{"--num_epochs", "4", "--save_every", "2", "--log_steps", "1"};
    const std::string straight = stage.program + " straight";
    const std::string halting = stage.program + " halting";
    completes(stage.program, at.run(straight, flags));
    // 14 images of each class: 10 are held out, 60 % of the other 10, 11 and 11 are 20 in three batches.
    CHECK(csv_rows(at.path(straight) / "steps.csv").size() == 1 + 4 * 3);
    completes(stage.program, at.run(halting, flags + Arguments{"--max_steps", "1"}));
    for (const char* steps : {"3", "5", "10"})
      completes(stage.program, at.resume(halting, {"--max_steps", steps}));
    completes(stage.program, at.resume(halting));
    for (const char* file : {"last_model", "best_model", "ema_last_model", "ema_best_model", "epoch_2_model",
                             "epoch_4_model", "ema_epoch_2_model", "ema_epoch_4_model", "training_state"}) {
      CAPTURE(file);
      const std::string name = std::string(file) + ".safetensors";
      CHECK(read_file(at.path(straight) / name) == read_file(at.path(halting) / name));
    }
    CHECK(csv_rows(at.path(straight) / "metrics.csv", time_columns) ==
          csv_rows(at.path(halting) / "metrics.csv", time_columns));
    CHECK(csv_rows(at.path(straight) / "steps.csv") == csv_rows(at.path(halting) / "steps.csv"));
    CHECK_FALSE(fs::exists(at.path(straight) / "epoch_3_model.safetensors"));
    for (const char* kept : {"epoch_4_model.safetensors", "ema_epoch_4_model.safetensors"})
      CHECK(read_file(at.path(straight) / kept) ==
            read_file(at.path(straight) /
                      (kept[1] == 'p' ? "last_model.safetensors" : "ema_last_model.safetensors")));
  }
}

TEST_CASE("each of them decides the result, is recorded, and may not change when a run is resumed") {
  const Workplace at;
  const Arguments two_steps = {"--max_steps", "2", "--learning_rate", "0.02"};
  completes("train_standard", at.run("plain", two_steps));
  const std::string plain = read_file(at.path("plain") / "last_model.safetensors");
  for (const auto& setting : {std::pair{"label_smoothing", "0.25"},
                              {"mixup", "0.5"},
                              {"cutmix", "0.75"},
                              {"validation", "6"},
                              {"subset_percent", "62.5"}}) {
    const char* const key = setting.first;
    const char* const value = setting.second;
    CAPTURE(key);
    const Arguments flag = {std::string("--") + key, value};
    completes("train_standard", at.run(key, two_steps + flag));
    CHECK(read_file(at.path(key) / "last_model.safetensors") != plain);
    CHECK(contains(read_file(at.path(key) / "params.json"), std::string("\"") + key + "\": " + value));
    refuses("train_standard", at.resume("plain", flag), {"cannot resume", key, "was", value});
  }
  completes("train_standard", at.run("average", two_steps + Arguments{"--ema_decay", "0.5"}));
  CHECK(read_file(at.path("average") / "last_model.safetensors") == plain);  // it changes nothing else
  refuses("train_standard", at.resume("average", {"--ema_decay", "0"}), {"ema_decay was 0.5, now it is 0"});
}

TEST_CASE("the average of the weights: the first step's copied, then D of what was and 1 - D of what is") {
  const Workplace at;
  const Arguments flags = {"--ema_decay", "0.75", "--learning_rate", "0.02"};
  completes("train_standard", at.run("run", flags + Arguments{"--max_steps", "1"}));
  const auto tensors = [&](const char* file) {
    std::map<std::string, Tensor> by_name;
    for (const auto& [name, tensor] : read_safetensors(at.path("run") / file).tensors) by_name[name] = tensor;
    return by_name;
  };
  const auto first = tensors("last_model.safetensors");
  CHECK(read_file(at.path("run") / "last_model.safetensors") ==
        read_file(at.path("run") / "ema_last_model.safetensors"));
  completes("train_standard", at.resume("run", {"--max_steps", "2"}));
  const auto second = tensors("last_model.safetensors");
  const auto average = tensors("ema_last_model.safetensors");
  REQUIRE(average.size() == second.size());
  bool moved = false;
  for (const auto& averaged : average) {
    const std::string& name = averaged.first;
    const Tensor& tensor = averaged.second;
    CAPTURE(name);
    if (tensor.dtype() != DType::f32) {
      CHECK(tensor.data<std::int64_t>()[0] == second.at(name).data<std::int64_t>()[0]);
      continue;
    }
    for (std::size_t i = 0; i < tensor.data<float>().size(); ++i) {
      const auto value = [i](const Tensor& t) { return static_cast<double>(t.data<float>()[i]); };
      const double expected = 0.75 * value(first.at(name)) + 0.25 * value(second.at(name));
      CHECK(std::abs(value(tensor) - expected) < 1e-6 * (1.0 + std::abs(expected)));
      moved = moved || value(tensor) != value(second.at(name));
    }
  }
  CHECK(moved);
}

TEST_CASE("the average is measured each epoch and saved where it is best; evaluate agrees") {
  const Workplace at;
  const std::string out =
      completes("train_standard",
                at.run("run", {"--ema_decay", "0.9", "--num_epochs", "5", "--learning_rate", "0.02"}));
  CHECK(csv_rows(at.path("run") / "metrics.csv", time_columns).at(0) ==
        "epoch,lr,train_loss,train_top1_percent,test_loss,test_top1_percent,test_top5_percent,"
        "ema_top1_percent");
  const std::vector<double> accuracy = column(at.path("run"), "ema_top1_percent");
  const std::int64_t best = best_of(accuracy);
  CHECK(contains(line_with(out, "epoch 5/5"), fmt::format(" average {:.2f} %", accuracy[4])));
  CHECK(contains(line_with(out, "done: best top-1"),
                 fmt::format(", averaged weights top-1 {:.2f} % in epoch {};",
                             accuracy[static_cast<std::size_t>(best - 1)], best)));
  for (const auto& [file, expected] :
       {std::pair{"ema_last_model.safetensors", accuracy[4]},
        std::pair{"ema_best_model.safetensors", accuracy[static_cast<std::size_t>(best - 1)]}}) {
    const std::string evaluated =
        completes("evaluate", {"--model_name", "resnet8", "--weights", (at.path("run") / file).string(),
                               "--dataset", "class_folders", "--data_dir", at.path("images").string()});
    CHECK(contains(evaluated, fmt::format("top-1    {:.4f} %", expected)));
  }
}

TEST_CASE("images held out choose the best epoch, and the test images are only reported") {
  const Workplace at;
  const std::string out =
      completes("train_standard", at.run("run", {"--validation", "9", "--num_epochs", "8", "--learning_rate",
                                                 "0.02", "--ema_decay", "0.5"}));
  CHECK(contains(out, ": 33 training, 9 validation and 15 test images of 16 x 24 x 3"));
  CHECK(csv_rows(at.path("run") / "metrics.csv", time_columns).at(0) ==
        "epoch,lr,train_loss,train_top1_percent,test_loss,test_top1_percent,test_top5_percent,"
        "ema_top1_percent,validation_loss,validation_top1_percent,validation_top5_percent,"
        "ema_validation_top1_percent");
  const auto chosen = [&](const std::string& validation, const std::string& test) {
    const std::vector<double> by = column(at.path("run"), validation);
    const auto best = static_cast<std::size_t>(best_of(by) - 1);
    return fmt::format("validation top-1 {:.2f} % in epoch {}, test top-1 {:.2f} % there", by[best], best + 1,
                       column(at.path("run"), test)[best]);
  };
  const std::string done = line_with(out, "done: ");
  CHECK(contains(done, "done: best " + chosen("validation_top1_percent", "test_top1_percent")));
  CHECK(contains(done, ", averaged weights " + chosen("ema_validation_top1_percent", "ema_top1_percent")));
  const std::string complete = completes("train_standard", at.resume("run"));
  CHECK(contains(complete,
                 "is complete: 8 epochs, best " + chosen("validation_top1_percent", "test_top1_percent")));
  const std::string evaluated =
      completes("evaluate",
                {"--model_name", "resnet8", "--weights", (at.path("run") / "best_model.safetensors").string(),
                 "--dataset", "class_folders", "--data_dir", at.path("images").string()});
  const auto best = static_cast<std::size_t>(best_of(column(at.path("run"), "validation_top1_percent")) - 1);
  CHECK(contains(evaluated,
                 fmt::format("top-1    {:.4f} %", column(at.path("run"), "test_top1_percent")[best])));
}

TEST_CASE("a method's banks and class means are of the images that are trained on") {
  const Workplace at;
  const Arguments part = {"--validation", "10", "--subset_percent", "60", "--max_steps", "2"};
  for (const char* method : {"crd", "nd"}) {
    completes("train_kd", at.run(method, at.teacher() + part + Arguments{"--method", method}));
    CAPTURE(method);
    for (const auto& [name, tensor] :
         read_safetensors(at.path(method) / "training_state.safetensors").tensors) {
      if (contains(name, "memory_")) CHECK(tensor.size(0) == 20);
    }
  }
}

TEST_CASE("early stopping on request: one line and exit code 0; a resumed run says so") {
  const Workplace at;
  // Without steps of any length no epoch is better than the first.
  const Arguments flags = {"--learning_rate", "0", "--num_epochs", "9", "--patience", "2"};
  const std::string out = completes("train_standard", at.run("run", flags));
  CHECK(csv_rows(at.path("run") / "metrics.csv").size() >= 4);
  const auto epochs = csv_rows(at.path("run") / "metrics.csv").size() - 1;
  REQUIRE(epochs < 9);
  const std::int64_t best = best_of(column(at.path("run"), "test_top1_percent"));
  CHECK(static_cast<std::int64_t>(epochs) == best + 2);
  CHECK(contains(out, fmt::format("stopped early after epoch {}, as none of the last 2 was better "
                                  "(--patience): best top-1",
                                  epochs)));
  const auto before = content_of(at.path("run"));
  CHECK(contains(completes("train_standard", at.resume("run")),
                 fmt::format("stopped early after epoch {}, as none of the last 2 was better", epochs)));
  CHECK(content_of(at.path("run")) == before);
  completes("train_standard", at.resume("run", {"--patience", "0"}));
  CHECK(csv_rows(at.path("run") / "metrics.csv").size() == 10);
}

TEST_CASE("what the teacher knows is said before training starts, once") {
  const Workplace at;
  const std::string out =
      completes("train_kd", at.run("run", at.teacher() + Arguments{"--num_epochs", "2", "--max_steps", "3"}));
  const std::string evaluated =
      completes("evaluate", {"--model_name", "resnet8", "--weights",
                             (at.path("teacher") / "last_model.safetensors").string(), "--dataset",
                             "class_folders", "--data_dir", at.path("images").string()});
  const double accuracy = column(at.path("teacher"), "test_top1_percent").back();
  CHECK(contains(
      out, fmt::format("teacher resnet8: top-1 {:.2f} %, top-5 100.00 % of the test images", accuracy)));
  CHECK(contains(evaluated, fmt::format("top-1    {:.4f} %", accuracy)));
  CHECK(out.find("teacher resnet8: top-1") < out.find("stopped by"));
  CHECK_FALSE(contains(completes("train_kd", at.resume("run")), "teacher resnet8: top-1"));
  CHECK_FALSE(contains(completes("train_standard", at.run("alone", {"--max_steps", "1"})), "top-5"));
}

TEST_CASE("what cannot be is refused in one line") {
  const Workplace at;
  for (const char* method :
       {"dkd", "deepkd", "nkd", "normkd_dkd", "rld", "sdd_dkd", "wkd_l", "generous", "crd", "nd"})
    for (const char* mixing : {"--mixup", "--cutmix"})
      refuses("train_kd", at.run("refused", at.teacher() + Arguments{"--method", method, mixing, "0.5"}),
              {"mixup, cutmix: method " + std::string(method), "one label"});
  refuses("train_generous", at.run("refused", at.teacher() + Arguments{"--mixup", "0.5"}),
          {"mixup, cutmix: method generous"});
  CHECK_FALSE(fs::exists(at.path("refused")));
  refuses("train_standard", at.run("refused", {"--validation", "40"}),
          {"validation: 40 of 42 training images cannot be held out, at most 39 can"});
  for (const Arguments& wrong : {Arguments{"--label_smoothing", "1.1"},
                                 {"--mixup", "-1"},
                                 {"--ema_decay", "1"},
                                 {"--subset_percent", "0"},
                                 {"--subset_percent", "101"},
                                 {"--patience", "-1"}}) {
    const Finished finished = run_app("train_standard", at.run("refused", wrong));
    CHECK(finished.exit_code == 2);
    CHECK(contains(finished.err, wrong[0]));
  }
}
