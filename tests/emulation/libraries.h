// What tests can ask of the emulated cuBLAS and cuDNN, and what their calls have in common.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string_view>

namespace generous::emulation {

/// Statuses with which cuDNN refuses an engine, or all (-1), while a plan is made or when it is run; 0: it
/// does not.
struct Refusal {
  std::int64_t engine = -1;
  int at_planning = 0;
  int at_execution = 0;
};

/// What is installed.
struct Libraries {
  std::size_t cudnn_version;  ///< as cudnnGetVersion returns it
  bool convolutions = true;   ///< false: cuDNN takes none, as with shapes that it has no kernel for
  Refusal refusal{};
  std::size_t more_workspace = 0;         ///< bytes that every plan says it wants beyond its need
  std::set<std::int64_t> slow_engines{};  ///< the numbers of those that take milliseconds
  std::int64_t last_engine = -1;          ///< the number of the one that was put on a stream last
};
Libraries& libraries();

/// As at the start of the program: the default Libraries, no failures to come.
void reset_libraries();

/// Makes the next call of a function that creates a handle, finalises a descriptor or computes, such as
/// "cublasGemmEx" or "cudnnBackendFinalize graph" (heuristics, plan, part), return `status` and do nothing.
void fail_library_call(std::string_view function, int status);

/// For the libraries: the status that a test asked for this call, or 0.
int planned_failure(std::string_view function);

/// For the libraries: whether there is a device to make a handle for.
bool has_device();

/// For the libraries: puts device work on a stream. False if the device has failed before, or the stream is
/// no stream, or its capture is no longer valid.
bool submit(cudaStream_t stream, std::string_view name, std::function<void()> work);

}  // namespace generous::emulation
