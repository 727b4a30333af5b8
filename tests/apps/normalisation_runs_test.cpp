// A network is fed what it learned from: weights carry the normalisation of their images, and whoever uses
// them takes the same, or says that it does not.
#include <cstring>

#include "data/dataset.h"
#include "tests/apps/run_checks.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

const std::string before = "0.4914,0.4822,0.4465/0.247,0.243,0.261";  // of class_folders, once
const std::string other = "0.5,0.4,0.25/0.25,0.5,0.125";

/// A run of one epoch in folder/run on images normalised by `other`.
struct Run {
  TemporaryFolder folder;
  fs::path images = folder / "images";
  fs::path path = folder / "run";
  std::string weights = (path / "last_model.safetensors").string();
  std::string own;  ///< of its training images

  Run() {
    make_images(images);
    own = to_text(statistics_of(load_dataset("class_folders", images, Split::train).images), 3);
    completes("train_standard", start("run") + Arguments{"--normalisation", other});
  }

  Arguments start(const std::string& name) const {
    return small_run(images, folder / name) + Arguments{"--num_epochs", "1"};
  }
  Arguments evaluate(const std::string& file) const {
    return {"--model_name", "resnet8",       "--dataset", "class_folders",
            "--data_dir",   images.string(), "--weights", file};
  }
  /// A copy of the weights whose metadata `change` has changed.
  template <class Change>
  std::string copy(const std::string& name, Change change) const {
    const fs::path changed = folder / name;
    fs::copy(weights, changed);
    change_metadata(changed, change);
    return changed.string();
  }
};

std::string line_of(const std::string& text, const std::string& word) {
  const std::size_t begin = text.find(word);
  REQUIRE(begin != std::string::npos);
  return text.substr(begin, text.find('\n', begin) - begin);
}

}  // namespace

TEST_CASE("weights carry it: evaluate and predict go by them, teachers and --init must have the run's") {
  const Run run;
  CHECK(read_safetensors(run.weights).metadata.at("normalisation") == other);
  CHECK(contains(read_file(run.path / "params.json"), "\"normalisation\": \"" + other + "\""));

  const std::string evaluated = completes("evaluate", run.evaluate(run.weights));
  CHECK(contains(evaluated, "pixels   normalised by " + other));
  const std::string given =
      completes("evaluate", run.evaluate(run.weights) + Arguments{"--normalisation", other});
  CHECK(given.substr(0, given.find("speed")) == evaluated.substr(0, evaluated.find("speed")));
  const std::string input = (run.folder / "input.safetensors").string();
  write_safetensors(input, {{"input", Tensor::zeros({2, 3, 24, 16})}});
  CHECK(contains(completes("predict", {"--model_name", "resnet8", "--classes", "3", "--weights", run.weights,
                                       "--input", input, "--output", (run.folder / "out").string()}),
                 run.weights + ": for images normalised by " + other));
  const std::string both = run.weights + ": trained on images normalised by " + other +
                           " (means/standard deviations), here they are normalised by " + run.own +
                           ": give --normalisation " + other;
  refuses("evaluate", run.evaluate(run.weights) + Arguments{"--normalisation", "dataset"}, {both});

  const Arguments student = {"--teacher_model", "resnet8", "--teacher_resume", run.weights};
  refuses("train_kd", run.start("student") + student, {both});
  refuses("train_generous",
          run.start("generous") +
              Arguments{"--adversarial_model", "resnet8", "--adversarial_resume", run.weights},
          {both});
  refuses("train_standard", run.start("init") + Arguments{"--init", run.weights}, {both});
  for (const char* name : {"student", "generous", "init"}) CHECK(fs::is_empty(run.folder / name));
  const Arguments same = {"--normalisation", "0.50,0.40,0.250/0.25,0.5,0.125"};  // the same numbers
  completes("train_kd", run.start("student") + student + same);
  completes("train_standard", run.start("init") + Arguments{"--init", run.weights} + same);
  refuses("train_kd",
          {"--save_path", (run.folder / "student").string(), "--resume", "--num_epochs", "2",
           "--normalisation", "dataset"},
          {"normalisation was", "now it is \"dataset\""});
  completes("train_kd", {"--save_path", (run.folder / "student").string(), "--resume", "--num_epochs", "2"});
}

TEST_CASE("it makes a difference, and evaluate goes by the weights") {
  const Run run;
  completes("train_standard", run.start("plain"));
  CHECK(read_safetensors(run.weights).tensors[0].second.data<float>()[0] !=
        read_safetensors(run.folder / "plain" / "last_model.safetensors").tensors[0].second.data<float>()[0]);
  // Weights that say nothing are taken for either, so that both can be compared.
  const std::string silent = run.copy("silent.safetensors", [](auto& metadata) { metadata.clear(); });
  const std::string right = completes("evaluate", run.evaluate(run.weights));
  const std::string given = completes("evaluate", run.evaluate(silent) + Arguments{"--normalisation", other});
  const std::string wrong = completes("evaluate", run.evaluate(silent));
  CHECK(line_of(given, "loss ") == line_of(right, "loss "));
  CHECK(line_of(wrong, "loss ") != line_of(right, "loss "));
  CHECK_FALSE(contains(wrong, "note "));
}

