// Runs the real programs on a small set of images made for the test.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"
#include "core/random.h"
#include "tests/data/data_files.h"
#include "tests/temporary_folder.h"

namespace generous {

using Arguments = std::vector<std::string>;

inline void write_text(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  require(file.good(), "cannot write {}", path.string());
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

inline Arguments operator+(Arguments first, const Arguments& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// Where the programs are: the environment's GENEROUS_APPS_DIR, by default in the folder of this build.
inline std::string apps_folder() {
  const char* folder = std::getenv("GENEROUS_APPS_DIR");
  return folder != nullptr ? folder : GENEROUS_APPS_DIR;
}

/// One of this project's programs, or any by its path, running; its output goes to files in a folder of its
/// own.
class RunningProgram {
 public:
  struct Options {
    std::filesystem::path working_folder = {};
    rlim_t largest_file = RLIM_INFINITY;   ///< bytes; writing beyond fails as on a full disk
    rlim_t address_space = RLIM_INFINITY;  ///< bytes, as by ulimit -v
    std::optional<int> out = {};           ///< a descriptor to be its standard output, -1: none
    std::optional<int> err = {};           ///< the same for standard error
    bool hangup_ignored = false;           ///< as nohup does
  };

  RunningProgram(const std::string& name, const Arguments& arguments)
      : RunningProgram(name, arguments, Options{}) {}
  RunningProgram(const std::string& name, const Arguments& arguments, const Options& options) {
    const std::string program = name.starts_with('/') ? name : apps_folder() + "/" + name;
    const std::string out = (output_ / "out").string();
    const std::string err = (output_ / "err").string();
    std::vector<char*> argv = {const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    process_ = ::fork();
    require(process_ >= 0, "fork failed");
    if (process_ > 0) return;
    // In the child: nothing but system calls.
    const int out_file = options.out.value_or(::open(out.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const int err_file = options.err.value_or(::open(err.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const rlimit limit = {options.largest_file, RLIM_INFINITY};
    const rlimit space = {options.address_space, RLIM_INFINITY};
    if (options.hangup_ignored) ::signal(SIGHUP, SIG_IGN);
    const auto put = [](int descriptor, int place) {
      return descriptor < 0 ? ::close(place) == 0 : ::dup2(descriptor, place) >= 0;
    };
    const bool ready = put(out_file, STDOUT_FILENO) && put(err_file, STDERR_FILENO) &&
                       ::setrlimit(RLIMIT_FSIZE, &limit) == 0 && ::setrlimit(RLIMIT_AS, &space) == 0 &&
                       (options.working_folder.empty() || ::chdir(options.working_folder.c_str()) == 0);
    if (ready) ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  ~RunningProgram() {
    if (process_ > 0) ::kill(process_, SIGKILL), ::waitpid(process_, nullptr, 0);
  }
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  pid_t process() const { return process_; }
  void send(int signal) const { ::kill(process_, signal); }

  /// Whether it has not ended yet.
  bool running() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
  }

  /// Its exit code, or minus the signal that killed it.
  int wait() {
    int status = 0;
    ::waitpid(process_, &status, 0);
    process_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  std::string out() const { return read_file(output_ / "out"); }
  std::string err() const { return read_file(output_ / "err"); }

 private:
  TemporaryFolder output_;
  pid_t process_ = 0;
};

struct Finished {
  int exit_code;
  std::string out;
  std::string err;
};

inline Finished run_app(const std::string& name, const Arguments& arguments,
                        const RunningProgram::Options& options = {}) {
  RunningProgram program(name, arguments, options);
  const int exit_code = program.wait();
  return {exit_code, program.out(), program.err()};
}

/// Class folders of noisy images, each class with a tint of its own: three classes of 14 training and 5 test
/// images, 16 rows by 24 columns.
inline void make_images(const std::filesystem::path& folder) {
  constexpr std::uint32_t height = 16;
  constexpr std::uint32_t width = 24;
  const Random random(7, "test images");
  for (std::uint32_t split = 0; split < 2; ++split) {
    const std::uint32_t count = split == 0 ? 14 : 5;
    for (std::uint32_t label = 0; label < 3; ++label) {
      for (std::uint32_t image = 0; image < count; ++image) {
        std::string pixels;
        for (std::uint32_t i = 0; i < height * width * 3; ++i) {
          const std::uint32_t noise = random.below(180, split * 3 + label, image, i);
          pixels.push_back(static_cast<char>(i % 3 == label ? noise + 70 : noise));
        }
        const auto class_folder =
            folder / (split == 0 ? "train" : "test") / ("class" + std::to_string(label));
        write_text(class_folder / (std::to_string(image) + ".png"), encode_png(height, width, pixels));
      }
    }
  }
}

/// Flags of a run by one thread on the images in `images`: 42 training images make 6 steps an epoch, the last
/// of two images.
inline Arguments small_run(const std::filesystem::path& images, const std::filesystem::path& run) {
  return {"--save_path",   run.string(),
          "--data_dir",    images.string(),
          "--dataset",     "class_folders",
          "--model_name",  "resnet8",
          "--batch_size",  "8",
          "--threads",     "1",
          "--num_workers", "1"};
}

/// The rows of a CSV file without their last `dropped` columns.
inline std::vector<std::string> csv_rows(const std::filesystem::path& path, int dropped = 0) {
  std::vector<std::string> rows;
  std::ifstream file(path);
  for (std::string row; std::getline(file, row);) {
    for (int i = 0; i < dropped; ++i) row.resize(row.rfind(','));
    rows.push_back(row);
  }
  return rows;
}

}  // namespace generous
