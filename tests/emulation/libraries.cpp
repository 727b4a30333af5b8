#include "libraries.h"

#include <cudnn.h>

#include <map>
#include <string>
#include <utility>

#include "enqueue.h"

namespace generous::emulation {
namespace {

const Libraries installed{.cudnn_version = CUDNN_VERSION};

std::map<std::string, int, std::less<>>& failures() {
  static std::map<std::string, int, std::less<>> planned;
  return planned;
}

}  // namespace

Libraries& libraries() {
  static Libraries current = installed;
  return current;
}

void reset_libraries() {
  libraries() = installed;
  failures().clear();
}

void fail_library_call(std::string_view function, int status) { failures()[std::string(function)] = status; }

int planned_failure(std::string_view function) {
  const auto found = failures().find(function);
  return found == failures().end() ? 0 : failures().extract(found).mapped();
}

bool has_device() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
}

bool submit(cudaStream_t stream, std::string_view name, std::function<void()> work) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  if (cudaStreamIsCapturing(stream, &capture) != cudaSuccess || capture == cudaStreamCaptureStatusInvalidated)
    return false;
  enqueue(stream, name, std::move(work));
  return true;
}

}  // namespace generous::emulation
