#include "cuda/check.h"

#include <array>

#include "core/error.h"
#include "cuda/launch_log.h"

namespace generous::cuda {
namespace {

// Only one backend lives at a time, so there is one log.
const LaunchLog* current_log = nullptr;

/// Errors of a kernel that ran: whichever call comes next returns them, and nothing works afterwards.
bool comes_from_a_kernel(cudaError_t status) {
  constexpr std::array kernel_errors{cudaErrorIllegalAddress,      cudaErrorMisalignedAddress,
                                     cudaErrorInvalidAddressSpace, cudaErrorInvalidPc,
                                     cudaErrorIllegalInstruction,  cudaErrorAssert,
                                     cudaErrorHardwareStackError,  cudaErrorLaunchFailure,
                                     cudaErrorLaunchTimeout,       cudaErrorECCUncorrectable};
  for (const cudaError_t known : kernel_errors)
    if (status == known) return true;
  return false;
}

}  // namespace

void report_through(const LaunchLog* log) { current_log = log; }

void check(cudaError_t status, std::string_view op, std::string_view call) {
  if (status == cudaSuccess) [[likely]]
    return;
  // The runtime remembers an error until it is asked, and the libraries ask after their own launches.
  cudaGetLastError();
  const char* name = cudaGetErrorName(status);
  const char* explanation = cudaGetErrorString(status);
  if (comes_from_a_kernel(status) && current_log != nullptr)
    fail("{}: {} ({}), found when {} called {}", current_log->culprit(), explanation, name, op, call);
  fail("{}: {} failed: {} ({})", op, call, name, explanation);
}

}  // namespace generous::cuda