TEST_CASE("weights from before it could be chosen have their dataset's own") {
  const Run run;
  const std::string old =
      run.copy("old.safetensors", [](auto& metadata) { metadata.erase("normalisation"); });
  const Arguments student = {"--teacher_model", "resnet8", "--teacher_resume", old};
  refuses("train_kd", run.start("student") + student,
          {"trained on images normalised by " + before, "normalised by " + run.own});
  completes("train_kd", run.start("student") + student + Arguments{"--normalisation", before});
  refuses("train_kd", run.start("field") + student + Arguments{"--normalisation", other},
          {"trained on images normalised by " + before, "normalised by " + other});
  CHECK_FALSE(contains(completes("evaluate", run.evaluate(old)), "note "));
  const std::string tiny = run.copy("tiny.safetensors", [](auto& metadata) {
    metadata.erase("normalisation");
    metadata["dataset"] = "tiny_imagenet";
  });
  CHECK(contains(completes("evaluate", run.evaluate(tiny)),
                 "normalised by 0.4802,0.4481,0.3975/0.2302,0.2265,0.2262"));
  const std::string damaged =
      run.copy("damaged.safetensors", [](auto& metadata) { metadata["normalisation"] = "0.5/0"; });
  refuses("evaluate", run.evaluate(damaged), {damaged, "normalisation: expected the form", "'0.5/0'"});
}

TEST_CASE("class folders are normalised by the numbers of their own training images, which the run keeps") {
  const Run run;
  completes("train_standard", run.start("own") + Arguments{"--max_steps", "3", "--subset_percent", "50"});
  const fs::path path = run.folder / "own";
  CHECK(read_safetensors(path / "last_model.safetensors").metadata.at("normalisation") == run.own);
  CHECK(read_safetensors(path / "training_state.safetensors").metadata.at("normalisation") == run.own);
  CHECK_FALSE(contains(read_file(path / "params.json"), "normalisation"));
  // Evaluated by the same, and so is a file that does not say it.
  const std::string weights = (path / "last_model.safetensors").string();
  const std::string silent = run.copy("silent.safetensors", [](auto&) {});
  write_safetensors(silent, read_safetensors(weights).tensors);
  const std::string loss = line_of(completes("evaluate", run.evaluate(weights)), "loss ");
  CHECK(line_of(completes("evaluate", run.evaluate(silent)), "loss ") == loss);
  CHECK(line_of(completes("evaluate", run.evaluate(silent) + Arguments{"--normalisation", before}),
                "loss ") != loss);

  // A run from before goes on by what it began with.
  const auto train = [&](const std::string& name, const Arguments& arguments) {
    completes("train_standard", arguments);
    return read_safetensors(run.folder / name / "last_model.safetensors").tensors;
  };
  const Arguments as_before = {"--normalisation", before};
  const NamedTensors straight = train("straight", run.start("straight") + as_before);
  train("halted", run.start("halted") + as_before + Arguments{"--max_steps", "3"});
  const auto without = [](std::string text) {  // the line of params.json
    const std::size_t begin = text.find("    \"normalisation\"");
    return text.erase(begin, text.find('\n', begin) + 1 - begin);
  };
  change_metadata(run.folder / "halted" / "training_state.safetensors", [&](auto& metadata) {
    metadata.erase("normalisation");
    metadata["config"] = without(metadata["config"]);
  });
  const fs::path params = run.folder / "halted" / "params.json";
  write_text(params, without(read_file(params)));
  const NamedTensors resumed = train("halted", {"--save_path", (run.folder / "halted").string(), "--resume"});
  REQUIRE(resumed.size() == straight.size());
  for (std::size_t i = 0; i < resumed.size(); ++i)
    CHECK(std::memcmp(resumed[i].second.raw(), straight[i].second.raw(), resumed[i].second.bytes()) == 0);
}

TEST_CASE("what is no normalisation is a usage error; numbers for other channels are an error") {
  const Run run;
  const auto refused = [&](const std::string& value, const std::string& message) {
    const Finished finished =
        run_app("train_standard", run.start("new") + Arguments{"--normalisation", value});
    CHECK(finished.exit_code == 2);
    CHECK(contains(finished.err, message));
  };
  const std::string expected =
      "--normalisation must be dataset, or means/standard deviations by channel such as "
      "0.5,0.5,0.5/0.25,0.25,0.25, not ";
  refused("field", expected + "'field'");  // CIFAR-100's alone
  refused("weights", expected + "'weights'");
  refused("0.5,0.5/0.5", expected + "'0.5,0.5/0.5'");
  refuses("train_standard", run.start("new") + Arguments{"--normalisation", "0.5/0.5"},
          {"normalisation: 0.5/0.5 is for images of 1 channels, those of class_folders have 3"});
  const std::string help =
      completes("train_standard", {"--help", "--dataset", "cifar100", "--model_name", "net"});
  CHECK(contains(help, "dataset, field, or means/standard deviations"));
}
