// What the oneDNN kernels share: the engine, the stream, descriptors, and the one difference between the 2.x
// and 3.x interfaces (2.x describes an operation in an extra `desc` object).
#pragma once

#include <oneapi/dnnl/dnnl.hpp>
#include <utility>

#include "core/cpu/address_space.h"
#include "core/tensor.h"
#include "core/threads.h"

namespace generous::onednn {

using dnnl::memory;

/// Every operation asks for it first, so oneDNN never counts on threads that OpenMP will not give.
inline const dnnl::engine& engine() {
  settle_threads();
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

/// Throws Error if what runs on it might find too little address space.
inline dnnl::stream& stream() {
  require_address_space();
  static dnnl::stream in_order(engine());
  return in_order;
}

/// Operation::primitive_desc from the arguments that describe the operation, then `hint` (the forward
/// primitive_desc of a backward operation, or nothing). Throws Error if there is too little address space to
/// make the operation.
template <class Operation, class Arguments, class... Hint>
typename Operation::primitive_desc describe(Arguments&& arguments, const Hint&... hint) {
  auto description = std::apply(
      [&](auto&&... argument) {
#if DNNL_VERSION_MAJOR >= 3
        return typename Operation::primitive_desc(engine(), argument..., hint...);
#else
        return typename Operation::primitive_desc(typename Operation::desc(argument...), engine(), hint...);
#endif
      },
      std::forward<Arguments>(arguments));
  require_address_space(compiler_bytes + description.query_s64(dnnl::query::memory_consumption_s64));
  return description;
}

/// Whether oneDNN finds these instructions here, and was not told to do without them.
inline bool has_instructions(dnnl::cpu_isa wanted) {
  const auto bits = static_cast<unsigned>(wanted);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & bits) == bits;
}

/// Of floating tensors.
inline memory::data_type data_type_of(DType dtype) {
  if (dtype != DType::bf16) return memory::data_type::f32;
  require(has_instructions(dnnl::cpu_isa::avx512_core),
          "oneDNN has no bf16 for this CPU, which lacks AVX-512");
  return memory::data_type::bf16;
}

/// Images {N, H, W, C} in memory, described to oneDNN in its logical order N, C, H, W.
inline memory::desc image_desc(const Shape& nhwc, DType dtype) {
  return {{nhwc[0], nhwc[3], nhwc[1], nhwc[2]}, data_type_of(dtype), memory::format_tag::nhwc};
}
inline memory::desc image_desc(const Tensor& images) { return image_desc(images.shape(), images.dtype()); }

/// A tensor's elements as oneDNN sees them.
inline memory wrap(const memory::desc& desc, const Tensor& tensor) { return {desc, engine(), tensor.raw()}; }

}  // namespace generous::onednn
