// Names and explanations of errors, and the last one.
#include "runtime.h"

namespace {

struct Explained {
  cudaError_t error;
  const char* name;
  const char* text;
};

#define GENEROUS_ERROR(name, text) \
  { name, #name, text }
constexpr Explained errors[] = {
    GENEROUS_ERROR(cudaSuccess, "no error"),
    GENEROUS_ERROR(cudaErrorInvalidValue, "invalid argument"),
    GENEROUS_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    GENEROUS_ERROR(cudaErrorInitializationError, "initialization error"),
    GENEROUS_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    GENEROUS_ERROR(cudaErrorInvalidDevicePointer, "invalid device pointer"),
    GENEROUS_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    GENEROUS_ERROR(cudaErrorInsufficientDriver,
                   "CUDA driver version is insufficient for CUDA runtime version"),
    GENEROUS_ERROR(cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable"),
    GENEROUS_ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    GENEROUS_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    GENEROUS_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    GENEROUS_ERROR(cudaErrorInvalidKernelImage, "device kernel image is invalid"),
    GENEROUS_ERROR(cudaErrorNoKernelImageForDevice,
                   "no kernel image is available for execution on the device"),
    GENEROUS_ERROR(cudaErrorECCUncorrectable, "uncorrectable ECC error encountered"),
    GENEROUS_ERROR(cudaErrorInvalidPtx, "a PTX JIT compilation failed"),
    GENEROUS_ERROR(cudaErrorUnsupportedPtxVersion,
                   "the provided PTX was compiled with an unsupported toolchain."),
    GENEROUS_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    GENEROUS_ERROR(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    GENEROUS_ERROR(cudaErrorNotReady, "device not ready"),
    GENEROUS_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    GENEROUS_ERROR(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    GENEROUS_ERROR(cudaErrorLaunchTimeout, "the launch timed out and was terminated"),
    GENEROUS_ERROR(cudaErrorAssert, "device-side assert triggered"),
    GENEROUS_ERROR(cudaErrorHardwareStackError, "hardware stack error"),
    GENEROUS_ERROR(cudaErrorIllegalInstruction, "an illegal instruction was encountered"),
    GENEROUS_ERROR(cudaErrorMisalignedAddress, "misaligned address"),
    GENEROUS_ERROR(cudaErrorInvalidAddressSpace, "operation not supported on global/shared address space"),
    GENEROUS_ERROR(cudaErrorInvalidPc, "invalid program counter"),
    GENEROUS_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    GENEROUS_ERROR(cudaErrorNotPermitted, "operation not permitted"),
    GENEROUS_ERROR(cudaErrorNotSupported, "operation not supported"),
    GENEROUS_ERROR(cudaErrorSystemDriverMismatch,
                   "system has unsupported display driver / cuda driver combination"),
    GENEROUS_ERROR(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    GENEROUS_ERROR(cudaErrorStreamCaptureInvalidated,
                   "operation failed due to a previous error during capture"),
    GENEROUS_ERROR(cudaErrorStreamCaptureMerge,
                   "operation would result in a merge of separate capture sequences"),
    GENEROUS_ERROR(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began"),
    GENEROUS_ERROR(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    GENEROUS_ERROR(cudaErrorStreamCaptureIsolation,
                   "dependency created on uncaptured work in another stream"),
    GENEROUS_ERROR(cudaErrorStreamCaptureImplicit,
                   "operation would make the legacy stream depend on a capturing blocking stream"),
    GENEROUS_ERROR(cudaErrorCapturedEvent,
                   "operation not permitted on an event last recorded in a capturing stream"),
    GENEROUS_ERROR(cudaErrorStreamCaptureWrongThread,
                   "attempt to terminate a thread-local capture sequence from another thread"),
    GENEROUS_ERROR(cudaErrorUnknown, "unknown error"),
};
#undef GENEROUS_ERROR

/// Null for a number that is no error.
const Explained* find(cudaError_t error) {
  for (const Explained& known : errors)
    if (known.error == error) return &known;
  return nullptr;
}

}  // namespace

using generous::emulation::last_error;
using generous::emulation::runtime;

const char* cudaGetErrorName(cudaError_t error) {
  const Explained* found = find(error);
  return found == nullptr ? "unrecognized error code" : found->name;
}

const char* cudaGetErrorString(cudaError_t error) {
  const Explained* found = find(error);
  return found == nullptr ? "unrecognized error code" : found->text;
}

cudaError_t cudaPeekAtLastError() {
  const std::lock_guard lock(runtime().mutex);
  return runtime().error != cudaSuccess ? runtime().error : last_error();
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = cudaPeekAtLastError();
  last_error() = cudaSuccess;
  return error;
}
