// The real programs: the three stages, evaluate and predict end to end, and what they do with bad input.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "core/backend.h"
#include "core/safetensors.h"
#include "nn/models/registry.h"
#include "nn/state_dict.h"
#include "tests/apps/program_runs.h"
#include "tests/torch_stream.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

/// The program ends with this code and one line "program: ..." that holds every fragment.
void check_error(const std::string& program, const Arguments& arguments, int exit_code,
                 const std::vector<std::string>& fragments, const RunningProgram::Options& options = {}) {
  const Finished finished = run_app(program, arguments, options);
  CAPTURE(program);
  CAPTURE(arguments);
  CAPTURE(finished.err);
  CHECK(finished.exit_code == exit_code);
  CHECK(finished.err.starts_with(program + ": "));
  CHECK(std::count(finished.err.begin(), finished.err.end(), '\n') == 1);
  for (const std::string& fragment : fragments) CHECK(contains(finished.err, fragment));
}

std::string completed(const std::string& program, const Arguments& arguments,
                      const RunningProgram::Options& options = {}) {
  const Finished finished = run_app(program, arguments, options);
  CAPTURE(arguments);
  CAPTURE(finished.err);
  REQUIRE(finished.exit_code == 0);
  return finished.out;
}

/// The number in this column and row (from 1) of a CSV file.
double csv_value(const fs::path& path, const std::string& column, std::size_t row) {
  const auto split = [](const std::string& line) {
    std::vector<std::string> cells(1);
    for (const char c : line)
      if (c == ',')
        cells.emplace_back();
      else
        cells.back() += c;
    return cells;
  };
  const std::vector<std::string> rows = csv_rows(path);
  const std::vector<std::string> names = split(rows.at(0));
  const auto index = static_cast<std::size_t>(std::find(names.begin(), names.end(), column) - names.begin());
  return std::stod(split(rows.at(row)).at(index));
}

/// Every file of a folder and its content.
std::map<std::string, std::string> content_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder))
    files[entry.path().filename()] = read_file(entry.path());
  return files;
}

}  // namespace

