// Weight files know what they are, and every program goes by it; pictures are predicted as they are trained
// on.
#include <fmt/format.h>

#include "core/safetensors.h"
#include "tests/apps/run_checks.h"
#include "tests/torch_stream.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

std::string without_speed(const std::string& text) { return text.substr(0, text.find("speed")); }

/// A short run in folder/NAME on the images in folder/images.
struct Runs {
  TemporaryFolder folder;
  fs::path images = folder / "images";

  Runs() { make_images(images); }
  Arguments start(const std::string& name) const {
    return {"--save_path",   (folder / name).string(),
            "--data_dir",    images.string(),
            "--dataset",     "class_folders",
            "--batch_size",  "8",
            "--threads",     "1",
            "--num_workers", "1",
            "--num_epochs",  "1"};
  }
  std::string at(const std::string& path) const { return (folder / path).string(); }
  Arguments data() const { return {"--dataset", "class_folders", "--data_dir", images.string()}; }
};

}  // namespace

TEST_CASE("a run's weights say what they are and where they come from") {
  const Runs runs;
  completes("train_standard",
            runs.start("teacher") + Arguments{"--model_name", "net", "--num_channels", "6"});
  // The folder alone says which teacher it is; its settings are not the student's.
  completes("train_kd", runs.start("student") + Arguments{"--teacher_resume", runs.at("teacher"),
                                                          "--model_name", "resnet8", "--validation", "6"});
  const auto teacher = read_safetensors(runs.at("teacher/best_model.safetensors")).metadata;
  CHECK(teacher.at("model_name") == "net");
  CHECK(contains(teacher.at("model_settings"), "\"num_channels\": 6"));
  CHECK(teacher.at("image") == "16,24,3");
  CHECK(teacher.at("classes") == R"(["class0","class1","class2"])");
  CHECK(teacher.at("program") == "train_standard");
  CHECK(teacher.at("method") == "none");
  CHECK_FALSE(teacher.contains("teacher"));
  CHECK(teacher.at("epoch") == "1");
  const std::string log = read_file(runs.at("teacher/training.log"));
  CHECK(contains(log, fmt::format("best top-1 {:.2f} %", std::stod(teacher.at("top1")))));
  const auto student = read_safetensors(runs.at("student/last_model.safetensors")).metadata;
  CHECK(student.at("program") == "train_kd");
  CHECK(student.at("method") == "kd");
  CHECK(student.at("teacher") == "net");
  CHECK_FALSE(student.contains("model_settings"));
  CHECK(std::stod(student.at("validation_top1")) <= 100.0);
  CHECK(contains(read_file(runs.at("student/params.json")), "\"teacher_model\": \"net\""));

  SUBCASE("evaluate takes a run or a file, and needs nothing else") {
    const std::string weights = runs.at("teacher/best_model.safetensors");
    const std::string whole =
        completes("evaluate", Arguments{"--model_name", "net", "--num_channels", "6", "--weights", weights} +
                                  runs.data());
    CHECK(without_speed(completes("evaluate", {weights})) == without_speed(whole));
    CHECK(without_speed(completes("evaluate", {runs.at("teacher")})) == without_speed(whole));
    CHECK(contains(whole, fmt::format("top-1    {} %", teacher.at("top1"))));
    const std::string beside = completes("evaluate", {runs.at("student"), "--report", runs.at("report"),
                                                      "--teacher_resume", runs.at("teacher")});
    CHECK(contains(beside, "teacher  net: top-1"));
  }
  SUBCASE("another network than the file holds is refused by name") {
    const std::string holds = "best_model.safetensors holds net, you asked for resnet14";
    refuses("evaluate", {runs.at("teacher"), "--model_name", "resnet14"}, {holds});
    refuses("predict", {runs.at("teacher"), "--model_name", "resnet14", runs.images.string()}, {holds});
    refuses("train_kd",
            runs.start("other") + Arguments{"--model_name", "resnet8", "--teacher_model", "resnet14",
                                            "--teacher_resume", runs.at("teacher")},
            {holds});
    refuses("train_standard",
            runs.start("other") + Arguments{"--model_name", "resnet14", "--init", runs.at("teacher")},
            {holds});
  }
  SUBCASE("a file that says nothing is told what it is") {
    const fs::path bare = runs.folder / "bare.safetensors";
    write_safetensors(bare, read_safetensors(runs.at("student/last_model.safetensors")).tensors);
    const Finished unknown = run_app("evaluate", Arguments{bare.string()} + runs.data());
    CHECK(unknown.exit_code == 2);
    CHECK(contains(unknown.err, "give --model_name"));
    const std::string top1 = fmt::format("top-1    {} %", student.at("top1"));
    CHECK(contains(completes("evaluate", Arguments{bare.string(), "--model_name", "resnet8",
                                                   "--normalisation", student.at("normalisation")} +
                                             runs.data()),
                   top1));
    // From before weights said more than their model, dataset, classes and normalisation.
    const fs::path older = runs.folder / "older.safetensors";
    fs::copy(runs.at("student/last_model.safetensors"), older);
    change_metadata(older, [](auto& metadata) {
      for (const char* key : {"program", "method", "teacher", "epoch", "top1", "validation_top1", "image"})
        metadata.erase(key);
    });
    CHECK(contains(completes("evaluate", Arguments{older.string()} + runs.data()), top1));
    // Another program's file may mean other things by these names.
    change_metadata(older,
                    [](auto& metadata) { metadata["epoch"] = "3 of 7", metadata["image"] = "cat.png"; });
    CHECK(contains(completes("evaluate", Arguments{older.string()} + runs.data()), top1));
  }
  SUBCASE("what is damaged is named") {
    for (const auto& [key, value, expected] : {std::tuple{"image", "16,24", "the form 32,32,3"},
                                               {"top1", "100.5", "a number from 0 to 100"},
                                               {"epoch", "-1", "a number from 0 to"},
                                               {"image", "0,24,3", "the form 32,32,3"}}) {
      const fs::path bad = runs.folder / "bad.safetensors";
      fs::copy(runs.at("student/last_model.safetensors"), bad, fs::copy_options::overwrite_existing);
      change_metadata(bad, [&, k = key, v = value](auto& metadata) { metadata[k] = v; });
      refuses("evaluate", Arguments{bad.string()} + runs.data(), {bad.string(), key, expected, value});
    }
  }
}

