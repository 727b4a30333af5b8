// Preloaded into a program (LD_PRELOAD), makes one of the calls fail by which it changes a folder: as on a
// full disk, on a damaged one, or as if the program were killed there. From the environment:
//   FAULT_FOLDER   the folder's absolute path; calls on files in it are counted from 1
//   FAULT_CALL     which one fails; 0: none
//   FAULT_KIND     once; onwards: all later ones too; half: a write writes half, the next call fails;
//                  kill: SIGKILL instead, after half of what a write writes
//   FAULT_ERROR    errno of the failure
//   FAULT_REPORT   a file, outside of the folder, to which the name of every counted call is appended
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>

namespace {

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The system's own function of this name.
template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

enum class Fate { succeeds, fails, writes_half, dies };

class Plan {
 public:
  /// What becomes of a call on a file at `path`.
  Fate next(std::string_view call, std::string_view path) {
    const std::lock_guard lock(mutex_);
    if (folder_.empty() || !path.starts_with(folder_)) return Fate::succeeds;
    ++calls_;
    report(call);
    if (calls_ == call_ + 1 && kind_ == "half") return Fate::fails;
    if (calls_ < call_ || (calls_ > call_ && kind_ != "onwards") || call_ == 0) return Fate::succeeds;
    return kind_ == "kill" ? Fate::dies : kind_ == "half" ? Fate::writes_half : Fate::fails;
  }
  int fail() const {
    errno = error_;
    return -1;
  }

 private:
  void report(std::string_view call) const {
    if (report_.empty()) return;
    const std::string line = std::string(call) + "\n";
    const int file =
        real<int(const char*, int, ...)>("open")(report_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file < 0 || real<ssize_t(int, const void*, size_t)>("write")(file, line.data(), line.size()) < 0)
      std::abort();
    ::close(file);
  }

  const std::string folder_ = setting("FAULT_FOLDER");
  const std::string kind_ = setting("FAULT_KIND");
  const std::string report_ = setting("FAULT_REPORT");
  const long call_ = std::atol(setting("FAULT_CALL").c_str());
  const int error_ = std::atoi(setting("FAULT_ERROR").c_str());
  std::mutex mutex_;
  long calls_ = 0;
};

Plan& plan() {
  static Plan plan;
  return plan;
}

std::string path_of(int file) {
  std::array<char, 4096> path;
  const ssize_t size =
      ::readlink(("/proc/self/fd/" + std::to_string(file)).c_str(), path.data(), path.size());
  return {path.data(), size < 0 ? 0 : static_cast<std::size_t>(size)};
}

/// A call that is done wholly or not at all.
template <class Call>
int done_or_failed(std::string_view name, std::string_view path, Call call) {
  const Fate fate = plan().next(name, path);
  if (fate == Fate::dies) std::raise(SIGKILL);
  return fate == Fate::fails ? plan().fail() : call();
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  std::va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  const auto call = [&] { return real<int(const char*, int, ...)>("open")(path, flags, mode); };
  return (flags & (O_WRONLY | O_RDWR)) == 0 ? call() : done_or_failed("open", path, call);
}

ssize_t write(int file, const void* bytes, size_t count) {
  const auto call = real<ssize_t(int, const void*, size_t)>("write");
  const Fate fate = plan().next("write", path_of(file));
  if (fate == Fate::succeeds) return call(file, bytes, count);
  if (fate == Fate::fails) return plan().fail();
  const ssize_t written = call(file, bytes, (count + 1) / 2);
  if (fate == Fate::dies) std::raise(SIGKILL);
  return written;
}

int fsync(int file) {
  return done_or_failed("fsync", path_of(file), [&] { return real<int(int)>("fsync")(file); });
}

int ftruncate(int file, off_t size) noexcept {
  return done_or_failed("ftruncate", path_of(file),
                        [&] { return real<int(int, off_t)>("ftruncate")(file, size); });
}

int rename(const char* from, const char* to) noexcept {
  return done_or_failed("rename", to,
                        [&] { return real<int(const char*, const char*)>("rename")(from, to); });
}

int mkdir(const char* path, mode_t mode) noexcept {
  return done_or_failed("mkdir", path, [&] { return real<int(const char*, mode_t)>("mkdir")(path, mode); });
}

}  // extern "C"
