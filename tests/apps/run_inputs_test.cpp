// A run goes on with what it began with: the classes, the images, the teacher; and weights are taken for the
// classes that they were trained on.
#include "tests/apps/run_checks.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

const std::string other_image = encode_png(16, 24, std::string(16 * 24 * 3, 'x'));

/// A run of one epoch in folder/run on the images in folder/images.
struct Run {
  TemporaryFolder folder;
  fs::path images = folder / "images";
  fs::path path = folder / "run";
  fs::path state = path / "training_state.safetensors";
  fs::path weights = path / "last_model.safetensors";
  Arguments resume = {"--save_path", path.string(), "--resume", "--num_epochs", "2"};

  Run() {
    make_images(images);
    completes("train_standard", small_run(images, path) + Arguments{"--num_epochs", "1"});
  }
};

}  // namespace

TEST_CASE("a resumed run refuses other images and classes, and says what changed") {
  const Run run;
  const auto before = content_of(run.path);
  const std::string again = "or start a new run in another folder";
  SUBCASE("another training image") {
    write_text(run.images / "train" / "class1" / "3.png", other_image);
    refuses("train_standard", run.resume, {run.state.string(), "the training images are not", again});
  }
  SUBCASE("another test image") {
    write_text(run.images / "test" / "class1" / "3.png", other_image);
    refuses("train_standard", run.resume, {"the test images are not", again});
  }
  SUBCASE("an image that moved to another class") {
    // By its place in the order of files it is the same image, with another label.
    fs::rename(run.images / "train" / "class1" / "0.png", run.images / "train" / "class0" / "z.png");
    refuses("train_standard", run.resume, {"the training labels are not", again});
  }
  SUBCASE("a renamed class, whose new place shifts all labels") {
    for (const char* split : {"train", "test"})
      fs::rename(run.images / split / "class0", run.images / split / "zebra");
    refuses("train_standard", run.resume, {"class 0 was 'class0', now it is 'class1'", again});
  }
  SUBCASE("a class that is gone") {
    for (const char* split : {"train", "test"}) fs::remove_all(run.images / split / "class0");
    refuses("train_standard", run.resume, {"42 training images, now there are 28"});
  }
  CHECK(content_of(run.path) == before);
}

TEST_CASE("class names that are not UTF-8 train, resume and evaluate") {
  const TemporaryFolder folder;
  const fs::path images = folder / "images";
  make_images(images);
  for (const char* split : {"train", "test"})
    fs::rename(images / split / "class0", images / split / "cl\xe9");
  const fs::path run = folder / "run";
  completes("train_standard", small_run(images, run) + Arguments{"--num_epochs", "1"});
  completes("train_standard", {"--save_path", run.string(), "--resume", "--num_epochs", "2"});
  completes("evaluate", {"--model_name", "resnet8", "--weights", (run / "last_model.safetensors").string(),
                         "--dataset", "class_folders", "--data_dir", images.string()});
}

TEST_CASE("another teacher at the same path is refused; other metadata do not make it another") {
  const Run teacher;
  const fs::path run = teacher.folder / "student";
  const Arguments resume = {"--save_path", run.string(), "--resume", "--num_epochs", "2"};
  const fs::path copy = teacher.folder / "teacher.safetensors";
  fs::copy(teacher.weights, copy);
  for (const char* program : {"train_kd", "train_generous"}) {
    const std::string prefix = program == std::string("train_kd") ? "--teacher" : "--adversarial";
    fs::remove_all(run);
    fs::copy(teacher.weights, copy, fs::copy_options::overwrite_existing);
    completes(program,
              small_run(teacher.images, run) + Arguments{"--num_epochs", "1", prefix + "_model", "resnet8",
                                                         prefix + "_resume", copy.string()});
    const auto before = content_of(run);
    SafetensorsFile file = read_safetensors(copy);
    file.tensors[0].second.data<float>()[0] += 0.5F;
    write_safetensors(copy, file.tensors, file.metadata);
    refuses(program, resume, {"the teacher's weights are not", "new run"});
    CHECK(content_of(run) == before);
    // Other metadata do not make it another teacher.
    write_safetensors(copy, read_safetensors(teacher.weights).tensors);
    completes(program, resume);
  }
}

