#include "apps/training/run_lock.h"

#include <fmt/format.h>

#include <array>
#include <climits>

#include "core/error.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

OpenFile open_lock_file(const fs::path& path) {
  OpenFile file = OpenFile::open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK);
  const int reason = errno;
  if (!file.is_open()) fail("cannot lock {}: {}", path.string(), system_reason(reason));
  return file;
}

std::string this_process() {
  std::array<char, HOST_NAME_MAX + 1> host{};
  ::gethostname(host.data(), host.size() - 1);
  return fmt::format("process {} on host {}", ::getpid(), host.data());
}

/// What the holder wrote into its file, unless that was not written yet.
std::string holder(OpenFile& file) {
  std::array<char, 512> text;
  const ssize_t bytes = file.read(text);
  return bytes > 0 ? std::string(text.data(), static_cast<std::size_t>(bytes)) : "another program";
}

/// Locks the file at `path`; false if the file system cannot.
bool lock_file(const fs::path& path, OpenFile& file) {
  while (true) {
    if (!file.lock(LOCK_EX | LOCK_NB)) {
      const int reason = errno;
      if (reason == EWOULDBLOCK)
        fail(
            "{} is in use by {}: wait until that ends, or stop it and go on with --resume, or choose another "
            "--save_path",
            path.parent_path().string(), holder(file));
      return false;
    }
    // Its last holder may have removed it since it was opened: then the name means another file, or none.
    struct stat status {};
    if (file.status(status) && status.st_nlink > 0) return true;
    file = open_lock_file(path);
  }
}

}  // namespace

RunLock::RunLock(const fs::path& folder)
    : path_(folder / ".lock"), file_(open_lock_file(path_)), holds_(lock_file(path_, file_)) {
  // For people and for messages alone: a full disk is no reason not to go on.
  if (holds_ && file_.truncate()) static_cast<void>(file_.write(this_process()));
}

RunLock::~RunLock() {
  if (holds_) ::unlink(path_.c_str());
}

}  // namespace generous
