#include "core/backend.h"

#include <array>
#include <mutex>
#include <utility>

#include "core/cpu/cpu_backend.h"
#ifdef GENEROUS_WITH_CUDA
#include "cuda/make_cuda_backend.h"
#endif

namespace generous {
namespace {

/// Never destroyed: at the end of the process the GPU's runtime may be gone before whatever is static here,
/// and its libraries must not be called any more.
std::unique_ptr<Backend>& slot(Device device) {
  static auto& backends = *new std::array<std::unique_ptr<Backend>, 2>{make_cpu_backend(), nullptr};
  return backends[static_cast<std::size_t>(device)];
}

#ifndef GENEROUS_WITH_CUDA
std::unique_ptr<Backend> make_cuda_backend(int /*number*/) {
  fail(
      "no CUDA backend: this build has none (built with GENEROUS_CUDA=OFF, or where nvcc, cuBLAS or cuDNN "
      "was not found); the device cpu is available");
}
#endif

std::mutex& cuda_mutex() {
  static std::mutex mutex;
  return mutex;
}

/// The backend of the GPU is made when it is first asked for: it takes seconds and GPU memory.
Backend& cuda_backend() {
  const std::lock_guard lock(cuda_mutex());
  std::unique_ptr<Backend>& found = slot(Device::cuda);
  if (found == nullptr) found = make_cuda_backend(0);
  return *found;
}

}  // namespace

Backend& backend(Device device) { return device == Device::cuda ? cuda_backend() : *slot(Device::cpu); }

void use_gpu(int number) {
  const std::lock_guard lock(cuda_mutex());
  slot(Device::cuda) = make_cuda_backend(number);
}

#ifndef GENEROUS_WITH_CUDA
int visible_gpus() { return 0; }
#endif

std::unique_ptr<Backend> register_backend(Device device, std::unique_ptr<Backend> backend) {
  return std::exchange(slot(device), std::move(backend));
}

bool has_backend(Device device) {
  try {
    backend(device);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace generous
