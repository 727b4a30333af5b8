// An open file by the system's own calls, for those who need more than a stream gives: locks, syncs, reasons.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace generous {

/// What the system says about an `errno`.
inline std::string system_reason(int error) { return std::system_category().message(error); }

/// Calls a system function again for as long as a signal interrupts it.
template <class Call>
auto uninterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

/// Closed at the end. Like the system's calls, all of these leave their reason for failing in errno.
class OpenFile {
 public:
  /// `flags` as of open(2).
  static OpenFile open(const std::filesystem::path& path, int flags) {
    return OpenFile(uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); }));
  }
  OpenFile(OpenFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  OpenFile& operator=(OpenFile&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~OpenFile() {
    if (is_open()) ::close(descriptor_);
  }

  bool is_open() const { return descriptor_ >= 0; }
  // They change the file: NOLINTBEGIN(readability-make-member-function-const)
  /// The number of bytes, 0 at the end, or -1.
  ssize_t read(std::span<char> into) {
    return uninterrupted([&] { return ::read(descriptor_, into.data(), into.size()); });
  }
  /// The number of bytes, perhaps not all, or -1.
  ssize_t write(std::string_view from) {
    return uninterrupted([&] { return ::write(descriptor_, from.data(), from.size()); });
  }
  bool truncate() {
    return uninterrupted([&] { return ::ftruncate(descriptor_, 0); }) == 0;
  }
  bool sync() {
    return uninterrupted([&] { return ::fsync(descriptor_); }) == 0;
  }
  bool status(struct stat& status) const { return ::fstat(descriptor_, &status) == 0; }
  /// `operation` as of flock(2). A lock ends when the file is closed, so at the latest with the process.
  bool lock(int operation) {
    return uninterrupted([&] { return ::flock(descriptor_, operation); }) == 0;
  }
  // NOLINTEND(readability-make-member-function-const)

 private:
  explicit OpenFile(int descriptor) : descriptor_(descriptor) {}

  int descriptor_;
};

}  // namespace generous
