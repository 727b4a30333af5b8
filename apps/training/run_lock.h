// One program at a time in a run's folder.
#pragma once

#include <filesystem>

#include "core/open_file.h"

namespace generous {

/// Holds the folder, which must exist, while it lives: by a lock on the file .lock in it, which says who
/// holds it and is removed at the end. The lock of a killed process ends with it.
class RunLock {
 public:
  /// Throws Error with the holder's process id and host if another program holds the folder.
  explicit RunLock(const std::filesystem::path& folder);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  /// False on a file system that has no locks: nothing then keeps other programs out.
  bool holds() const { return holds_; }

 private:
  std::filesystem::path path_;
  OpenFile file_;
  bool holds_;
};

}  // namespace generous
