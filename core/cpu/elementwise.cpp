// Memory, casts and elementwise kernels. The mathematics is in core/functors.h.

#include <cstring>

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"
#include "core/random.h"

namespace generous {

void EigenBackend::copy_to_host(const Tensor& x, void* host) { std::memcpy(host, x.raw(), x.bytes()); }

void EigenBackend::copy_from_host(const void* host, Tensor& y) { std::memcpy(y.raw(), host, y.bytes()); }

void EigenBackend::copy(const Tensor& x, Tensor& y) {
  const auto* from = static_cast<const std::byte*>(x.raw());
  auto* to = static_cast<std::byte*>(y.raw());
  parallel_ranges(static_cast<std::int64_t>(x.bytes()), 1 << 18,
                  [=](std::int64_t begin, std::int64_t end, int) {
                    std::memcpy(to + begin, from + begin, static_cast<std::size_t>(end - begin));
                  });
}

void EigenBackend::fill(Tensor& y, double value) {
  const auto fill_as = [&](auto element) {
    const auto out = y.data<decltype(element)>();
    parallel_for(y.numel(), elementwise_grain,
                 [=](std::int64_t i) { out[static_cast<std::size_t>(i)] = element; });
  };
  switch (y.dtype()) {
    case DType::f32:
      return fill_as(static_cast<float>(value));
    case DType::bf16:
      return fill_as(bfloat16(static_cast<float>(value)));
    case DType::i64:
      return fill_as(static_cast<std::int64_t>(value));
    case DType::u8:
      return fill_as(static_cast<std::uint8_t>(value));
  }
}

void EigenBackend::cast(const Tensor& x, Tensor& y) {
  const auto cast_as = [&](auto from, auto to) {
    const auto* in = static_cast<const decltype(from)*>(x.raw());
    auto* out = static_cast<decltype(to)*>(y.raw());
    parallel_for(x.numel(), elementwise_grain,
                 [=](std::int64_t i) { out[i] = static_cast<decltype(to)>(static_cast<float>(in[i])); });
  };
  if (x.dtype() == DType::f32 && y.dtype() == DType::bf16) return cast_as(float{}, bfloat16{});
  if (x.dtype() == DType::bf16 && y.dtype() == DType::f32) return cast_as(bfloat16{}, float{});
  if (x.dtype() == DType::u8 && y.dtype() == DType::f32) return cast_as(std::uint8_t{}, float{});
  fail("cast: no conversion from {} to {}", name_of(x.dtype()), name_of(y.dtype()));
}

void EigenBackend::unary(Unary op, const Tensor& x, Tensor& y) {
  const float* in = x.data<float>().data();
  float* out = y.data<float>().data();
  visit(op, [&](auto f) {
    parallel_for(x.numel(), elementwise_grain, [=](std::int64_t i) { out[i] = f.forward(in[i]); });
  });
}

void EigenBackend::unary_backward(Unary op, const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) {
  const float* in = x.data<float>().data();
  const float* out = y.data<float>().data();
  const float* dout = dy.data<float>().data();
  float* din = dx.data<float>().data();
  visit(op, [&](auto f) {
    parallel_for(x.numel(), elementwise_grain,
                 [=](std::int64_t i) { din[i] = dout[i] * f.derivative(in[i], out[i]); });
  });
}

void EigenBackend::binary(Binary op, const Tensor& a, const Tensor& b, Tensor& y) {
  const float* left = a.data<float>().data();
  const float* right = b.data<float>().data();
  float* out = y.data<float>().data();
  visit(op, [&](auto f) {
    parallel_for(y.numel(), elementwise_grain,
                 [=](std::int64_t i) { out[i] = f.forward(left[i], right[i]); });
  });
}

void EigenBackend::binary_backward(Binary op, const Tensor& a, const Tensor& b, const Tensor& dy, Tensor& da,
                                   Tensor& db) {
  const float* left = a.data<float>().data();
  const float* right = b.data<float>().data();
  const float* dout = dy.data<float>().data();
  auto* dleft = static_cast<float*>(da.raw());
  auto* dright = static_cast<float*>(db.raw());
  visit(op, [&](auto f) {
    parallel_for(dy.numel(), elementwise_grain, [=](std::int64_t i) {
      if (dleft != nullptr) dleft[i] = dout[i] * f.derivative_a(left[i], right[i]);
      if (dright != nullptr) dright[i] = dout[i] * f.derivative_b(left[i], right[i]);
    });
  });
}

void EigenBackend::affine(const Tensor& x, float scale, float shift, Tensor& y) {
  const float* in = x.data<float>().data();
  float* out = y.data<float>().data();
  parallel_for(x.numel(), elementwise_grain, [=](std::int64_t i) { out[i] = scale * in[i] + shift; });
}

void EigenBackend::accumulate(const Tensor& x, Tensor& y) {
  const float* in = x.data<float>().data();
  float* out = y.data<float>().data();
  parallel_for(x.numel(), elementwise_grain, [=](std::int64_t i) { out[i] += in[i]; });
}

void EigenBackend::dropout(const Tensor& x, const DropoutParams& params, Tensor& y) {
  const float* in = x.data<float>().data();
  float* out = y.data<float>().data();
  const float scale = 1.0F / (1.0F - params.p);
  // One Philox block serves four elements.
  const std::int64_t blocks = (x.numel() + 3) / 4;
  parallel_for(blocks, elementwise_grain / 16, [=, count = x.numel()](std::int64_t block) {
    const PhiloxBlock bits = philox(params.key, {static_cast<std::uint32_t>(block),
                                                 static_cast<std::uint32_t>(block >> 32), params.step, 0});
    for (std::int64_t i = 4 * block; i < std::min(4 * block + 4, count); ++i)
      out[i] = uniform01(bits[static_cast<std::size_t>(i % 4)]) >= params.p ? in[i] * scale : 0.0F;
  });
}

}  // namespace generous
