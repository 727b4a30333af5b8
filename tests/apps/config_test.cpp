// What the training programs make of params.json and flags.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "apps/stages.h"
#include "apps/training/settings.h"
#include "core/error.h"
#include "tests/apps/program_runs.h"

using namespace generous;

namespace {

/// What a training program reads, and its method's settings.
struct Config : TrainingSettings {
  Options options;
  std::string model_name;
  std::string dataset;
  double learning_rate;
  std::vector<std::int64_t> schedule;
  double gamma;
  double weight_decay;
  double momentum;
  std::int64_t batch_size;
  std::int64_t num_epochs;
  std::int64_t num_workers;
  bool augmentation;
  std::string optimizer;
  std::string teacher_model;
  std::string teacher_resume;
  std::int64_t num_channels;
  double dropout_rate;
  std::string method;
  double temperature;
  double alpha;
  double tn;
  std::int64_t warmup;

  Config(const TrainingStage& stage, const Arguments& arguments) : options(stage.program, arguments) {
    declare(options, stage);
    tell_stages_apart(options, stage, stages);
    options.finish();
    model_name = model.name;
    dataset = images.dataset;
    learning_rate = TrainingSettings::optimizer.learning_rate;
    schedule = TrainingSettings::optimizer.schedule;
    gamma = TrainingSettings::optimizer.gamma;
    weight_decay = TrainingSettings::optimizer.weight_decay;
    momentum = TrainingSettings::optimizer.momentum;
    batch_size = batches.batch_size;
    num_epochs = loop.num_epochs;
    num_workers = batches.num_workers;
    augmentation = batches.augmentation;
    optimizer = TrainingSettings::optimizer.optimizer;
    teacher_model = teacher.model.name;
    teacher_resume = teacher.weights;
    method = method_name;
    // Models and methods keep theirs to themselves.
    const auto all = nlohmann::json::parse(options.to_json());
    num_channels = all.value("num_channels", std::int64_t{0});
    dropout_rate = all.value("dropout_rate", 0.0);
    temperature = all.value("temperature", 0.0);
    alpha = all.value("alpha", 0.0);
    tn = all.value("Tn", 0.0);
    warmup = all.value("warmup", std::int64_t{0});
  }
};

std::string to_json(const Config& config) { return config.options.to_json(); }

/// A folder with a params.json, and what is read from it.
struct Run {
  TemporaryFolder folder;

  explicit Run(std::string_view params) { write_text(folder / "params.json", params); }

  Config read(const TrainingStage& stage = standard_stage, const Arguments& flags = {}) const {
    return {stage, Arguments{"--save_path", folder.path().string()} + flags};
  }
};

Arguments complete(const Arguments& more) {
  return Arguments{"--save_path", "r", "--model_name", "resnet8", "--dataset", "cifar10"} + more;
}

Config from_flags(const Arguments& more) { return {standard_stage, complete(more)}; }

/// What the error says, whether it is a usage error.
struct Complaint {
  std::string message;
  bool usage = false;
};
template <class Call>
Complaint complaint_of(Call call) {
  try {
    call();
  } catch (const UsageError& error) {
    return {error.what(), true};
  } catch (const Error& error) {
    return {error.what(), false};
  }
  return {};
}

const std::string paper_params = R"({
    "model_name": "net", "num_channels": 48, "dropout_rate": 0.25, "learning_rate": 1e-3, "schedule": [30, 999],
    "gamma": 0.5, "batch_size": 96, "num_epochs": 77, "num_workers": 3, "augmentation": 0, "cuda": true,
    "dataset": "cifar100"
})";

}  // namespace

TEST_CASE("a params.json in the paper's format sets every value") {
  const Config config = Run(paper_params).read();
  CHECK(config.model_name == "net");
  CHECK(config.num_channels == 48);
  CHECK(config.dropout_rate == 0.25);
  CHECK(config.learning_rate == 1e-3);
  CHECK(config.schedule == std::vector<std::int64_t>{30, 999});
  CHECK(config.gamma == 0.5);
  CHECK(config.batch_size == 96);
  CHECK(config.num_epochs == 77);
  CHECK(config.num_workers == 3);
  CHECK_FALSE(config.augmentation);
  CHECK(config.dataset == "cifar100");
}

