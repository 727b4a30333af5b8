// The README and the other pages: their commands do what they say, as pasted, and their links lead somewhere.

#include <doctest/doctest.h>

#include <algorithm>
#include <regex>
#include <sstream>

#include "tests/apps/program_runs.h"
#include "tests/data/data_files.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

const fs::path source = GENEROUS_SOURCE_DIR;

/// Every page of the project, relative to its folder.
std::vector<fs::path> pages() {
  std::vector<fs::path> found;
  for (auto it = fs::recursive_directory_iterator(source); it != fs::recursive_directory_iterator(); ++it) {
    const std::string name = it->path().filename().string();
    const bool ours =
        !name.starts_with('.') && !name.starts_with("build") && name != "runs" && name != "datasets";
    if (it->is_directory() && !ours)
      it.disable_recursion_pending();
    else if (it->path().extension() == ".md")
      found.push_back(fs::relative(it->path(), source));
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// A page's blocks of commands: lines that are indented by four, or, in a list, by six.
std::vector<std::string> blocks_of(const fs::path& page) {
  std::istringstream text(read_file(source / page));
  std::vector<std::string> blocks(1);
  for (std::string line; std::getline(text, line);) {
    const bool code = line.starts_with("    ") && line.find_first_not_of(' ') != std::string::npos;
    if (code)
      blocks.back() += line.substr(4) + "\n";
    else if (!blocks.back().empty())
      blocks.emplace_back();
  }
  if (blocks.back().empty()) blocks.pop_back();
  return blocks;
}

/// A folder as a clone of the project with its programs in build/apps: each is a script that calls the real
/// one with `few` arguments before or behind those of the page.
class Clone {
 public:
  Clone() {
    for (const auto& entry : fs::directory_iterator(source)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with("build") && name != "runs" && name != "datasets")
        fs::create_symlink(entry.path(), folder_ / name);
    }
  }
  void program(const std::string& name, const std::string& arguments) {
    script(name, "exec '" + apps_folder() + "/" + name + "' " + arguments + "\n");
  }
  void script(const std::string& name, const std::string& commands) {
    const fs::path path = folder_ / "build/apps" / name;
    write_text(path, "#!/bin/sh\n" + commands);
    fs::permissions(path, fs::perms::owner_all);
  }
  Finished run(const std::string& commands) const {
    return run_app("/bin/bash", {"-ec", commands}, {.working_folder = folder_.path()});
  }
  const fs::path& folder() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

/// `count` images of 28 x 28 and their labels, as a split of Fashion-MNIST.
void write_images(const fs::path& folder, const std::string& split, std::uint32_t count) {
  std::string pixels;
  std::string labels;
  for (std::uint32_t i = 0; i < count; ++i) {
    labels.push_back(static_cast<char>(i % 10));
    for (std::uint32_t k = 0; k < 28 * 28; ++k)
      pixels.push_back(static_cast<char>((i * 37 + k * (i % 10 + 1)) % 256));
  }
  const std::string header = big_endian(0x803) + big_endian(count) + big_endian(28) + big_endian(28);
  write_file(folder / (split + "-images-idx3-ubyte"), header + pixels);
  write_file(folder / (split + "-labels-idx1-ubyte"), big_endian(0x801) + big_endian(count) + labels);
}

/// What everything that must hold runs already, and no suite can.
const std::vector<std::string> run_elsewhere{"bash apps/setup.sh", "bash apps/demo.sh", "bash tests/run.sh"};

bool is_run_elsewhere(const std::string& block) {
  std::istringstream lines(block);
  for (std::string line; std::getline(lines, line);)
    if (std::ranges::none_of(run_elsewhere, [&](const auto& command) { return line.starts_with(command); }))
      return false;
  return true;
}

}  // namespace

TEST_CASE("the README's commands, as they are pasted, on few images") {
  Clone clone;
  write_images(clone.folder() / "images", "train", 20);
  write_images(clone.folder() / "images", "t10k", 10);
  for (const std::string program : {"train_standard", "train_generous", "train_kd"})
    clone.program(program, "--data_dir images --threads 1 \"$@\"");
  clone.program("preview", "--data_dir images \"$@\"");
  for (const std::string program : {"evaluate", "predict", "info"}) clone.program(program, "\"$@\"");
  const bool exports =
      fs::exists(fs::path(apps_folder()) / "export_onnx");  // not built without ONNX's library
  exports ? clone.program("export_onnx", "\"$@\"") : clone.script("export_onnx", "");
  write_file(clone.folder() / "photo.jpg", jpeg_red_64x64);
  write_file(clone.folder() / "folder" / "another.jpg", jpeg_red_64x64);
  int run = 0;
  for (const std::string& block : blocks_of("README.md")) {
    if (is_run_elsewhere(block)) continue;
    CAPTURE(block);
    const Finished finished = clone.run(block);
    CHECK(finished.exit_code == 0);
    CHECK(finished.err == "");
    ++run;
  }
  CHECK(run >= 1);
  CHECK(fs::exists(clone.folder() / "runs/student/best_model.safetensors"));
  CHECK(fs::exists(clone.folder() / "preview.png"));
  CHECK(fs::exists(clone.folder() / "student.onnx") == exports);
}

TEST_CASE("the training commands of every page have flags and values that their program takes") {
  Clone clone;
  for (const std::string program : {"train_standard", "train_generous", "train_kd"})
    clone.program(program, "\"$@\" --list methods");
  int run = 0;
  const std::regex others("(^|\n)(build/apps/(?!train_)|cmake |bash data/download.sh )[^\n]*");
  for (const fs::path& page : pages())
    for (std::string block : blocks_of(page)) {
      const bool trains = block.find("build/apps/train_") != std::string::npos;
      if (page == "README.md" || !trains || block.find("mpirun") != std::string::npos) continue;
      block = std::regex_replace(block, others, "$1");
      CAPTURE(page);
      CAPTURE(block);
      const Finished finished = clone.run(block);
      CHECK(finished.exit_code == 0);
      CHECK(finished.err == "");
      ++run;
    }
  CHECK(run >= 4);
}

TEST_CASE("the scripts and programs that pages name are there, and so is what they link to") {
  const std::regex script("\\b(?:bash|python3) ([A-Za-z_./]+\\.(?:sh|py))\\b");
  const std::regex link("\\]\\(([^)#: ]+)(#[^)]*)?\\)");
  int links = 0;
  int scripts = 0;
  for (const fs::path& page : pages()) {
    CAPTURE(page);
    const std::string text = read_file(source / page);
    for (std::sregex_iterator it(text.begin(), text.end(), script), end; it != end; ++it, ++scripts)
      CHECK_MESSAGE(fs::exists(source / (*it)[1].str()), (*it)[1].str());
    for (std::sregex_iterator it(text.begin(), text.end(), link), end; it != end; ++it, ++links)
      CHECK_MESSAGE(fs::exists(source / page.parent_path() / (*it)[1].str()), (*it)[1].str());
  }
  CHECK(links > 10);
  CHECK(scripts > 10);
}

}  // namespace generous
