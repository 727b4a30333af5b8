#include "core/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include "core/error.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

std::string system_reason(int error) { return std::system_category().message(error); }

/// Calls a system function again for as long as a signal interrupts it.
template <class Call>
auto uninterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

/// An open file, closed at the end. Like the system's calls, `open` leaves its reason for failing in errno.
class OpenFile {
 public:
  static OpenFile open(const fs::path& path, int flags) {
    return OpenFile(uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); }));
  }
  OpenFile(OpenFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  ~OpenFile() {
    if (is_open()) ::close(descriptor_);
  }

  bool is_open() const { return descriptor_ >= 0; }
  ssize_t read(std::span<char> into) {
    return uninterrupted([&] { return ::read(descriptor_, into.data(), into.size()); });
  }
  ssize_t write(std::string_view from) {
    return uninterrupted([&] { return ::write(descriptor_, from.data(), from.size()); });
  }
  bool sync() {
    return uninterrupted([&] { return ::fsync(descriptor_); }) == 0;
  }
  bool status(struct stat& status) const { return ::fstat(descriptor_, &status) == 0; }

 private:
  explicit OpenFile(int descriptor) : descriptor_(descriptor) {}

  int descriptor_;
};

/// A new, empty file in `folder`, removed at the end unless it was renamed.
class TemporaryFile {
 public:
  TemporaryFile(const fs::path& folder, const std::string& name) : file_(create(folder, name, path_)) {}
  ~TemporaryFile() {
    if (is_open() && !renamed_) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  bool is_open() const { return file_.is_open(); }
  OpenFile& file() { return file_; }
  bool rename_to(const fs::path& target) {
    renamed_ = ::rename(path_.c_str(), target.c_str()) == 0;
    return renamed_;
  }

 private:
  /// O_EXCL: another thread's or process's file, or one left by a killed process, is never taken over.
  static OpenFile create(const fs::path& folder, const std::string& name, fs::path& path) {
    for (int attempt = 0;; ++attempt) {
      path = folder / fmt::format(".{}.{}-{}.tmp", name, ::getpid(), attempt);
      OpenFile file = OpenFile::open(path, O_WRONLY | O_CREAT | O_EXCL);
      if (file.is_open() || errno != EEXIST) return file;
    }
  }

  fs::path path_;
  OpenFile file_;
  bool renamed_ = false;
};

}  // namespace

std::string read_file(const fs::path& path, std::size_t max_bytes) {
  const auto fail_with_reason = [&path] {
    const int error = errno;
    fail("cannot read {}: {}", path.string(), system_reason(error));
  };
  OpenFile file = OpenFile::open(path, O_RDONLY);
  struct stat status {};
  if (!file.is_open() || !file.status(status)) fail_with_reason();
  if (S_ISDIR(status.st_mode)) fail("cannot read {}: it is a folder, not a file", path.string());
  const auto expected_bytes = static_cast<std::size_t>(status.st_size);  // 0 for pipes and the like
  const auto fail_as_too_large = [&] {
    fail("{} is larger than the {} bytes allowed", path.string(), max_bytes);
  };
  if (expected_bytes > max_bytes) fail_as_too_large();

  std::string content;
  std::size_t bytes = 0;
  try {
    while (true) {
      // One byte more than the file should have: the end shows without growing the buffer.
      if (bytes == content.size()) content.resize(std::max(expected_bytes + 1, 2 * bytes));
      const ssize_t read = file.read(std::span(content).subspan(bytes));
      if (read < 0) fail_with_reason();
      if (read == 0) break;
      bytes += static_cast<std::size_t>(read);
      if (bytes > max_bytes) fail_as_too_large();
    }
  } catch (const std::bad_alloc&) {
    fail("cannot read {}: not enough memory for its {} bytes", path.string(),
         std::max(expected_bytes, bytes));
  }
  content.resize(bytes);
  return content;
}

void write_file_atomically(const fs::path& path, std::span<const std::string_view> parts,
                           Durability durability) {
  const auto fail_with_reason = [&path](std::string_view step) {
    const int error = errno;
    fail("cannot write {}: {} ({})", path.string(), system_reason(error), step);
  };
  std::error_code ignored;  // what cannot be looked at fails below, with its reason
  const fs::file_type type = fs::status(path, ignored).type();
  if (type == fs::file_type::directory) fail("cannot write {}: it is a folder, not a file", path.string());
  // The rename would put an ordinary file in the place of a device such as /dev/null.
  if (fs::exists(fs::file_status(type)) && type != fs::file_type::regular)
    fail("cannot write {}: it is there and is not an ordinary file", path.string());
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  // Opened first: afterwards only the disk itself can fail.
  OpenFile open_folder = OpenFile::open(folder, O_RDONLY | O_DIRECTORY);
  if (!open_folder.is_open()) fail_with_reason("opening its folder");
  TemporaryFile temporary(folder, path.filename().string());
  if (!temporary.is_open()) fail_with_reason("creating a temporary file beside it");
  for (std::string_view part : parts) {
    while (!part.empty()) {
      const ssize_t written = temporary.file().write(part);
      if (written < 0) fail_with_reason("writing a temporary file beside it");
      part.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  // The file before the rename, the folder after it: a power failure leaves the old content or the new.
  const bool sync = durability == Durability::on_disk;
  if (sync && !temporary.file().sync()) fail_with_reason("syncing a temporary file beside it");
  if (!temporary.rename_to(path)) fail_with_reason("renaming a temporary file to it");
  // A file system that cannot sync folders answers EINVAL: there is nothing more to be done on it.
  if (sync && !open_folder.sync() && errno != EINVAL) fail_with_reason("syncing its folder");
}

void write_file_atomically(const fs::path& path, std::string_view content) {
  write_file_atomically(path, std::span(&content, 1));
}

void create_writable_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail("cannot create the folder {}: {}", path.string(), error.message());
  const TemporaryFile probe(path, "write_test");
  const int reason = errno;
  if (!probe.is_open())
    fail("cannot create files in the folder {}: {}", path.string(), system_reason(reason));
}

}  // namespace generous