TEST_CASE("the three stages learn, as an experiments folder of the paper runs them") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path root = folder / "somewhere";
  const std::string common =
      R"("model_name": "resnet8", "learning_rate": 0.003, "schedule": [9], "gamma": 0.1,
      "batch_size": 8, "num_epochs": 12, "num_workers": 1, "augmentation": 1, "cuda": 1, "dataset": "class_folders")";
  const fs::path baseline = root / "experiments/Small/baseline/resnet8";
  const fs::path generous = root / "experiments/Small/kd_generous_resnet8/generous_resnet8";
  const fs::path student = root / "experiments/Small/kd_generous_resnet8/resnet8";
  write_text(baseline / "params.json", "{" + common + "}");
  write_text(generous / "params.json", "{" + common + R"(, "adversarial_model": "resnet8", "temperature": 4,
      "weight": 0.04, "adversarial_resume": "experiments/Small/baseline/resnet8/best_model.tar"})");
  write_text(student / "params.json",
             "{" + common + R"(, "teacher_model": "resnet8", "temperature": 4, "alpha": 0.9,
      "teacher_resume": "experiments/Small/kd_generous_resnet8/generous_resnet8/best_model.tar"})");

  const Arguments flags = {"--data_dir", (folder / "images").string(), "--threads", "1"};
  const auto on = [&](const fs::path& run) { return Arguments{"--save_path", run.string()} + flags; };

  // Teachers come first: the message says which, where it was looked for and how to make it.
  check_error(
      "train_generous", on(generous), 1,
      {"adversarial_resume: there is no file experiments/Small/baseline/resnet8/best_model.safetensors",
       (baseline / "best_model.safetensors").string(), "/train_standard",
       " --save_path " + baseline.string()});
  check_error("train_kd", on(student), 1,
              {"teacher_resume", "/train_generous", " --save_path " + generous.string()});
  CHECK(content_of(student).size() == 1);

  // From an unrelated folder, by absolute path; and by relative path.
  completed("train_standard", on(baseline));
  completed("train_generous", on(generous) + Arguments{"--Tn", "1.0", "--alpha", "0.3", "--warmup", "4"});
  completed("train_kd", Arguments{"--save_path", "experiments/Small/kd_generous_resnet8/resnet8"} + flags,
            {.working_folder = root});

  struct Stage {
    fs::path run;
    std::string header;
  };
  const std::string measures =
      "train_top1_percent,test_loss,test_top1_percent,test_top5_percent,images_per_s,seconds";
  for (const Stage& stage : {Stage{baseline, "epoch,lr,train_loss," + measures},
                             Stage{generous, "epoch,lr,train_loss,cross_entropy,nckd," + measures},
                             Stage{student, "epoch,lr,train_loss,cross_entropy,kd," + measures}}) {
    CAPTURE(stage.run.string());
    const fs::path metrics = stage.run / "metrics.csv";
    CHECK(csv_rows(metrics).at(0) == stage.header);
    REQUIRE(csv_rows(metrics).size() == 13);
    CHECK(csv_value(metrics, "epoch", 12) == 12);
    CHECK(csv_value(metrics, "lr", 9) == 0.003);
    CHECK(csv_value(metrics, "lr", 10) == doctest::Approx(0.0003));
    CHECK(csv_value(metrics, "test_top1_percent", 12) > 80.0);
    CHECK(csv_value(metrics, "test_top5_percent", 12) == 100.0);  // of three classes
    CHECK(csv_value(metrics, "train_loss", 12) < csv_value(metrics, "train_loss", 1));
    for (const char* file : {"last_model.safetensors", "best_model.safetensors", "training_state.safetensors",
                             "training.log", "params.json"})
      CHECK(fs::exists(stage.run / file));
  }
  // The terms add up: CE + alpha min(epoch / warm-up, 1) NCKD, and (1 - alpha) CE + alpha KD.
  for (std::size_t row = 1; row <= 12; ++row) {
    const double factor = 0.3 * std::min(static_cast<double>(row - 1) / 4.0, 1.0);
    CHECK(csv_value(generous / "metrics.csv", "train_loss", row) ==
          doctest::Approx(csv_value(generous / "metrics.csv", "cross_entropy", row) +
                          factor * csv_value(generous / "metrics.csv", "nckd", row))
              .epsilon(2e-5));  // six digits of each
    CHECK(csv_value(student / "metrics.csv", "train_loss", row) ==
          doctest::Approx(0.1 * csv_value(student / "metrics.csv", "cross_entropy", row) +
                          0.9 * csv_value(student / "metrics.csv", "kd", row))
              .epsilon(2e-5));
  }
  CHECK(contains(read_file(generous / "training.log"), "weight is accepted, and without effect"));
  CHECK(contains(read_file(generous / "params.json"), "\"weight\": 0.04"));
  CHECK(contains(read_file(generous / "params.json"), "\"warmup\": 4"));
}

