#include "core/files.h"

#include <algorithm>
#include <new>
#include <string_view>

#include "core/error.h"
#include "core/open_file.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

/// A new, empty file in `folder`, removed at the end unless it was renamed.
///
/// It is locked while it is written: an unlocked one belongs to nobody any more. Process ids would not tell,
/// as they are used again, and mean nothing on another host that shares the folder; the lock does not outlive
/// its process, and network file systems carry it to other hosts.
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
      if (!file.is_open() && errno == EEXIST) continue;
      if (!file.is_open() || !was_removed(file)) return file;
    }
  }

  /// Locks the file. Before it was locked, remove_abandoned_files may have taken it for an abandoned one:
  /// then it has no name any more. A file system without locks never removes any.
  static bool was_removed(OpenFile& file) {
    struct stat status {};
    return file.lock(LOCK_EX) && file.status(status) && status.st_nlink == 0;
  }

  fs::path path_;
  OpenFile file_;
  bool renamed_ = false;
};

/// Takes `end` from the end of `text`; whether it was there.
bool take_end(std::string_view& text, std::string_view end) {
  const bool found = text.ends_with(end);
  if (found) text.remove_suffix(end.size());
  return found;
}

/// Takes at least one digit.
bool take_number(std::string_view& text) {
  const std::size_t rest = text.find_last_not_of("0123456789") + 1;
  const bool found = rest < text.size();
  text = text.substr(0, rest);
  return found;
}

/// Whether TemporaryFile makes such names: .NAME.PROCESS-ATTEMPT.tmp
bool is_temporary_name(std::string_view name) {
  return take_end(name, ".tmp") && take_number(name) && take_end(name, "-") && take_number(name) &&
         take_end(name, ".") && name.starts_with('.') && name.size() > 1;
}

/// Removes the file unless it is being written; whether it did.
bool remove_if_abandoned(const fs::path& path) {
  OpenFile file = OpenFile::open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
  struct stat opened {};
  struct stat named {};
  if (!file.is_open() || !file.lock(LOCK_EX | LOCK_NB) || !file.status(opened)) return false;
  // Meanwhile its writer may have finished, and begun another file of this name. While we hold the lock, no
  // writer does anything with the file that we opened.
  const bool same = ::lstat(path.c_str(), &named) == 0 && S_ISREG(named.st_mode) &&
                    named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
  return same && ::unlink(path.c_str()) == 0;
}

}  // namespace

bool file_exists(const fs::path& path) {
  std::error_code error;
  const bool found = fs::exists(path, error);
  if (error) fail("cannot look at {}: {}", path.string(), error.message());
  return found;
}

std::string read_file(const fs::path& path, std::size_t max_bytes) {
  const auto fail_with_reason = [&path] {
    const int error = errno;
    fail("cannot read {}: {}", path.string(), system_reason(error));
  };
  OpenFile file = OpenFile::open(path, O_RDONLY | O_NONBLOCK);  // without waiting for a pipe's writer
  struct stat status {};
  if (!file.is_open() || !file.status(status)) fail_with_reason();
  if (S_ISDIR(status.st_mode)) fail("cannot read {}: it is a folder, not a file", path.string());
  if (!S_ISREG(status.st_mode))
    fail("cannot read {}: it is a pipe, socket or device, not a file", path.string());
  const auto expected_bytes =
      static_cast<std::size_t>(status.st_size);  // 0 for those that the system makes up
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

std::size_t remove_abandoned_files(const fs::path& folder) {
  std::size_t removed = 0;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (is_temporary_name(entry->path().filename().native()) && remove_if_abandoned(entry->path())) ++removed;
  return removed;
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
