// What tests can ask of the emulated cuBLAS and cuDNN, and what their calls have in common.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <functional>
#include <string_view>

namespace generous::emulation {

/// What is installed.
struct Libraries {
  std::size_t cudnn_version;  ///< as cudnnGetVersion returns it
  bool convolutions = true;   ///< false: cuDNN takes none, as with shapes that it has no kernel for
};
Libraries& libraries();

/// As at the start of the program: the default Libraries, no failures to come.
void reset_libraries();

/// Makes the next call of a function that creates a handle, chooses an algorithm or computes, such as
/// "cublasGemmEx", return `status` and do nothing.
void fail_library_call(std::string_view function, int status);

/// For the libraries: the status that a test asked for this call, or 0.
int planned_failure(std::string_view function);

/// For the libraries: whether there is a device to make a handle for.
bool has_device();

/// For the libraries: puts device work on a stream. False if the device has failed before, or the stream is
/// no stream, or its capture is no longer valid.
bool submit(cudaStream_t stream, std::string_view name, std::function<void()> work);

}  // namespace generous::emulation
