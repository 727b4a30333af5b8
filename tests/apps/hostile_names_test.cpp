// Names of files that act on a terminal, are not UTF-8, lead in circles or are too long; limits on memory:
// always one clean line.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>

#include "core/safetensors.h"
#include "nn/models/registry.h"
#include "nn/state_dict.h"
#include "tests/apps/program_runs.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

bool is_clean(const std::string& line) {
  return std::ranges::all_of(line.substr(0, line.size() - 1), [](char c) { return c >= ' ' && c != '\x7f'; });
}

/// The program ends with `exit_code` and one line "program: ..." of printable ASCII that holds every
/// fragment.
void check_clean(const std::string& program, const Arguments& arguments, int exit_code,
                 const std::vector<std::string>& fragments = {},
                 const RunningProgram::Options& options = {}) {
  const Finished finished = run_app(program, arguments, options);
  CAPTURE(program);
  CAPTURE(arguments);
  CAPTURE(finished.err);
  CHECK(finished.exit_code == exit_code);
  CHECK(finished.err.starts_with(program + ": "));
  CHECK(finished.err.ends_with('\n'));
  CHECK(is_clean(finished.err));
  CHECK_FALSE(contains(finished.err, "exception"));
  CHECK_FALSE(contains(finished.err, "filesystem error"));
  for (const std::string& fragment : fragments) CHECK(contains(finished.err, fragment));
}

struct Calls {
  std::string program;
  Arguments arguments;
};

/// Every program with `path` where a path goes.
std::vector<Calls> calls_with(const std::string& path, const TemporaryFolder& folder) {
  const std::string fine = (folder / "fine").string();
  const std::string images = (folder / "images").string();
  const std::string input = (folder / "input").string();
  const std::string weights = (folder / "weights").string();
  const Arguments network = {"--model_name", "resnet8", "--threads", "1"};
  const Arguments data = network + Arguments{"--dataset", "class_folders", "--data_dir"};
  const Arguments student = data + Arguments{images, "--save_path", fine, "--teacher_model", "resnet8"};
  const Arguments predict = network + Arguments{"--classes", "3"};
  return {{"train_standard", data + Arguments{images, "--save_path", path}},
          {"train_standard", data + Arguments{path, "--save_path", fine}},
          {"train_standard", data + Arguments{images, "--save_path", fine, "--init", path}},
          {"train_kd", student + Arguments{"--teacher_resume", path}},
          {"evaluate", data + Arguments{path, "--weights", weights}},
          {"evaluate", data + Arguments{images, "--weights", path}},
          {"evaluate", data + Arguments{images, "--weights", weights, "--report", path}},
          {"predict", predict + Arguments{"--input", path, "--weights", weights, "--output", fine}},
          {"predict", predict + Arguments{"--input", input, "--weights", path, "--output", fine}},
          {"predict", predict + Arguments{"--input", input, "--weights", weights, "--output", path}}};
}

void write_network(const TemporaryFolder& folder) {
  write_safetensors(folder / "weights",
                    state_dict(*make_model("resnet8", {.classes = 3, .image = {16, 24, 3}})));
  write_safetensors(folder / "input", {{"input", Tensor::zeros({2, 3, 16, 24})}});
}

}  // namespace

TEST_CASE("symlink loops and over-long paths: one clean line from every program") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  write_network(folder);
  fs::create_symlink("loop", folder / "loop");
  std::string deep = folder.path().string();
  while (deep.size() < 5000) deep += "/folder";
  for (const std::string& path :
       {(folder / "loop" / "x").string(), (folder / std::string(300, 'x')).string(), deep})
    for (const Calls& call : calls_with(path, folder)) check_clean(call.program, call.arguments, 1);
}

