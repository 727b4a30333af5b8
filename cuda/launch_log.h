// Which op an asynchronous error belongs to. A kernel that goes wrong says so only when something waits for
// it, and from then on the driver answers every question with that error. So the GPU itself keeps the
// account: after the kernels of each op, a kernel of one thread writes the op's number into host memory,
// which stays readable. The first op whose number is not there is the one that failed.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "cuda/handles.h"

namespace generous::cuda {

class LaunchLog {
 public:
  /// What a replayed graph is noted as: within it, ops leave no marks.
  static constexpr std::string_view recorded_work = "recorded work (with --record 0 the op is named)";

  /// Notes ops on `stream`; from now on `check` asks this log.
  explicit LaunchLog(cudaStream_t stream);
  ~LaunchLog();
  LaunchLog(const LaunchLog&) = delete;
  LaunchLog& operator=(const LaunchLog&) = delete;

  /// To be called after the kernels of `op` were started; not while a graph is captured.
  void note(std::string_view op);
  /// The first op that was noted and is not complete.
  std::string culprit() const;

 private:
  /// More than the driver lets wait on a stream.
  static constexpr std::size_t remembered = 8192;

  cudaStream_t stream_;
  PinnedMemory completed_;  ///< a std::uint64_t: how many ops are complete
  std::uint64_t noted_ = 0;
  std::array<std::string, remembered> ops_;
};

}  // namespace generous::cuda
