#include "core/backend.h"

#include <array>
#include <utility>

#include "core/cpu/cpu_backend.h"

namespace generous {
namespace {

std::unique_ptr<Backend>& slot(Device device) {
  static std::array<std::unique_ptr<Backend>, 2> backends{make_cpu_backend(), nullptr};
  return backends[static_cast<std::size_t>(device)];
}

}  // namespace

Backend& backend(Device device) {
  Backend* found = slot(device).get();
  require(found != nullptr, "no CUDA backend: this build has none; the device cpu is available");
  return *found;
}

std::unique_ptr<Backend> register_backend(Device device, std::unique_ptr<Backend> backend) {
  return std::exchange(slot(device), std::move(backend));
}

bool has_backend(Device device) { return slot(device) != nullptr; }

}  // namespace generous
