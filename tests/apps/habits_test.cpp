// What people are used to from other programs, the paper's among them: understood, or answered by what to
// use.
#include "tests/apps/run_checks.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

struct Runs {
  TemporaryFolder folder;
  fs::path images = folder / "images";
  Runs() { make_images(images); }
  Arguments start(const std::string& name) const {
    return {"--save_path", (folder / name).string(), "--data_dir", images.string(), "--threads", "1"};
  }
  std::string log(const std::string& name) const { return read_file(folder / name / "training.log"); }
};

void answered(const std::string& program, const Arguments& arguments, const std::string& answer) {
  const Finished finished = run_app(program, arguments);
  CAPTURE(finished.err);
  CHECK(finished.exit_code == 2);
  CHECK(contains(finished.err, answer));
  CHECK(std::count(finished.err.begin(), finished.err.end(), '\n') == 1);
}

}  // namespace

TEST_CASE("flags by other names and spellings") {
  const Runs runs;
  completes("train_standard",
            runs.start("run") + Arguments{"--model", "resnet8", "--dataset", "class_folders", "--lr", "0.02",
                                          "--epochs", "1", "--batch-size", "8", "--wd", "0.001", "--gamma",
                                          "2", "--max-steps", "1"});
  const std::string params = read_file(runs.folder / "run" / "params.json");
  for (const char* line : {"\"model_name\": \"resnet8\"", "\"learning_rate\": 0.02", "\"num_epochs\": 1",
                           "\"batch_size\": 8", "\"weight_decay\": 0.001", "\"gamma\": 2.0"})
    CHECK(contains(params, line));
  const Arguments run = {"--save_path", (runs.folder / "new").string()};
  answered("train_standard", run + Arguments{"--gpu_id", "0"},
           "unknown flag --gpu_id: the GPU is chosen by --device");
  answered("train_standard", run + Arguments{"--resume", "best_model.tar"},
           "--resume must be 0 or 1, not 'best_model.tar': it goes on with the run in --save_path; weights "
           "to start "
           "from are given by --init");
  answered("train_standard", run + Arguments{"--lr", "1", "--learning_rate", "2"},
           "--learning_rate and --lr are the same flag");
  answered("train_standard", run + Arguments{"--frobnicate", "1"},
           "unknown flag --frobnicate; --help shows all");
  CHECK_FALSE(fs::exists(runs.folder / "new"));
}

TEST_CASE("the paper's files run as they are: what its programs do not look at is said, and kept") {
  const Runs runs;
  const std::string keys =
      R"({"model_name": "resnet8", "dataset": "class_folders", "batch_size": 8, "num_epochs": 1, "cuda": 1,
          "subset_percent": 1.0, "teacher_model": "resnet14", "teacher_resume": "experiments/t/best_model.tar",
          "temperature": 4, "alpha": 0.9})";
  write_text(runs.folder / "student" / "params.json", keys);
  completes("train_standard", runs.start("student"));
  const std::string log = runs.log("student");
  CHECK(contains(log, "42 training and 15 test images"));
  CHECK(contains(log, "subset_percent 1.0 is a fraction"));
  CHECK(contains(log, "params.json: teacher_model (of train_"));
  CHECK(contains(log, "params.json: temperature (of train_"));
  const std::string params = read_file(runs.folder / "student" / "params.json");
  CHECK(contains(params, R"("teacher_resume": "experiments/t/best_model.tar")"));
  CHECK(contains(params, R"("subset_percent": 100.0)"));
  // It goes on with them there.
  completes("train_standard",
            {"--save_path", (runs.folder / "student").string(), "--resume", "--num_epochs", "2"});
  CHECK(contains(read_file(runs.folder / "student" / "params.json"), "\"alpha\": 0.9"));

  // By a flag one percent is one percent, and a misspelt key of a file still is an error.
  completes("train_standard", runs.start("part") + Arguments{"--model_name", "resnet8", "--dataset",
                                                             "class_folders", "--subset_percent", "10",
                                                             "--batch_size", "3", "--max_steps", "1"});
  CHECK(contains(runs.log("part"), "3 training and 15 test images"));
  write_text(runs.folder / "wrong" / "params.json", R"({"model_name": "resnet8", "teacher_mdel": "x"})");
  refuses("train_standard", runs.start("wrong"), {"unknown key teacher_mdel"});
}

TEST_CASE("preview writes a sheet of what training sees") {
  const Runs runs;
  const std::string sheet = (runs.folder / "sheet.png").string();
  const std::string said = completes("preview", {"class_folders", "--data_dir", runs.images.string(),
                                                 "--rows", "3", "--columns", "4", "--output", sheet});
  CHECK(contains(said, sheet + ": 3 images of class_folders and 3 augmentations of each"));
  CHECK(contains(said, "row 3: class2"));
  // 3 rows of 16 pixels and 4 columns of 24, with 2 between and around.
  CHECK(contains(completes("info", {sheet}), "PNG, 56 x 106 pixels"));
  // Without augmentation all columns are the first.
  const std::string plain = (runs.folder / "plain.png").string();
  completes("preview", {"class_folders", "--data_dir", runs.images.string(), "--rows", "1", "--columns", "2",
                        "--augmentation", "0", "--output", plain});
  CHECK(contains(completes("info", {plain}), "PNG, 20 x 54 pixels"));
}

TEST_CASE("class folders of any sizes, in colour or grey") {
  const Runs runs;
  std::string pixels;
  for (int i = 0; i < 40 * 20; ++i) pixels += std::string(3, static_cast<char>(i * 13 % 200));
  for (const char* split : {"train", "test"})
    for (int label = 0; label < 2; ++label)
      for (int image = 0; image < 6; ++image)
        write_text(runs.folder / "grey" / split / std::to_string(label) / (std::to_string(image) + ".png"),
                   image % 2 == 0 ? encode_png(40, 20, pixels) : encode_png(20, 40, pixels));
  const Arguments run = {"--save_path",  (runs.folder / "run").string(),
                         "--data_dir",   (runs.folder / "grey").string(),
                         "--dataset",    "class_folders",
                         "--model_name", "resnet8",
                         "--batch_size", "4",
                         "--threads",    "1",
                         "--num_epochs", "1"};
  refuses("train_standard", run, {"found an image of 20 x 40 pixels, expected 40 x 20", "--image_size N"});
  completes("train_standard", run + Arguments{"--image_size", "16"});
  CHECK(contains(runs.log("run"), "12 training and 12 test images of 16 x 16 x 1, 2 classes"));
  // Whoever reads the weights takes the same size.
  CHECK(contains(completes("evaluate", {(runs.folder / "run").string()}), "images   12"));
  CHECK(contains(
      completes("predict", {(runs.folder / "run").string(), (runs.folder / "grey" / "test" / "1").string()}),
      "5.png  "));
}
