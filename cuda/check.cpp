#include "cuda/check.h"

#include <array>

#include "core/error.h"

namespace generous::cuda {
namespace {

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

void check(cudaError_t status, std::string_view op, std::string_view call) {
  if (status == cudaSuccess) [[likely]]
    return;
  // The runtime remembers an error until it is asked, and the libraries ask after their own launches.
  cudaGetLastError();
  const char* name = cudaGetErrorName(status);
  const char* explanation = cudaGetErrorString(status);
  if (comes_from_a_kernel(status))
    fail("a kernel that ran before: {} ({}), found when {} called {} (with --record 0 its op is named)",
         explanation, name, op, call);
  fail("{}: {} failed: {} ({})", op, call, name, explanation);
}

void wait_for(cudaStream_t stream, std::string_view op) {
  const cudaError_t status = cudaStreamSynchronize(stream);
  if (status == cudaSuccess) return;
  cudaGetLastError();
  fail("{}: {} ({})", op, cudaGetErrorString(status), cudaGetErrorName(status));
}

}  // namespace generous::cuda