TEST_CASE("another number of threads is said and allowed; a state without the record says so and goes on") {
  const Run run;
  Arguments resume = run.resume;
  const std::string same = completes("train_standard", resume);
  CHECK_FALSE(contains(same, "computing threads"));
  CHECK_FALSE(contains(same, "could not be compared"));
  resume.back() = "3";
  const std::string other = completes("train_standard", resume + Arguments{"--threads", "2"});
  CHECK(contains(other, "note: the number of computing threads was 1 so far and is 2 from here on"));

  make_old_state(run.state);
  resume.back() = "4";
  const std::string old = completes("train_standard", resume + Arguments{"--threads", "1"});
  CHECK(contains(old,
                 "could not be compared: names of classes, test images, test labels, training images, "
                 "training labels"));
  CHECK_FALSE(contains(old, "computing threads"));
  resume.back() = "5";
  CHECK_FALSE(contains(completes("train_standard", resume), "could not be compared"));
}

TEST_CASE("weights for these classes in another order are refused; for others they are noted") {
  const Run run;
  const auto with_classes = [&](const std::string& classes) {
    const fs::path path = run.folder / "weights.safetensors";
    fs::copy(run.weights, path, fs::copy_options::overwrite_existing);
    change_metadata(path, [&](auto& metadata) {
      if (classes.empty())
        metadata.erase("classes");
      else
        metadata["classes"] = classes;
    });
    return path.string();
  };
  const auto evaluate = [&](const std::string& weights) {
    return Arguments{"--model_name", "resnet8",           "--dataset", "class_folders",
                     "--data_dir",   run.images.string(), "--weights", weights};
  };
  const auto start = [&](const char* name, const Arguments& more) {
    return small_run(run.images, run.folder / name) + Arguments{"--num_epochs", "1"} + more;
  };
  const auto student = [](const std::string& weights) {
    return Arguments{"--teacher_model", "resnet8", "--teacher_resume", weights};
  };
  const std::string right = with_classes(R"(["class0","class1","class2"])");
  CHECK_FALSE(contains(completes("evaluate", evaluate(right)), "note "));

  const std::string permuted = with_classes(R"(["class0","class2","class1"])");
  const std::vector<std::string> complaint = {permuted, "another order",
                                              "output 1 is 'class2' there, and 'class1' in the dataset"};
  refuses("evaluate", evaluate(permuted), complaint);
  refuses("train_standard", start("init", {"--init", permuted}), complaint);
  refuses("train_kd", start("student", student(permuted)), complaint);
  CHECK(fs::is_empty(run.folder / "init"));

  const std::string others = with_classes(R"(["class0","cat","class1"])");
  const std::string note = "other names: output 1 is 'cat' there, and 'class1' in the dataset";
  CHECK(contains(completes("evaluate", evaluate(others)), note));
  CHECK(contains(completes("train_standard", start("init", {"--init", others})), "note: " + others));
  CHECK(contains(completes("train_kd", start("student", student(others))), note));

  CHECK_FALSE(contains(completes("evaluate", evaluate(with_classes(""))), "note "));
  refuses("evaluate", evaluate(with_classes("[1]")), {"classes", "expected a list of texts, found [1]"});
  refuses("evaluate", evaluate(with_classes("[")), {"classes"});
  // Without a dataset's name the file is not this program's, and the key may mean anything.
  const std::string foreign = with_classes("3");
  change_metadata(foreign, [](auto& metadata) { metadata.erase("dataset"); });
  completes("evaluate", evaluate(foreign));
}

TEST_CASE("what was trained on tiny_imagenet before its classes were sorted is refused") {
  const Run run;
  const std::vector<std::string> complaint = {"order of wnids.txt", "train it anew"};
  const std::string weights = (run.folder / "weights.safetensors").string();
  fs::copy(run.weights, weights);
  change_metadata(weights, [](auto& metadata) {
    metadata.erase("classes");
    metadata["dataset"] = "tiny_imagenet";
  });
  refuses("evaluate",
          {"--model_name", "resnet8", "--dataset", "class_folders", "--data_dir", run.images.string(),
           "--weights", weights},
          complaint);
  const Arguments start = small_run(run.images, run.folder / "new");
  refuses("train_standard", start + Arguments{"--init", weights}, complaint);
  refuses("train_kd", start + Arguments{"--teacher_model", "resnet8", "--teacher_resume", weights},
          complaint);
  CHECK(fs::is_empty(run.folder / "new"));

  const auto as_tiny = [](std::string text) {
    const std::string before = R"("dataset": "class_folders")";
    return text.replace(text.find(before), before.size(), R"("dataset": "tiny_imagenet")");
  };
  make_old_state(run.state);
  change_metadata(run.state, [&](auto& metadata) { metadata["config"] = as_tiny(metadata["config"]); });
  write_text(run.path / "params.json", as_tiny(read_file(run.path / "params.json")));
  refuses("train_standard", run.resume, complaint);
}