TEST_CASE("evaluate agrees with the run, and predict with the model") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path run = folder / "run";
  completed("train_standard", small_run(folder / "images", run) + Arguments{"--num_epochs", "1"});
  const std::string weights = (run / "last_model.safetensors").string();

  const Arguments evaluate = {"--model_name", "resnet8",
                              "--weights",    weights,
                              "--dataset",    "class_folders",
                              "--data_dir",   (folder / "images").string(),
                              "--threads",    "2"};
  for (const char* batch_size : {"250", "4"}) {  // 15 images: four batches, the last smaller
    const std::string out = completed("evaluate", evaluate + Arguments{"--batch_size", batch_size});
    CAPTURE(out);
    const auto correct =
        static_cast<int>(csv_value(run / "metrics.csv", "test_top1_percent", 1) * 15 / 100 + 0.5);
    CHECK(contains(out, " (" + std::to_string(correct) + " of 15)"));
    CHECK(contains(out, "top-5    100.0000 % (15 of 15)"));  // of three classes
    const std::string loss = out.substr(out.find("\nloss ") + 6, out.find('\n', out.find("\nloss ") + 1));
    CHECK(std::stod(loss) == doctest::Approx(csv_value(run / "metrics.csv", "test_loss", 1)).epsilon(1e-5));
  }
  CHECK(contains(completed("evaluate", evaluate + Arguments{"--split", "train"}), "of 42)"));

  // Seven images of 5 rows and 9 columns, so that no two extents are equal.
  std::vector<float> values(7 * 3 * 5 * 9);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  const Tensor images = Tensor::from(values, {7, 3, 5, 9});
  const fs::path input = folder / "input.safetensors";
  const fs::path output = folder / "output.safetensors";
  write_safetensors(input, {{"input", images}});
  const Arguments predict = {"--model_name", "resnet8",       "--classes", "3",
                             "--weights",    weights,         "--threads", "1",
                             "--output",     output.string(), "--input"};
  completed("predict", predict + Arguments{input.string()});
  const NamedTensors predicted = read_safetensors(output).tensors;
  REQUIRE(predicted.size() == 1);
  CHECK(predicted[0].first == "logits");
  REQUIRE(predicted[0].second.shape() == Shape{7, 3});

  const auto model = make_model("resnet8", {.classes = 3, .image = {5, 9, 3}});
  load_state_dict(*model, read_safetensors(weights).tensors, weights);
  model->eval();
  const NoGrad no_grad;
  const Tensor expected = (*model)(nchw_to_nhwc(images));
  for (std::size_t i = 0; i < 21; ++i)
    CHECK(predicted[0].second.data<float>()[i] == doctest::Approx(expected.data<float>()[i]).epsilon(1e-5));

  SUBCASE("bad files are named, with what was found and expected") {
    const fs::path bad = folder / "bad.safetensors";
    write_safetensors(bad, {{"inputs", images}});
    check_error("predict", predict + Arguments{bad.string()}, 1, {bad.string(), "'input'", "inputs"});
    write_safetensors(bad, {{"input", Tensor::full({3, 5, 9}, 1)}});
    check_error("predict", predict + Arguments{bad.string()}, 1, {bad.string(), "{3, 5, 9}", "{N, C, H, W}"});
    write_safetensors(bad, {{"input", Tensor::zeros({1, 3, 5, 9}, DType::i64)}});
    check_error("predict", predict + Arguments{bad.string()}, 1, {bad.string(), "i64", "f32"});
    write_text(bad, "not a safetensors file");
    check_error("predict", predict + Arguments{bad.string()}, 1, {bad.string()});
    check_error("predict", predict + Arguments{(folder / "none").string()}, 1, {(folder / "none").string()});
    check_error("evaluate", evaluate + Arguments{"--weights", weights}, 2, {"--weights"});
    Arguments changed = evaluate;
    changed[3] = (folder / "none").string();
    check_error("evaluate", changed, 1, {(folder / "none").string()});
  }
  SUBCASE("weights of another model: the names that differ") {
    Arguments changed = evaluate;
    changed[1] = "resnet14";
    check_error("evaluate", changed, 1,
                {weights + " holds resnet8, you asked for resnet14", "layer1.1.conv1.weight"});
    Arguments other = predict + Arguments{input.string()};
    other[1] = "resnet14";
    check_error("predict", other, 1, {weights + " holds resnet8, you asked for resnet14"});
    changed[1] = "resnet8x4";
    check_error("evaluate", changed, 1, {weights, "conv1.weight"});
    changed[1] = "resnet9";
    check_error("evaluate", changed, 1, {"resnet9", "resnet8"});
    check_error("train_standard",
                small_run(folder / "images", folder / "new") + Arguments{"--init", input.string()}, 1,
                {input.string(), "conv1.weight"});
    CHECK(fs::is_empty(folder / "new"));
  }
  SUBCASE("the paper's names of weight files are understood everywhere") {
    const std::string tar = (run / "last_model.tar").string();
    Arguments changed = evaluate;
    changed[3] = tar;
    CHECK(contains(completed("evaluate", changed), "of 15)"));
    changed = predict + Arguments{input.string()};
    changed[5] = tar;
    completed("predict", changed);
    changed[9] = weights;  // by another name than --weights has
    check_error("predict", changed, 2, {"is the file that --weights reads"});
    completed("train_standard",
              small_run(folder / "images", folder / "new") + Arguments{"--init", tar, "--max_steps", "1"});
    changed = evaluate;
    changed[3] = (folder / "nowhere" / "best_model.tar").string();
    check_error("evaluate", changed, 1,
                {"weights: there is no file " + (folder / "nowhere" / "best_model.safetensors").string(),
                 "train it first: ", "/train_standard", " --save_path " + (folder / "nowhere").string()});
  }
  SUBCASE("what PyTorch saved is read everywhere, and converted") {
    const std::string tar = (folder / "theirs.tar").string();
    write_file_atomically(tar, torch_stream(read_safetensors(weights).tensors, "module."));
    Arguments changed = evaluate;
    const auto result = [&] {  // without the file's name and the time
      const std::string printed = completed("evaluate", changed);
      return printed.substr(printed.find("loss"), printed.find("speed") - printed.find("loss"));
    };
    const std::string ours = result();
    changed[3] = tar;
    CHECK(result() == ours);
    const Arguments data(changed.begin() + 4, changed.end());
    check_error("evaluate", Arguments{"--weights", tar} + data, 2,
                {"model_name is missing: " + tar + " fits resnet8; give --model_name resnet8"});
    CHECK(contains(completed("info", {tar}), "\nfits           resnet8\n"));
    const std::string converted = (folder / "converted.safetensors").string();
    CHECK(contains(completed("convert", {"--input", tar, "--output", converted}),
                   converted + ": 56 tensors, "));
    const NamedTensors before = read_safetensors(weights).tensors;
    const NamedTensors after = read_safetensors(converted).tensors;
    REQUIRE(before.size() == after.size());
    for (std::size_t i = 0; i < before.size(); ++i) {
      CHECK(before[i].first == after[i].first);
      CHECK(before[i].second.shape() == after[i].second.shape());
      CHECK(std::memcmp(before[i].second.raw(), after[i].second.raw(), before[i].second.bytes()) == 0);
    }
    check_error("convert", {"--input", tar, "--output", tar}, 2, {"is the file that --input reads"});
    check_error("convert", {"--input", input.string() + "x", "--output", converted}, 1,
                {input.string() + "x"});
    completed("train_standard",
              small_run(folder / "images", folder / "new") + Arguments{"--init", tar, "--max_steps", "1"});
  }
  SUBCASE("--init starts from given weights") {
    completed("train_standard",
              small_run(folder / "images", folder / "new") +
                  Arguments{"--init", weights, "--num_epochs", "1", "--learning_rate", "0"});
    const NamedTensors before = read_safetensors(weights).tensors;
    const NamedTensors after = read_safetensors(folder / "new" / "last_model.safetensors").tensors;
    REQUIRE(before.size() == after.size());
    CHECK(before[0].first == "conv1.weight");
    CHECK(std::ranges::equal(before[0].second.data<float>(), after[0].second.data<float>()));
  }
}