TEST_CASE("names that are not UTF-8 or hold escape sequences reach no terminal and no log as they are") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  write_network(folder);
  const std::string name = "\x1b]0;owned\x07\xff\n";
  for (const Calls& call : calls_with((folder / "none" / name).string(), folder)) {
    const std::string& flag = *(call.arguments.end() - 2);
    const bool makes_folder =
        (flag == "--save_path" || flag == "--report") && call.arguments.back().ends_with(name);
    if (makes_folder) continue;  // below
    const bool in_params = call.program.starts_with("train");
    check_clean(call.program, call.arguments, in_params ? 2 : 1, {"\\x1b]0;owned\\x07\\xff "});
  }
  // A folder may have any name: only how it is shown is clean.
  const fs::path run = folder / name;
  const Finished finished =
      run_app("train_standard", small_run(folder / "images", run) + Arguments{"--num_epochs", "1"});
  CAPTURE(finished.err);
  CHECK(finished.exit_code == 0);
  for (const std::string& text : {finished.out, read_file(run / "training.log")}) {
    CHECK(contains(text, "\\x1b]0;owned\\x07\\xff "));
    CHECK(std::ranges::none_of(text, [](char c) { return c == '\x1b' || c == '\x07' || c == '\xff'; }));
  }
}

TEST_CASE("predict does not overwrite what it reads, by whatever name") {
  const TemporaryFolder folder;
  write_network(folder);
  const std::string input = (folder / "input").string();
  const std::string weights = (folder / "weights").string();
  fs::create_symlink("weights", folder / "symlink");
  fs::create_hard_link(folder / "input", folder / "hardlink");
  const std::string roundabout = (folder / "." / "input").string();
  const std::string before = read_file(input);
  const std::string before_weights = read_file(weights);
  const auto predict = [&](const std::string& output) {
    return Arguments{"--model_name", "resnet8", "--classes", "3",    "--input",   input,
                     "--weights",    weights,   "--output",  output, "--threads", "1"};
  };
  for (const std::string& output : {input, roundabout, (folder / "hardlink").string()})
    check_clean("predict", predict(output), 2, {"--output", "the file that --input reads", output});
  for (const std::string& output : {weights, (folder / "symlink").string()})
    check_clean("predict", predict(output), 2, {"--output", "the file that --weights reads", output});
  CHECK(read_file(input) == before);
  CHECK(read_file(weights) == before_weights);
  CHECK(run_app("predict", predict((folder / "output").string())).exit_code == 0);
}

// A sanitizer takes terabytes of address space for itself.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

TEST_CASE("a limit on the address space is named, whatever it is: no crash" * doctest::skip(sanitized)) {
  const TemporaryFolder folder;
  make_images(folder / "images");
  int named = 0;
  // Below some 60 MiB, or some gibibyte with CUDA's libraries, the system does not even load the program.
  rlim_t least = 60;
  while (run_app("train_standard", {"--help"}, {.address_space = least << 20U}).exit_code == 127) least += 60;
  for (rlim_t mebibytes = least + 20; mebibytes <= least + 320; mebibytes += 50) {
    CAPTURE(mebibytes);
    const Arguments run = small_run(folder / "images", folder / std::to_string(mebibytes));
    const Finished finished =
        run_app("train_standard", run + Arguments{"--num_epochs", "1", "--device", "cpu"},
                {.address_space = mebibytes << 20U});
    CAPTURE(finished.err);
    CHECK((finished.exit_code == 0 || finished.exit_code == 1));
    if (finished.exit_code == 0) continue;
    CHECK(std::ranges::count(finished.err, '\n') == 1);
    const bool of_memory = contains(finished.err, "out of memory") || contains(finished.err, "address space");
    CHECK(of_memory);
    if (contains(finished.err, "ulimit -v")) ++named;
  }
  CHECK(named > 0);
}

TEST_CASE("a path that CMake cannot build in is refused in one line before anything is done") {
  const std::string command = "bash '" + std::string(GENEROUS_SOURCE_DIR) + "/apps/setup.sh' 'a;b' all 2>&1";
  FILE* const setup = ::popen(command.c_str(), "r");
  REQUIRE(setup != nullptr);
  std::string output(4096, '\0');
  output.resize(std::fread(output.data(), 1, output.size(), setup));
  CHECK(WEXITSTATUS(::pclose(setup)) == 1);
  CHECK(output.starts_with("setup: CMake cannot build where a path has a ';'"));
  CHECK(std::ranges::count(output, '\n') == 1);
}
