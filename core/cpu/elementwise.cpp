// Memory, casts and elementwise kernels. The mathematics is in core/functors.h.

#include <cstring>

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"
#include "core/functors.h"
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

Tensor EigenBackend::to_f32(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape());
  cast(x, y);
  return y;
}

Tensor EigenBackend::rounded_to_bf16(const Tensor& x) {
  Tensor rounded = Tensor::empty(x.shape(), DType::bf16);
  cast(x, rounded);
  return to_f32(rounded);
}

void EigenBackend::unary(Unary op, const Tensor& x, Tensor& y) {
  visit_floating(x.dtype(), [&]<class T>(T) {
    const T* in = x.data<T>().data();
    T* out = y.data<T>().data();
    visit(op, [&](auto f) {
      parallel_for(x.numel(), elementwise_grain,
                   [=](std::int64_t i) { out[i] = T(f.forward(static_cast<float>(in[i]))); });
    });
  });
}

void EigenBackend::unary_backward(Unary op, const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) {
  visit_floating(x.dtype(), [&]<class T>(T) {
    const T* in = x.data<T>().data();
    const T* out = y.data<T>().data();
    const T* dout = dy.data<T>().data();
    T* din = dx.data<T>().data();
    visit(op, [&](auto f) {
      parallel_for(x.numel(), elementwise_grain, [=](std::int64_t i) {
        const float slope = f.derivative(static_cast<float>(in[i]), static_cast<float>(out[i]));
        din[i] = T(static_cast<float>(dout[i]) * slope);
      });
    });
  });
}

void EigenBackend::binary(Binary op, const Tensor& a, const Tensor& b, Tensor& y) {
  visit_floating(y.dtype(), [&]<class T>(T) {
    const T* left = a.data<T>().data();
    const T* right = b.data<T>().data();
    T* out = y.data<T>().data();
    visit(op, [&](auto f) {
      parallel_for(y.numel(), elementwise_grain, [=](std::int64_t i) {
        out[i] = T(f.forward(static_cast<float>(left[i]), static_cast<float>(right[i])));
      });
    });
  });
}

void EigenBackend::binary_backward(Binary op, const Tensor& a, const Tensor& b, const Tensor& dy, Tensor& da,
                                   Tensor& db) {
  visit_floating(dy.dtype(), [&]<class T>(T) {
    const T* left = a.data<T>().data();
    const T* right = b.data<T>().data();
    const T* dout = dy.data<T>().data();
    auto* dleft = static_cast<T*>(da.raw());
    auto* dright = static_cast<T*>(db.raw());
    visit(op, [&](auto f) {
      parallel_for(dy.numel(), elementwise_grain, [=](std::int64_t i) {
        const auto l = static_cast<float>(left[i]);
        const auto r = static_cast<float>(right[i]);
        const auto d = static_cast<float>(dout[i]);
        if (dleft != nullptr) dleft[i] = T(d * f.derivative_a(l, r));
        if (dright != nullptr) dright[i] = T(d * f.derivative_b(l, r));
      });
    });
  });
}

void EigenBackend::affine(const Tensor& x, float scale, float shift, Tensor& y) {
  visit_floating(x.dtype(), [&]<class T>(T) {
    const T* in = x.data<T>().data();
    T* out = y.data<T>().data();
    parallel_for(x.numel(), elementwise_grain,
                 [=](std::int64_t i) { out[i] = T(scale * static_cast<float>(in[i]) + shift); });
  });
}

void EigenBackend::accumulate(const Tensor& x, Tensor& y) {
  if (x.dtype() == DType::i64) {
    const auto in = x.data<std::int64_t>();
    const auto out = y.data<std::int64_t>();
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += in[i];
    return;
  }
  visit_floating(x.dtype(), [&]<class T>(T) {
    const T* in = x.data<T>().data();
    T* out = y.data<T>().data();
    parallel_for(x.numel(), elementwise_grain,
                 [=](std::int64_t i) { out[i] = T(static_cast<float>(out[i]) + static_cast<float>(in[i])); });
  });
}

void EigenBackend::dropout(const Tensor& x, const DropoutParams& params, Tensor& y) {
  visit_floating(x.dtype(), [&]<class T>(T) {
    const T* in = x.data<T>().data();
    T* out = y.data<T>().data();
    const float scale = 1.0F / (1.0F - params.p);
    const std::uint32_t step =
        params.step.defined() ? static_cast<std::uint32_t>(params.step.data<std::int64_t>()[0]) : 0U;
    // One Philox block serves four elements, counted in the whole of which x is a piece.
    const std::int64_t begin = params.first;
    const std::int64_t end = begin + x.numel();
    const std::int64_t first_block = begin / 4;
    parallel_for((end + 3) / 4 - first_block, elementwise_grain / 16,
                 [=, key = params.key, p = params.p](std::int64_t nth) {
                   const std::int64_t block = first_block + nth;
                   const PhiloxBlock bits = philox(key, {static_cast<std::uint32_t>(block),
                                                         static_cast<std::uint32_t>(block >> 32), step, 0});
                   for (std::int64_t i = std::max(4 * block, begin); i < std::min(4 * block + 4, end); ++i) {
                     const bool kept = uniform01(bits[static_cast<std::size_t>(i % 4)]) >= p;
                     out[i - begin] = T(kept ? static_cast<float>(in[i - begin]) * scale : 0.0F);
                   }
                 });
  });
}

}  // namespace generous