TEST_CASE("SimKD's student is evaluated with its head, resumed, and teaches in its turn") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const Arguments data = {"--dataset", "class_folders", "--data_dir", (folder / "images").string()};
  const Arguments common = data + Arguments{"--batch_size", "8", "--num_workers", "0", "--threads", "2"};
  const auto run = [&](const std::string& name) { return (folder / name).string(); };
  const auto weights = [&](const std::string& name) {
    return (folder / name / "last_model.safetensors").string();
  };
  completed("train_standard", common + Arguments{"--model_name", "wrn_10_2", "--save_path", run("teacher"),
                                                 "--num_epochs", "1"});
  const Arguments student =
      common + Arguments{"--model_name",     "resnet8",          "--teacher_model", "wrn_10_2",
                         "--teacher_resume", weights("teacher"), "--method",        "simkd"};
  completed("train_kd", student + Arguments{"--save_path", run("student"), "--num_epochs", "2"});
  completed("train_kd",
            student + Arguments{"--save_path", run("halved"), "--num_epochs", "2", "--max_steps", "2"});
  completed("train_kd", {"--save_path", run("halved"), "--resume"});
  CHECK(read_file(weights("student")) == read_file(weights("halved")));

  const std::string evaluated =
      completed("evaluate", data + Arguments{"--model_name", "resnet8", "--weights", weights("student")});
  const double top1 = csv_value(folder / "student" / "metrics.csv", "test_top1_percent", 2);
  CHECK(contains(evaluated, fmt::format("top-1    {:.4f} %", top1)));

  const SafetensorsFile file = read_safetensors(weights("student"));
  CHECK(file.metadata.at("head") == R"({"channels":128,"factor":2,"height":4,"in":64,"width":6})");
  completed("train_kd", common + Arguments{"--model_name", "resnet8", "--teacher_model", "resnet8",
                                           "--teacher_resume", weights("student"), "--method", "at",
                                           "--save_path", run("grandchild"), "--num_epochs", "1"});
  std::map<std::string, std::string> metadata = file.metadata;
  metadata["head"] = R"({"channels":128,"factor":2,"height":0,"in":64,"width":6})";
  write_safetensors(weights("student"), file.tensors, metadata);
  check_error("evaluate", data + Arguments{"--model_name", "resnet8", "--weights", weights("student")}, 1,
              {weights("student"), "head: expected height from 1 to 65536"});
}

