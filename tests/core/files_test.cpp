#include "core/files.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <thread>
#include <vector>

#include "tests/temporary_folder.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

void write_plainly(const fs::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
}

std::string read_plainly(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::size_t count_entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

/// The message is one line that holds the path and the fragment.
void check_message(const std::string& message, const fs::path& path, const std::string& fragment) {
  CAPTURE(message);
  CHECK(message.find(path.string()) != std::string::npos);
  CHECK(message.find(fragment) != std::string::npos);
  CHECK(message.find('\n') == std::string::npos);
}

/// While one lives, no file of this process grows beyond `bytes`: to a writer, the same as a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &limit_);
    const rlimit lowered = {bytes, limit_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &lowered);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &limit_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit limit_{};
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("read_file returns every byte") {
  const TemporaryFolder folder;
  for (const std::size_t size : {0U, 1U, 4096U, 1'000'003U}) {
    std::string content(size, '\0');
    for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 7 + i / 251);
    write_plainly(folder / "file", content);
    CHECK(read_file(folder / "file") == content);
    CHECK(read_file(folder / "file", size) == content);
  }
  // The system gives the size of such files as zero.
  CHECK(read_file("/proc/self/status").find("VmSize") != std::string::npos);
}

TEST_CASE("read_file says what is wrong") {
  const TemporaryFolder folder;
  write_plainly(folder / "file", "12345");
  const auto message = [](const fs::path& path, std::size_t max_bytes) {
    return error_of([&] { read_file(path, max_bytes); });
  };
  check_message(message(folder / "absent", 100), folder / "absent", "No such file or directory");
  check_message(message(folder / "file/below", 100), folder / "file/below", "Not a directory");
  check_message(message(folder.path(), 100), folder.path(), "folder");
  check_message(message(folder / "file", 4), folder / "file", "larger than the 4 bytes");
  check_message(message("/dev/zero", 1000), "/dev/zero", "it is a pipe, socket or device");
  // Nobody ever writes to it: reading would wait for ever.
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  check_message(message(folder / "pipe", 100), folder / "pipe", "it is a pipe, socket or device");
  fs::create_symlink("circle", folder / "circle");
  check_message(message(folder / "circle", 100), folder / "circle", "Too many levels of symbolic links");
  const std::string long_name(300, 'n');
  check_message(message(folder / long_name, 100), folder / long_name, "File name too long");
}

TEST_CASE("file_exists says yes, no, or why it cannot tell") {
  const TemporaryFolder folder;
  write_plainly(folder / "file", "12345");
  CHECK(file_exists(folder / "file"));
  CHECK(file_exists(folder.path()));
  CHECK_FALSE(file_exists(folder / "absent"));
  CHECK_FALSE(file_exists(folder / "file/below"));
  fs::create_symlink("absent", folder / "dangling");
  CHECK_FALSE(file_exists(folder / "dangling"));
  const auto message = [](const fs::path& path) { return error_of([&] { file_exists(path); }); };
  fs::create_symlink("circle", folder / "circle");
  check_message(message(folder / "circle"), folder / "circle", "Too many levels of symbolic links");
  const std::string long_name(300, 'n');
  check_message(message(folder / long_name), folder / long_name, "File name too long");
}

