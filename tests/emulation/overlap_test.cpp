// Kernels that may start while the one before ends (programmatic dependent launch): what the emulation asks
// of them, and where the backend does without.

#include "cuda/overlap.h"

#include <doctest/doctest.h>

#include <initializer_list>

#include "checks.h"
#include "core/backend.h"

namespace generous::emulation {
using testing::FreshRuntime;
using testing::OwnStream;

namespace {

template <class... Arguments>
cudaError_t launch_to_overlap(unsigned threads, cudaStream_t stream, void (*kernel)(Arguments...),
                              Arguments... arguments) {
  cudaLaunchAttribute attribute{.id = cudaLaunchAttributeProgrammaticStreamSerialization, .val = {}};
  attribute.val.programmaticStreamSerializationAllowed = 1;
  const cudaLaunchConfig_t config{.gridDim = dim3(3),
                                  .blockDim = dim3(threads),
                                  .dynamicSmemBytes = 0,
                                  .stream = stream,
                                  .attrs = &attribute,
                                  .numAttrs = 1};
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

/// The first `patient` threads of the grid wait for the kernels before.
__global__ void wait_partly(unsigned patient) {
  if (blockIdx.x * blockDim.x + threadIdx.x < patient) cudaGridDependencySynchronize();
}

TEST_CASE("every thread of a kernel that may overlap has to wait for the kernels before") {
  constexpr unsigned threads = 40;
  for (const unsigned patient : {0U, 3 * threads - 1, 3 * threads}) {
    const FreshRuntime fresh;
    REQUIRE(launch_to_overlap(threads, nullptr, wait_partly, patient) == cudaSuccess);
    const bool all = patient == 3 * threads;
    CHECK(cudaDeviceSynchronize() == (all ? cudaSuccess : cudaErrorLaunchFailure));
    if (!all) CHECK(last_fault().find("without a wait") != std::string::npos);
  }
}

TEST_CASE("a GPU before 9.0 takes no launch that may overlap") {
  const FreshRuntime fresh;
  machine().major = 8;
  CHECK(launch_to_overlap(32, nullptr, wait_partly, 96U) == cudaErrorNotSupported);
}

TEST_CASE("kernels overlap where GPU, code and recordings allow it") {
  const FreshRuntime fresh;
  const OwnStream stream;
  machine().lazy_loading = true;
  CHECK(cuda::kernels_may_overlap(9, stream));
  CHECK_FALSE(cuda::kernels_may_overlap(8, stream));
  machine().code_major = 8;  // a build for the A100, compiled for this GPU by its driver
  CHECK_FALSE(cuda::kernels_may_overlap(9, stream));
  machine().code_major = 9;
  machine().records_overlap = false;
  CHECK_FALSE(cuda::kernels_may_overlap(9, stream));
  CHECK(cudaGetLastError() == cudaSuccess);
}

TEST_CASE("where a recording takes no such launches, work is recorded without") {
  for (const bool taken : {true, false}) {
    register_backend(Device::cuda, nullptr);
    const FreshRuntime fresh;
    machine().records_overlap = taken;
    Backend& gpu = backend(Device::cuda);
    Tensor x = Tensor::full({7}, 1.0F, Device::cuda);
    const auto recorded = gpu.record([&] { gpu.affine(x, 3.0F, 1.0F, x); });  // runs it once
    recorded->replay();
    CHECK(x.to(Device::cpu).data<float>()[6] == 13.0F);
  }
  register_backend(Device::cuda, nullptr);
}

}  // namespace
}  // namespace generous::emulation