TEST_CASE("loader_benchmark prints its measurement, also as JSON") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const Arguments flags = {
      "--dataset", "class_folders", "--data_dir", (folder / "images").string(), "--num_workers",
      "2",         "--seconds",     "0.3"};
  CHECK(contains(completed("loader_benchmark", flags), "class_folders, 128 images at a time, 2 workers: "));
  const auto line = nlohmann::json::parse(
      completed("loader_benchmark", flags + Arguments{"--batch_size", "5", "--json", "1"}));
  CHECK(line.at("dataset") == "class_folders");
  CHECK(line.at("batch") == 5);
  CHECK(line.at("workers") == 2);
  CHECK(line.at("images_per_s").get<double>() > 1000.0);
  CHECK(line.at("cpu_us_per_image").get<double>() > 0.0);
  CHECK(line.at("peak_rss_mib").get<double>() > 1.0);
  check_error("loader_benchmark", {"--dataset", "cifar10", "--seconds", "0"}, 2, {"--seconds", "0.1", "'0'"});
  check_error("loader_benchmark", {}, 2, {"give --dataset"});
}

TEST_CASE("every program says the project's version") {
  const std::string project = read_file(GENEROUS_SOURCE_DIR "/CMakeLists.txt");
  const std::size_t begin = project.find("VERSION ", project.find("project(generous")) + 8;
  const std::string version = project.substr(begin, project.find(' ', begin) - begin);
  CHECK(std::ranges::count(version, '.') == 2);
  for (const char* program : {"train_standard", "train_generous", "train_kd", "evaluate", "predict",
                              "convert", "info", "preview", "benchmark", "loader_benchmark"})
    CHECK(completed(program, {"--version"}) == fmt::format("{} (generous) {}\n", program, version));
}

TEST_CASE("usage errors exit with 2, help with 0") {
  const TemporaryFolder folder;
  for (const char* program : {"train_standard", "train_generous", "train_kd", "evaluate", "predict"}) {
    CHECK(contains(completed(program, {"--help"}), "--model_name"));
    check_error(program, {}, 2, {"is missing"});
    check_error(program, {"--model_nam", "resnet8"}, 2, {"did you mean --model_name?"});
  }
  // The chosen model and method have settings of their own; each setting has its default or is required.
  const std::string help = completed("train_generous", {"--help", "--model_name", "net"});
  for (const char* line : {"\nrun\n", "\nmodel\n", "\ndata\n", "\ntraining\n", "\nmethod\n", "\ndevice\n",
                           "  --num_channels ", "  --Tn ", "default: 0.001)", "required)"})
    CHECK(contains(help, line));
  CHECK_FALSE(contains(completed("train_kd", {"--help", "--model_name", "resnet8"}), "--num_channels"));
  const Arguments run = small_run(folder / "images", folder / "run");
  check_error("train_standard", run + Arguments{"--num_epochs", "1.5"}, 2, {"--num_epochs", "'1.5'"});
  if (!has_backend(Device::cuda))
    check_error("train_standard", run + Arguments{"--device", "cuda"}, 1, {"no CUDA backend"});
  CHECK_FALSE(fs::exists(folder / "run"));
}