TEST_CASE("write_file_atomically creates and replaces") {
  const TemporaryFolder folder;
  const fs::path path = folder / "file";
  const std::string zeros(100'000, '\0');
  write_file_atomically(path, zeros);
  CHECK(read_plainly(path) == zeros);
  write_file_atomically(path, std::vector<std::string_view>{"one ", "", "two ", zeros, "three"});
  CHECK(read_plainly(path) == "one two " + zeros + "three");
  write_file_atomically(path, "");
  CHECK(read_plainly(path).empty());
  CHECK(count_entries(folder.path()) == 1);

  // As accessible as any other new file.
  write_plainly(folder / "other", "");
  CHECK(fs::status(path).permissions() == fs::status(folder / "other").permissions());
}

TEST_CASE("write_file_atomically accepts a name without a folder") {
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  write_file_atomically("file", "content");
  fs::current_path(before);
  CHECK(read_plainly(folder / "file") == "content");
}

TEST_CASE("a failed write leaves everything as it was and says why") {
  const TemporaryFolder folder;
  write_plainly(folder / "file", "old");
  fs::create_directories(folder / "folder/below");
  const auto message = [](const fs::path& path) {
    return error_of([&] { write_file_atomically(path, "new"); });
  };
  check_message(message(folder / "file/below"), folder / "file/below", "Not a directory");
  check_message(message(folder / "absent/file"), folder / "absent/file", "No such file or directory");
  check_message(message(folder / "folder"), folder / "folder", "folder, not a file");
  check_message(message("/proc/generous"), "/proc/generous", "cannot write");
  const std::string long_name(300, 'n');
  check_message(message(folder / long_name), folder / long_name, "File name too long");
  CHECK(count_entries(folder.path()) == 2);
  CHECK(fs::is_directory(folder / "folder/below"));
  CHECK(read_plainly(folder / "file") == "old");
}

TEST_CASE("only an ordinary file is replaced, and a link instead of what it points to") {
  const TemporaryFolder folder;
  const fs::path pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  check_message(error_of([&] { write_file_atomically(pipe, "new"); }), pipe, "not an ordinary file");
  CHECK(fs::is_fifo(pipe));

  write_plainly(folder / "file", "old");
  fs::create_symlink("file", folder / "link");
  write_file_atomically(folder / "link", "new");
  CHECK(read_plainly(folder / "file") == "old");
  CHECK(read_plainly(folder / "link") == "new");
  fs::create_symlink("absent", folder / "dangling");
  write_file_atomically(folder / "dangling", "new");
  CHECK(read_plainly(folder / "dangling") == "new");
  CHECK(!fs::exists(folder / "absent"));
}

TEST_CASE("a full disk harms nothing that was saved before") {
  const TemporaryFolder folder;
  const fs::path path = folder / "file";
  write_plainly(path, "old");
  const std::string content(100'000, 'x');
  std::string message;
  {
    const FileSizeLimit limit(50'000);
    message = error_of([&] { write_file_atomically(path, content); });
  }
  check_message(message, path, "File too large");
  CHECK(read_plainly(path) == "old");
  CHECK(count_entries(folder.path()) == 1);
  write_file_atomically(path, content);
  CHECK(read_plainly(path) == content);
}

TEST_CASE("readers see the old content or the new, and writers do not disturb each other") {
  const TemporaryFolder folder;
  const fs::path path = folder / "file";
  write_file_atomically(path, std::string(1000, 'a'));
  std::atomic<bool> writing = true;
  std::atomic<int> mixed = 0;
  std::thread reader([&] {
    while (writing) {
      const std::string content = read_plainly(path);
      const auto expected = static_cast<std::size_t>(1000 * (content.empty() ? 0 : content[0] - 'a' + 1));
      if (content.empty() || content != std::string(expected, content[0])) ++mixed;
    }
  });
  std::vector<std::thread> writers;
  std::atomic<int> failures = 0;
  for (int w = 0; w < 3; ++w)
    writers.emplace_back([&, w] {
      const std::string content(static_cast<std::size_t>(1000 * (w + 2)), static_cast<char>('b' + w));
      for (int i = 0; i < 50; ++i)
        if (!error_of([&] { write_file_atomically(path, content); }).empty()) ++failures;
    });
  for (std::thread& writer : writers) writer.join();
  writing = false;
  reader.join();
  CHECK(mixed == 0);
  CHECK(failures == 0);
  CHECK(count_entries(folder.path()) == 1);
}

TEST_CASE("files of killed writers are removed, those being written and all others are not") {
  const TemporaryFolder folder;
  const std::string content(std::size_t{1} << 20, 'x');
  write_plainly(folder / "model", content);
  // Killed at some moment of its endless writing; again, if that was between two files.
  for (int attempt = 0; attempt < 100 && count_entries(folder.path()) < 2; ++attempt) {
    const pid_t writer = ::fork();
    REQUIRE(writer >= 0);
    if (writer == 0)
      while (true) write_file_atomically(folder / "model", content);
    ::usleep(5000);
    ::kill(writer, SIGKILL);
    ::waitpid(writer, nullptr, 0);
  }
  REQUIRE(count_entries(folder.path()) == 2);

  const fs::path held = folder / ".model.1-0.tmp";  // as another host's process would hold it
  write_plainly(held, "part");
  const int descriptor = ::open(held.c_str(), O_WRONLY);
  REQUIRE(::flock(descriptor, LOCK_EX) == 0);
  for (const char* name : {"notes.tmp", ".model.12.tmp", ".12-3.tmp", ".model.12-3.tmp~", "params.json"})
    write_plainly(folder / name, "the user's");
  REQUIRE(::mkfifo((folder / ".pipe.1-0.tmp").c_str(), 0600) == 0);
  fs::create_directory(folder / ".folder.1-0.tmp");
  fs::create_symlink("params.json", folder / ".link.1-0.tmp");
  CHECK(remove_abandoned_files(folder.path()) == 1);
  CHECK(count_entries(folder.path()) == 10);
  CHECK(read_plainly(folder / "model") == content);
  CHECK(fs::exists(held));
  ::close(descriptor);
  CHECK(remove_abandoned_files(folder.path()) == 1);
  CHECK_FALSE(fs::exists(held));
  CHECK(remove_abandoned_files(folder / "absent") == 0);
}

TEST_CASE("removing abandoned files while others write makes no write fail") {
  const TemporaryFolder folder;
  std::atomic<bool> writing = true;
  std::thread cleaner([&] {
    while (writing) remove_abandoned_files(folder.path());
  });
  std::atomic<int> failures = 0;
  std::vector<std::thread> writers;
  for (const char* name : {"one", "two"})
    writers.emplace_back([&, name] {
      for (int i = 0; i < 300; ++i)
        if (!error_of([&] {
               const std::string_view part = "content";
               write_file_atomically(folder / name, std::span(&part, 1), Durability::in_memory);
             }).empty())
          ++failures;
    });
  for (std::thread& writer : writers) writer.join();
  writing = false;
  cleaner.join();
  CHECK(failures == 0);
  CHECK(count_entries(folder.path()) == 2);
}

TEST_CASE("create_writable_folder creates what is missing and checks what is there") {
  const TemporaryFolder folder;
  const fs::path path = folder / "a/b/c";
  create_writable_folder(path);
  CHECK(fs::is_directory(path));
  create_writable_folder(path);
  CHECK(fs::is_empty(path));

  write_plainly(folder / "file", "old");
  const auto message = [](const fs::path& where) { return error_of([&] { create_writable_folder(where); }); };
  check_message(message(folder / "file"), folder / "file", "Not a directory");
  check_message(message(folder / "file/below"), folder / "file/below", "Not a directory");
  check_message(message("/proc/generous"), "/proc/generous", "cannot create the folder");
  check_message(message("/proc"), "/proc", "cannot create files in the folder");
  CHECK(read_plainly(folder / "file") == "old");
}