TEST_CASE("flags win over the file, and only where they are given") {
  const Config config = Run(paper_params)
                            .read(standard_stage, {"--batch_size", "7", "--schedule=5,6,7", "--augmentation",
                                                   "1", "--learning_rate", "2.5e-1"});
  CHECK(config.batch_size == 7);
  CHECK(config.schedule == std::vector<std::int64_t>{5, 6, 7});
  CHECK(from_flags({"--schedule", "120,80"}).schedule == std::vector<std::int64_t>{120, 80});  // in any order
  CHECK(config.augmentation);
  CHECK(config.learning_rate == 0.25);
  CHECK(config.num_epochs == 77);
  CHECK(config.gamma == 0.5);
}

TEST_CASE("defaults are the paper's recipes") {
  const Config cifar10 = from_flags({});
  CHECK(cifar10.optimizer == "sgd");
  CHECK(cifar10.learning_rate == 0.1);
  CHECK(cifar10.schedule == std::vector<std::int64_t>{80, 120});
  CHECK(cifar10.gamma == 0.1);
  CHECK(cifar10.num_epochs == 160);
  CHECK(cifar10.weight_decay == 5e-4);
  CHECK(cifar10.momentum == 0.9);
  CHECK(cifar10.batch_size == 128);

  const Config cifar100 = Run(R"({"model_name": "resnet18", "dataset": "cifar100"})").read();
  CHECK(cifar100.schedule == std::vector<std::int64_t>{60, 120, 160});
  CHECK(cifar100.gamma == 0.2);
  CHECK(cifar100.num_epochs == 200);

  const Config mlp = Run(R"({"model_name": "mlp", "dataset": "cifar100"})").read();
  CHECK(mlp.optimizer == "adam");
  CHECK(mlp.learning_rate == 1e-3);
  CHECK(mlp.weight_decay == 0.0);
  CHECK(mlp.num_epochs == 100);

  const std::string student =
      R"({"model_name": "resnet20", "dataset": "%", "teacher_model": "a", "teacher_resume": "b"})";
  for (const auto& [dataset, temperature] :
       {std::pair{"cifar10", 4.0}, {"cifar100", 20.0}, {"tiny_imagenet", 20.0}}) {
    const Config config =
        Run(std::string(student).replace(student.find('%'), 1, dataset)).read(student_stage);
    CHECK(config.temperature == temperature);
    CHECK(config.alpha == 0.9);
    CHECK(config.method == "kd");
  }
  const Config generous = Run(R"({"model_name": "a", "dataset": "cifar10", "adversarial_model": "a",
                                  "adversarial_resume": "b", "weight": 0.04, "temperature": 4})")
                              .read(generous_stage);
  CHECK(generous.alpha == 1.0);
  CHECK(generous.tn == 1.0);
  CHECK(generous.warmup == 20);
}

