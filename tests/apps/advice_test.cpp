// Commands that messages advise, pasted into a shell where the user is, whose folders have spaces and quotes.
#include <doctest/doctest.h>

#include "tests/apps/program_runs.h"

using namespace generous;

namespace {

struct User {
  TemporaryFolder home;
  std::filesystem::path folder = home / "my user's folder";

  User() {
    std::filesystem::create_directory(folder);
    make_images(folder / "the images");
  }
  Finished run(const std::string& program, const Arguments& arguments) const {
    return run_app(program, arguments, {.working_folder = folder});
  }
  Finished paste(const std::string& command) const {
    CAPTURE(command);
    return run_app("/bin/bash", {"-c", command}, {.working_folder = folder});
  }
};

/// What stands between the first `before` and the `after` behind it.
std::string between(const std::string& text, const std::string& before, const std::string& after) {
  CAPTURE(text);
  const std::size_t begin = text.find(before);
  REQUIRE(begin != text.npos);
  const std::size_t end = text.find(after, begin + before.size());
  REQUIRE(end != text.npos);
  return text.substr(begin + before.size(), end - begin - before.size());
}

}  // namespace

TEST_CASE("the command that gets a missing dataset puts it where it is looked for") {
  const User user;
  ::setenv("GENEROUS_MIRROR", "file:///nowhere", 1);
  std::filesystem::create_directory(user.folder / "there is nothing in");
  for (const std::string place : {"", "a user's images", "there is nothing in"}) {
    CAPTURE(place);
    const Arguments where = place.empty() ? Arguments{} : Arguments{"--data_dir", place};
    const Finished missing = user.run("preview", Arguments{"cifar10"} + where);
    CHECK(missing.exit_code == 1);
    const Finished got = user.paste(between(missing.err, "`", "`"));
    CHECK(contains(got.err, "file:///nowhere/cifar-10-binary.tar.gz could not be downloaded"));
    CHECK(
        std::filesystem::exists(user.folder / ((place.empty() ? "datasets/cifar10" : place) + ".download")));
  }
}

TEST_CASE("the command that trains a missing teacher, and the flag that takes its last weights") {
  const User user;
  const Arguments images = {"--dataset", "class_folders", "--data_dir", "the images",  "--threads",
                            "1",         "--batch_size",  "8",          "--max_steps", "2"};
  const Arguments student = Arguments{"--model_name", "resnet8", "--save_path", "runs/its student"} + images;
  const Arguments teacher = {"--teacher_model", "resnet8", "--teacher_resume",
                             "runs/the user's/best_model.tar"};
  const Finished missing = user.run("train_kd", student + teacher);
  CHECK(missing.exit_code == 1);
  const std::string train = between(missing.err, "train it first: ", "\n");
  const Finished asks = user.paste(train);
  CHECK(asks.exit_code == 2);
  CHECK(
      asks.err ==
      "train_standard: model_name is missing: give --model_name or put it in runs/the user's/params.json\n");
  std::string flags = " --model_name resnet8";
  for (const std::string& word : images) flags += " '" + word + "'";
  REQUIRE(user.paste(train + flags).exit_code == 0);

  const Finished ended = user.run("train_kd", student + teacher);
  CHECK(ended.exit_code == 1);
  const std::string last = between(ended.err, "its last weights are there: ", "\n");
  std::string call = "'" + apps_folder() +
                     "/train_kd' --save_path runs/student --model_name resnet8 --teacher_model resnet8";
  for (const std::string& word : images) call += " '" + word + "'";
  CHECK(user.paste(call + " " + last).exit_code == 0);
}