TEST_CASE("a run that was ended early teaches by its last weights, and its missing best ones say so") {
  const Runs runs;
  completes("train_standard",
            runs.start("a teacher") + Arguments{"--model_name", "resnet8", "--max_steps", "2"});
  CHECK_FALSE(fs::exists(runs.folder / "a teacher" / "best_model.safetensors"));
  const std::string last = runs.at("a teacher/last_model.safetensors");
  CHECK_FALSE(read_safetensors(last).metadata.contains("top1"));
  const Arguments student = runs.start("student") + Arguments{"--model_name", "resnet8", "--max_steps", "1"};
  refuses(
      "train_kd", student + Arguments{"--teacher_resume", runs.at("a teacher/best_model.safetensors")},
      {"the run was ended before an epoch was measured, and its last weights are there: --teacher_resume '" +
       last + "'"});
  CHECK(contains(completes("evaluate", {runs.at("a teacher")}), "has no best_model, as it was ended before"));
  completes("train_kd", student + Arguments{"--teacher_resume", runs.at("a teacher")});
  CHECK(contains(read_file(runs.at("student/training.log")), "its last_model is taken"));
  // What is to be done is a command that a shell understands, with the folder that the programs are in.
  fs::create_directory(runs.folder / "it's empty");
  refuses("evaluate", Arguments{runs.at("it's empty")} + runs.data(),
          {"train it first: ", "/train_standard",
           " --save_path '" + runs.folder.path().string() + "/it'\\''s empty'"});
}