TEST_CASE("bad data and folders: one line, exit code 1, the folder as it was") {
  const TemporaryFolder folder;
  const fs::path images = folder / "images";
  check_error("train_standard", small_run(images, folder / "run"), 1, {images.string()});
  make_images(images);
  write_text(images / "train" / "class1" / "3.png", "not an image");
  check_error("train_standard", small_run(images, folder / "run"), 1, {"class1/3.png"});
  make_images(images);
  check_error("train_standard", small_run(images, folder / "run") + Arguments{"--model_name", "resnet8"}, 2,
              {"--model_name"});
  write_text(folder / "run" / "params.json", R"({"num_epochs": 3, "num_epochs": 4})");
  check_error("train_standard", small_run(images, folder / "run"), 1, {"params.json", "num_epochs", "twice"});
  CHECK(content_of(folder / "run").size() == 1);
  write_text(folder / "file", "");
  check_error("train_standard", small_run(images, folder / "file" / "run"), 1, {(folder / "file").string()});
}

TEST_CASE("a loss that is not finite stops the run and leaves the last good checkpoint") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  // The weight decay multiplies every weight by -19 a step: the first epochs are finite, a later one is not.
  const Arguments explode = {"--weight_decay", "200", "--learning_rate", "0.1", "--momentum", "0"};
  const fs::path run = folder / "run";
  check_error("train_standard", small_run(folder / "images", run) + explode + Arguments{"--num_epochs", "50"},
              1, {" epoch ", "step ", "learning rate 0.1"});
  const std::size_t epochs = csv_rows(run / "metrics.csv").size() - 1;
  REQUIRE(epochs >= 1);
  REQUIRE(epochs < 50);
  CHECK(contains(read_file(run / "training.log"), "stopped: the "));
  completed("train_standard", small_run(folder / "images", folder / "shorter") + explode +
                                  Arguments{"--num_epochs", std::to_string(epochs)});
  for (const char* file : {"last_model.safetensors", "best_model.safetensors"})
    CHECK(read_file(run / file) == read_file(folder / "shorter" / file));
}

TEST_CASE("a student whose logits are all zero learns beside its teacher, and the log says so") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const auto mlp_run = [&](const std::string& name) {
    return Arguments{"--save_path",     (folder / name).string(),
                     "--data_dir",      (folder / "images").string(),
                     "--dataset",       "class_folders",
                     "--model_name",    "mlp",
                     "--batch_size",    "8",
                     "--threads",       "1",
                     "--num_epochs",    "2",
                     "--learning_rate", "0.01",
                     "--optimizer",     "sgd"};
  };
  completed("train_standard", mlp_run("teacher"));
  // The network ends in a ReLU: a bias far below zero makes every logit 0, and sigma with them.
  const fs::path weights = folder / "teacher" / "last_model.safetensors";
  SafetensorsFile dead = read_safetensors(weights);
  for (auto& [name, tensor] : dead.tensors)
    if (tensor.shape() == Shape{3}) std::ranges::fill(tensor.data<float>(), -1000.0F);
  write_safetensors(folder / "dead.safetensors", dead.tensors);
  completed(
      "train_generous",
      mlp_run("generous") + Arguments{"--adversarial_model", "mlp", "--adversarial_resume", weights.string(),
                                      "--warmup", "0", "--init", (folder / "dead.safetensors").string()});
  CHECK(contains(read_file(folder / "generous" / "training.log"),
                 "note: in epoch 2, 42 images had the same logit for every class in one of the networks"));
}

TEST_CASE("a full disk stops the run, names the file and harms nothing that was saved") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const fs::path run = folder / "run";
  completed("train_standard", small_run(folder / "images", run) + Arguments{"--num_epochs", "1"});
  const auto before = content_of(run);
  const auto largest = static_cast<rlim_t>(before.at("last_model.safetensors").size() - 1);
  const Arguments resume = {"--save_path", run.string(), "--resume", "--num_epochs", "3"};
  check_error("train_standard", resume, 1, {"_model.safetensors"}, {.largest_file = largest});
  const auto after = content_of(run);
  CHECK(after.size() == before.size());  // no temporary file is left
  for (const char* file : {"last_model.safetensors", "best_model.safetensors", "training_state.safetensors"})
    CHECK(after.at(file) == before.at(file));

  completed("train_standard", resume);
  completed("train_standard",
            small_run(folder / "images", folder / "straight") + Arguments{"--num_epochs", "3"});
  CHECK(read_file(run / "last_model.safetensors") ==
        read_file(folder / "straight" / "last_model.safetensors"));
}