TEST_CASE("what is wrong in a params.json is an error that names file, key, found and expected") {
  struct Case {
    std::string params;
    std::vector<std::string> fragments;
  };
  const std::string rest = R"(, "model_name": "resnet8", "dataset": "cifar10"})";
  const std::vector<Case> cases = {
      {"", {"JSON"}},
      {"[1, 2]", {"JSON object", "[1,2]"}},
      {"{\"batch_size\": 4", {"JSON"}},
      {R"({"seed": 1, "seed": 2)" + rest, {"seed", "twice"}},
      {R"({"learning_rat": 0.1)" + rest, {"unknown key learning_rat", "did you mean learning_rate?"}},
      {R"({"dot_delta": 0.1)" + rest, {"unknown key dot_delta"}},
      {R"({"save_path": "x")" + rest, {"save_path"}},
      {R"({"learning_rate": NaN)" + rest, {"JSON"}},
      {R"({"learning_rate": Infinity)" + rest, {"JSON"}},
      {R"({"learning_rate": 1e999)" + rest, {"1e999"}},
      {R"({"learning_rate": 1e300)" + rest, {"learning_rate must be a number from 0 to 1000000, not 1e+300"}},
      {R"({"learning_rate": -0.1)" + rest, {"learning_rate", "from 0", "not -0.1"}},
      {R"({"learning_rate": "0.1")" + rest, {"learning_rate must be a number", "\"0.1\""}},
      {R"({"learning_rate": null)" + rest, {"learning_rate must be a number", "null"}},
      {R"({"batch_size": 010)" + rest, {"JSON"}},
      {R"({"batch_size": 3.9)" + rest, {"batch_size must be an integer from 1 to 65536, not 3.9"}},
      {R"({"batch_size": 128.0)" + rest, {"batch_size must be an integer"}},
      {R"({"batch_size": 0)" + rest, {"batch_size", "not 0"}},
      {R"({"batch_size": -1)" + rest, {"batch_size", "not -1"}},
      {R"({"batch_size": 18446744073709551615)" + rest, {"batch_size", "not 18446744073709551615"}},
      {R"({"batch_size": 18446744073709551617)" + rest, {"batch_size must be an integer"}},
      {R"({"batch_size": true)" + rest, {"batch_size must be an integer", "true"}},
      {R"({"augmentation": 2)" + rest, {"augmentation must be 0 or 1, not 2"}},
      {R"({"augmentation": "1")" + rest, {"augmentation must be 0 or 1"}},
      {R"({"schedule": 80)" + rest, {"schedule must be a list of integers"}},
      {R"({"schedule": [80, "120"])" + rest, {"schedule must be a list of integers"}},
      {R"({"schedule": [80, -1])" + rest, {"schedule must be a list of integers"}},
      {R"({"schedule": [80, 120, 80])" + rest,
       {"schedule must be a list of integers", "each once", "[80,120,80]"}},
      {R"({"optimizer": "sdg")" + rest, {"optimizer must be one of sgd, adam", "did you mean 'sgd'?"}},
      {R"({"model_name": 18, "dataset": "cifar10"})", {"model_name must be text, not 18"}},
      {R"({"model_name": "resnet8", "dataset": "cifar11"})",
       {"dataset must be one of", "did you mean 'cifar10'?"}},
  };
  for (const Case& bad : cases) {
    CAPTURE(bad.params);
    const Run run(bad.params);
    const Complaint complaint = complaint_of([&] { run.read(); });
    CAPTURE(complaint.message);
    CHECK_FALSE(complaint.usage);
    CHECK(contains(complaint.message, (run.folder / "params.json").string()));
    CHECK_FALSE(contains(complaint.message, "\n"));
    for (const std::string& fragment : bad.fragments) CHECK(contains(complaint.message, fragment));
  }
}

