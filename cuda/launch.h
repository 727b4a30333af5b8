// The one way in which cuda/ starts a kernel: plain C++, so that a host compiler takes it as well as nvcc.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "core/tensor.h"
#include "cuda/check.h"
#include "cuda/shadows.h"

namespace generous::cuda {

/// How many blocks, of how many threads each, and whether they may come in while the kernel before ends
/// (begin_kernel.h).
struct LaunchShape {
  std::int64_t blocks = 1;
  int threads = 256;
  bool overlaps = false;
};

/// One thread for each of `count` elements, or fewer threads that each take several in strides of the whole
/// grid.
inline LaunchShape grid_of(std::int64_t count, int threads = 256) {
  constexpr std::int64_t most_blocks = 16384;
  return {.blocks = std::clamp<std::int64_t>((count + threads - 1) / threads, 1, most_blocks),
          .threads = threads};
}

/// Groups of blocks of one kernel that can wait for their last one (channel_sums.h).
constexpr std::int64_t most_tickets = 1024;

/// The elements of a tensor on the GPU, to be read or, unless T is const, written; null for an undefined one.
/// Throws Error if they are not T's.
template <class T>
T* data_of(const Tensor& x) {
  if (!x.defined()) return nullptr;
  constexpr DType wanted = dtype_of<std::remove_const_t<T>>;
  require(x.dtype() == wanted, "a kernel for {} was given a tensor of {}", name_of(wanted),
          name_of(x.dtype()));
  if constexpr (!std::is_const_v<T>) written(x);
  return static_cast<T*>(x.raw());
}

/// What a kernel's parameter gets: a Tensor's elements, if they are of the parameter's type; any other
/// argument as it is. Memory without a type is not taken: a kernel for floats would read whatever it is.
template <class Parameter, class Argument>
Parameter parameter_of(const Argument& argument) {
  if constexpr (std::is_same_v<Argument, Tensor>) {
    static_assert(std::is_pointer_v<Parameter>, "a kernel takes a tensor's elements by a pointer");
    return data_of<std::remove_pointer_t<Parameter>>(argument);
  } else {
    static_assert(!std::is_void_v<std::remove_pointer_t<Argument>>,
                  "hand the Tensor over, or data_of<T>(it)");
    return static_cast<Parameter>(argument);
  }
}

/// Starts `kernel` on `stream`. Throws Error that names `op` if the launch is refused; what goes wrong inside
/// the kernel shows later, when something waits for the stream.
template <class... Parameters, class... Arguments>
void launch(std::string_view op, cudaStream_t stream, const LaunchShape& shape, void (*kernel)(Parameters...),
            const Arguments&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(shape.blocks));
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.stream = stream;
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &overlap;
  config.numAttrs = shape.overlaps ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, parameter_of<Parameters>(arguments)...), op,
        "cudaLaunchKernelEx");
}

}  // namespace generous::cuda