TEST_CASE("predict sees pictures as training does, and says what is in them") {
  const Runs runs;
  completes("train_standard", runs.start("run") + Arguments{"--model_name", "resnet8"});
  const std::string picture = (runs.images / "test" / "class1" / "3.png").string();
  const std::string said = completes("predict", {runs.at("run"), picture});
  CHECK(said.starts_with(picture + "  class"));
  CHECK(std::count(said.begin(), said.end(), '\n') == 1);
  CHECK(std::count(said.begin(), said.end(), '%') == 3);
  // All test pictures: as many right as evaluate counts.
  const std::string all = completes("predict", {runs.at("run"), (runs.images / "test").string()});
  CHECK(std::count(all.begin(), all.end(), '\n') == 15);
  int right = 0;
  for (std::size_t begin = 0; begin < all.size(); begin = all.find('\n', begin) + 1) {
    const std::string line = all.substr(begin, all.find('\n', begin) - begin);
    const std::size_t folder = line.find("/class") + 1;
    if (line.substr(line.find("  ") + 2, 6) == line.substr(folder, 6)) ++right;
  }
  CHECK(contains(completes("evaluate", {runs.at("run")}), fmt::format("({} of 15)", right)));

  SUBCASE("of any size, and their logits into a file") {
    const fs::path large = runs.folder / "large.png";
    std::string pixels;
    for (int i = 0; i < 40 * 31 * 3; ++i) pixels.push_back(static_cast<char>(i * 7 % 251));
    write_text(large, encode_png(40, 31, pixels));
    completes("predict",
              {runs.at("run"), large.string(), picture, "--output", runs.at("logits.safetensors")});
    const NamedTensors logits = read_safetensors(runs.at("logits.safetensors")).tensors;
    REQUIRE(logits.size() == 1);
    CHECK(logits[0].second.shape() == Shape{2, 3});
  }
  SUBCASE("what cannot be a picture is named") {
    write_text(runs.folder / "photo.webp", std::string("RIFF\0\0\0\0WEBPVP8 ", 16));
    refuses("predict", {runs.at("run"), runs.at("photo.webp")},
            {"photo.webp: is a WebP image; JPEG and PNG are read"});
    write_text(runs.folder / "photo.png", "BM-------");
    refuses("predict", {runs.at("run"), runs.at("photo.png")},
            {"photo.png: is a BMP image; JPEG and PNG are read"});
    refuses("predict", {runs.at("run"), runs.at("none.png")}, {"none.png: no such file or folder"});
    refuses("predict", {runs.at("run"), runs.at("run")}, {"found no pictures"});
    CHECK(run_app("predict", {runs.at("run")}).exit_code == 2);
  }
}

TEST_CASE("info says what a file is") {
  const Runs runs;
  completes("train_standard", runs.start("run") + Arguments{"--model_name", "resnet8"});
  const auto says = [&](const std::string& path, const std::vector<std::string>& parts) {
    const std::string said = completes("info", {path});
    CAPTURE(said);
    for (const std::string& part : parts) CHECK(contains(said, part));
  };
  const std::string top1 = fmt::format(
      "{:.2f} %", std::stod(read_safetensors(runs.at("run/best_model.safetensors")).metadata.at("top1")));
  says(runs.at("run/best_model.safetensors"),
       {": weights of resnet8 (safetensors)", "classes        3: class0, class1, class2",
        "images         16 x 24 x 3", "from           train_standard, epoch 1", top1 + " of the test images",
        "tensors        56 tensors, "});
  says(runs.at("run/training_state.safetensors"),
       {": a training state", "model          resnet8", "images         42 to train on", "1 of 1 done"});
  says(runs.at("run"), {": the folder of a run", "best_model.safetensors, epoch 1, top-1 " + top1});
  says(runs.at("run/params.json"), {": JSON, {"});
  says((runs.images / ".generous_cache" / "train.images").string(),
       {": a dataset's decoded images", "42 of 16 x 24 x 3"});
  says((runs.images / "test" / "class1" / "3.png").string(), {": a picture, PNG, 16 x 24 pixels"});
  const fs::path theirs = runs.folder / "theirs.tar";
  write_file_atomically(
      theirs, torch_stream(read_safetensors(runs.at("run/last_model.safetensors")).tensors, "module."));
  says(theirs.string(), {": a checkpoint of PyTorch", "first          conv1.weight f32 {16, 3, 3, 3}"});
  write_text(runs.folder / "notes.txt", "nothing of this project");
  refuses("info", {runs.at("notes.txt")}, {"notes.txt is "});
  refuses("info", {runs.at("none")}, {"none: no such file or folder"});
  refuses("info", {runs.images.string()}, {"a folder without params.json and weights: no run"});
  CHECK(run_app("info", {}).exit_code == 2);
}