TEST_CASE("what is wrong with a flag is a usage error that names it and what would be right") {
  struct Case {
    Arguments flags;
    std::vector<std::string> fragments;
  };
  const std::vector<Case> cases = {
      {{"--learning_rate", "nan"}, {"--learning_rate must be a number from 0 to 1000000, not 'nan'"}},
      {{"--learning_rate", "inf"}, {"--learning_rate", "'inf'"}},
      {{"--learning_rate", "1e999"}, {"--learning_rate", "'1e999'"}},
      {{"--learning_rate", "1e7"}, {"--learning_rate", "'1e7'"}},
      {{"--learning_rate", "-1"}, {"--learning_rate", "'-1'"}},
      {{"--learning_rate", "+1"}, {"--learning_rate", "'+1'"}},
      {{"--learning_rate", "0x10"}, {"--learning_rate", "'0x10'"}},
      {{"--learning_rate", "0,1"}, {"--learning_rate", "'0,1'"}},
      {{"--learning_rate", " 1"}, {"--learning_rate"}},
      {{"--learning_rate", ""}, {"--learning_rate"}},
      {{"--batch_size", "010"}, {"--batch_size must be an integer from 1 to 65536, not '010'"}},
      {{"--batch_size", "3.9"}, {"--batch_size", "'3.9'"}},
      {{"--batch_size", "0"}, {"--batch_size", "'0'"}},
      {{"--batch_size", "-8"}, {"--batch_size", "'-8'"}},
      {{"--batch_size", "8x"}, {"--batch_size", "'8x'"}},
      {{"--batch_size", "99999999999999999999"}, {"--batch_size", "99999999999999999999"}},
      {{"--batch_size"}, {"--batch_size"}},
      {{"--batch_size", "8", "--batch_size", "9"}, {"--batch_size"}},
      {{"--schedule", "80,,120"}, {"--schedule must be a list of integers", "'80,,120'"}},
      {{"--schedule", "80,120,"}, {"--schedule must be a list of integers"}},
      {{"--schedule", ""}, {"--schedule must be a list of integers"}},
      {{"--schedule", "80,80"}, {"--schedule must be a list of integers", "each once, not '80,80'"}},
      {{"--randaugment", "2"},
       {"--randaugment must be 2 integers from 0 to 30 with commas between, not '2'"}},
      {{"--randaugment", "2,31"}, {"--randaugment must be 2 integers from 0 to 30", "'2,31'"}},
      {{"--random_erasing", "1.1"}, {"--random_erasing must be a number from 0 to 1, not '1.1'"}},
      {{"--data_dir", "caf\xe9"}, {"--data_dir must be in UTF-8"}},
      {{"--init", "\xff"}, {"--init must be in UTF-8"}},
      {{"--augmentation", "yes"}, {"--augmentation must be 0 or 1, not 'yes'"}},
      {{"--shuffel", "1"}, {"unknown flag --shuffel", "did you mean --shuffle?"}},
      {{"--shuffel=1"}, {"unknown flag --shuffel", "did you mean --shuffle?"}},
      {{"--teacher_model", "resnet18"}, {"--teacher_model", "not one of train_standard", "train_kd"}},
      {{"--device", "gpu"},
       {"--device must be one of auto, cpu, cuda, cuda:N (the GPU of number N, from 0), not 'gpu'"}},
      {{"--device", "cuda:"}, {"--device must be one of auto, cpu, cuda, cuda:N"}},
      {{"--device", "cuda:-1"}, {"not 'cuda:-1'"}},
      {{"--device", "cuda:01"}, {"not 'cuda:01'"}},
      {{"--device", "cuda:99999999999"}, {"not 'cuda:99999999999'"}},
      {{"stray"}, {"'stray'"}},
      {{"--seed", "9007199254740992"}, {"--seed"}},
  };
  for (const Case& bad : cases) {
    CAPTURE(bad.flags);
    const Complaint complaint = complaint_of([&] { from_flags(bad.flags); });
    CAPTURE(complaint.message);
    CHECK(complaint.usage);
    CHECK_FALSE(contains(complaint.message, "\n"));
    for (const std::string& fragment : bad.fragments) CHECK(contains(complaint.message, fragment));
  }
}

TEST_CASE("a setting of another model is accepted where the paper's files have it, and has no effect") {
  const Config config = from_flags({"--num_channels", "48", "--dropout_rate", "0.5"});
  int unused = 0;
  for (const SettingValue& setting : config.options.settings()) unused += setting.unused ? 1 : 0;
  CHECK(unused == 2);
  // A teacher's family counts as well as the student's.
  const Config student(student_stage,
                       complete({"--num_channels", "48", "--teacher_model", "net", "--teacher_resume", "w"}));
  for (const SettingValue& setting : student.options.settings()) CHECK_FALSE(setting.unused);
  CHECK(student.num_channels == 48);
  const Shape image{8, 8, 3};
  const auto teacher = student.teacher.model.make({.classes = 3, .image = image});
  CHECK(teacher->parameters().front().tensor.size(0) == 48);
}

TEST_CASE("a stage's teacher has the names of the paper, and those of the student's stage") {
  for (const bool paper : {true, false}) {
    const Config config(generous_stage,
                        complete({paper ? "--adversarial_model" : "--teacher_model", "resnet14",
                                  paper ? "--adversarial_resume" : "--teacher_resume", "w"}));
    CHECK(config.teacher_model == "resnet14");
    CHECK(contains(to_json(config), "\"adversarial_resume\": \"w\""));
  }
}

