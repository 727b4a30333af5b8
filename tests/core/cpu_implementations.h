// Runs a test on every implementation of the CPU backend that this build has.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "core/cpu/cpu_backend.h"

namespace generous {

/// While it lives, the CPU's backend is the given one.
class UseCpuBackend {
 public:
  explicit UseCpuBackend(std::unique_ptr<Backend> backend)
      : previous_(register_backend(Device::cpu, std::move(backend))) {}
  ~UseCpuBackend() { register_backend(Device::cpu, std::move(previous_)); }
  UseCpuBackend(const UseCpuBackend&) = delete;
  UseCpuBackend& operator=(const UseCpuBackend&) = delete;

 private:
  std::unique_ptr<Backend> previous_;
};

/// Calls `test` once with each; failures name the implementation.
template <class Test>
void on_every_cpu_implementation(Test&& test) {
  for (auto make : {make_eigen_backend, make_onednn_backend}) {
    std::unique_ptr<Backend> implementation = make();
    if (implementation == nullptr) continue;  // a build without oneDNN
    const std::string description = implementation->description();
    CAPTURE(description);
    const UseCpuBackend guard(std::move(implementation));
    test();
  }
}

}  // namespace generous
