// Pooling in plain loops, channels innermost. The arithmetic is in f32: bf16 images are converted on the way
// in and out.

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"

namespace generous {
namespace {

/// Calls f(output offset, input offset, tap) for every window element inside the image, windows in order;
/// offsets are of a pixel's first channel, tap = r * kernel_w + s. One image at a time: f(image, ...) runs in
/// parallel.
template <class F>
void for_each_tap(const Pool2dParams& params, const Shape& in, const Shape& out, F&& f) {
  parallel_for(out[0], 1, [&](std::int64_t n) {
    for (std::int64_t p = 0; p < out[1]; ++p)
      for (std::int64_t q = 0; q < out[2]; ++q)
        for (std::int64_t r = 0; r < params.kernel_h; ++r)
          for (std::int64_t s = 0; s < params.kernel_w; ++s) {
            const std::int64_t h = p * params.stride + r - params.padding;
            const std::int64_t w = q * params.stride + s - params.padding;
            if (h < 0 || h >= in[1] || w < 0 || w >= in[2]) continue;
            f(((n * out[1] + p) * out[2] + q) * out[3], ((n * in[1] + h) * in[2] + w) * in[3],
              r * params.kernel_w + s);
          }
  });
}

}  // namespace

void EigenBackend::max_pool(const Pool2dParams& params, const Tensor& x, Tensor& y, Tensor& chosen) {
  if (x.dtype() == DType::bf16) {
    Tensor in_f32 = Tensor::empty(y.shape());
    EigenBackend::max_pool(params, to_f32(x), in_f32, chosen);
    return cast(in_f32, y);
  }
  const float* in = x.data<float>().data();
  float* out = y.data<float>().data();
  std::uint8_t* taps = chosen.data<std::uint8_t>().data();
  fill(y, -std::numeric_limits<double>::infinity());
  fill(chosen, 0.0);
  for_each_tap(params, x.shape(), y.shape(),
               [=, channels = x.size(3)](std::int64_t to, std::int64_t from, std::int64_t tap) {
                 for (std::int64_t c = 0; c < channels; ++c)
                   if (in[from + c] > out[to + c]) {
                     out[to + c] = in[from + c];
                     taps[to + c] = static_cast<std::uint8_t>(tap);
                   }
               });
}

void EigenBackend::max_pool_backward(const Pool2dParams& params, const Tensor& dy, const Tensor& chosen,
                                     Tensor& dx) {
  if (dy.dtype() == DType::bf16) {
    Tensor in_f32 = Tensor::empty(dx.shape());
    EigenBackend::max_pool_backward(params, to_f32(dy), chosen, in_f32);
    return cast(in_f32, dx);
  }
  const float* dout = dy.data<float>().data();
  const std::uint8_t* taps = chosen.data<std::uint8_t>().data();
  float* din = dx.data<float>().data();
  fill(dx, 0.0);
  for_each_tap(params, dx.shape(), dy.shape(),
               [=, channels = dx.size(3)](std::int64_t from, std::int64_t to, std::int64_t tap) {
                 for (std::int64_t c = 0; c < channels; ++c)
                   if (taps[from + c] == tap) din[to + c] += dout[from + c];
               });
}

void EigenBackend::avg_pool(const Pool2dParams& params, const Tensor& x, Tensor& y) {
  if (y.dtype() == DType::bf16) {
    Tensor in_f32 = Tensor::empty(y.shape());
    EigenBackend::avg_pool(params, x, in_f32);
    return cast(in_f32, y);
  }
  float* out = y.data<float>().data();
  const float share = 1.0F / static_cast<float>(params.kernel_h * params.kernel_w);
  fill(y, 0.0);
  visit_floating(x.dtype(), [&]<class T>(T) {
    const T* in = x.data<T>().data();
    for_each_tap(params, x.shape(), y.shape(),
                 [=, channels = x.size(3)](std::int64_t to, std::int64_t from, std::int64_t) {
                   for (std::int64_t c = 0; c < channels; ++c)
                     out[to + c] += share * static_cast<float>(in[from + c]);
                 });
  });
}

void EigenBackend::avg_pool_backward(const Pool2dParams& params, const Tensor& dy, Tensor& dx) {
  if (dx.dtype() == DType::bf16) {
    Tensor in_f32 = Tensor::empty(dx.shape());
    EigenBackend::avg_pool_backward(params, dy.dtype() == DType::bf16 ? to_f32(dy) : dy, in_f32);
    return cast(in_f32, dx);
  }
  const float* dout = dy.data<float>().data();
  float* din = dx.data<float>().data();
  const float share = 1.0F / static_cast<float>(params.kernel_h * params.kernel_w);
  fill(dx, 0.0);
  for_each_tap(params, dx.shape(), dy.shape(),
               [=, channels = dx.size(3)](std::int64_t from, std::int64_t to, std::int64_t) {
                 for (std::int64_t c = 0; c < channels; ++c) din[to + c] += share * dout[from + c];
               });
}

}  // namespace generous