TEST_CASE("missing settings are named") {
  const auto message = [](const TrainingStage& stage, const Arguments& flags) {
    const Complaint complaint = complaint_of([&] { Config(stage, flags); });
    CHECK(complaint.usage);
    return complaint.message;
  };
  CHECK(contains(message(standard_stage, {}), "--save_path"));
  CHECK(contains(message(standard_stage, {"--save_path", "r"}),
                 "give --model_name or put it in r/params.json"));
  CHECK(contains(message(generous_stage, complete({})), "--adversarial_model"));
  CHECK(contains(message(student_stage, complete({"--teacher_model", "a"})), "--teacher_resume"));
  CHECK(contains(message(student_stage, complete({"--teacher_model", ""})), "--teacher_model"));
  const TemporaryFolder folder;
  const std::filesystem::path weights = folder / "w";
  write_text(weights, "nothing that says what it is");
  for (const auto& [program, flag] : {std::pair{"evaluate", "--dataset"}, {"predict", "--classes"}}) {
    const Finished finished = run_app(program, {"--model_name", "net", "--weights", weights.string()});
    CHECK(finished.exit_code == 2);
    CHECK(contains(finished.err, flag));
  }
  const std::string unknown = message(student_stage, complete({"--method", "kt"}));
  CHECK(contains(unknown, "--method must be one, or several with commas between, of generous, kd, "));
  CHECK(contains(unknown, ", not 'kt'"));
}

TEST_CASE("no setting of a method has the name of one of the training, which would get its value too") {
  Options training("train_standard", {"--save_path", "r", "--model_name", "resnet8", "--dataset", "cifar10"});
  TrainingSettings settings;
  settings.declare(training, standard_stage);
  for (const MethodEntry& entry : methods()) {
    CAPTURE(entry.name);
    Options own(entry.name);
    const std::unique_ptr<Method> method = entry.make();
    method->declare(own);
    for (const SettingValue& setting : own.settings())
      for (const SettingValue& other : training.settings()) CHECK(setting.key != other.key);
  }
}

TEST_CASE("what is written back reads back to the same settings") {
  const Run first(paper_params);
  const Config config = first.read(standard_stage, {"--seed", "9007199254740991", "--learning_rate", "0.1"});
  const std::string text = to_json(config);
  const auto object = nlohmann::json::parse(text);
  CHECK(object["learning_rate"] == 0.1);
  CHECK(object["schedule"] == nlohmann::json({30, 999}));
  CHECK(object["cuda"] == 1);
  CHECK(object["seed"] == 9007199254740991);
  CHECK_FALSE(object.contains("save_path"));
  CHECK_FALSE(object.contains("resume"));

  const Run second(text);
  CHECK(to_json(second.read()) == text);
}

TEST_CASE("every experiment shipped is complete and valid for its stage") {
  int count = 0;
  const std::filesystem::path root = std::filesystem::path(GENEROUS_SOURCE_DIR) / "apps/experiments";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.path().filename() != "params.json") continue;
    const std::string path = entry.path().parent_path().string();
    CAPTURE(path);
    const bool generous = contains(path, "/generous_");
    const bool student = !generous && contains(path, "/kd_");
    const Config config(generous  ? generous_stage
                        : student ? student_stage
                                  : standard_stage,
                        {"--save_path", path});
    CHECK(contains(path, config.dataset == "cifar10"    ? "/CIFAR10/"
                         : config.dataset == "cifar100" ? "/CIFAR100/"
                                                        : "/TinyImageNet/"));
    const std::string run = entry.path().parent_path().filename().string();
    CHECK(run == (generous ? "generous_" : "") + (config.model_name == "net" ? "cnn" : config.model_name));
    CHECK(config.num_epochs == (config.model_name == "net" ? 100 : config.dataset == "cifar10" ? 160 : 200));
    CHECK(config.learning_rate == (config.model_name == "net" ? 1e-3 : 0.1));
    CHECK(config.optimizer == (config.model_name == "net" ? "adam" : "sgd"));
    CHECK(config.batch_size == 128);
    if (student) {
      CHECK(config.alpha == 0.9);
      CHECK(config.temperature == (config.dataset == "cifar10" ? 4.0 : 20.0));
      CHECK(contains(path, "_" + config.teacher_model + "/"));
      // The teacher's folder is one of the experiments.
      const auto teacher = root.parent_path() / std::filesystem::path(config.teacher_resume).parent_path();
      CHECK(std::filesystem::exists(teacher / "params.json"));
      CHECK(contains(config.teacher_resume, "/generous_") == contains(path, "kd_generous"));
    }
    if (generous) {
      const auto teacher = root.parent_path() / std::filesystem::path(config.teacher_resume).parent_path();
      CHECK(std::filesystem::exists(teacher / "params.json"));
      CHECK(config.teacher_model == config.model_name);
    }
    ++count;
  }
  CHECK(count == 30);
}
