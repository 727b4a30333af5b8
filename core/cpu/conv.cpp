// Convolution as a matrix product: every window of an image becomes a row of a matrix ("im2col"), the filters
// are the other factor. Per image and group, with L = R S C/groups:
//   forward          y {PQ, K/g}    = windows {PQ, L} * weight' {L, K/g}
//   backward data    dwindows       = dy * weight, added back into the image ("col2im")
//   backward weight  dweight        = sum over images of dy' * windows
// The arithmetic is in f32: bf16 images are converted on the way in and out.

#include <Eigen/Core>

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"
#include "core/functors.h"

namespace generous {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Rows = Eigen::Map<Matrix, 0, Eigen::OuterStride<>>;
using ConstRows = Eigen::Map<const Matrix, 0, Eigen::OuterStride<>>;

/// The extents of one convolution: x {n, h, w, c}, weight {k, r, s, c/groups}, y {n, p, q, k}.
struct Geometry {
  std::int64_t n, h, w, c, k, r, s, p, q;
  Conv2dParams params;

  Geometry(const Conv2dParams& conv, const Tensor& x, const Tensor& weight, const Tensor& y)
      : n(x.size(0)),
        h(x.size(1)),
        w(x.size(2)),
        c(x.size(3)),
        k(weight.size(0)),
        r(weight.size(1)),
        s(weight.size(2)),
        p(y.size(1)),
        q(y.size(2)),
        params(conv) {}

  std::int64_t group_c() const { return c / params.groups; }
  std::int64_t group_k() const { return k / params.groups; }
  std::int64_t window() const { return r * s * group_c(); }
};

/// Calls f(pixel, column, inside) for every element row of every window of one image: `pixel` is the offset
/// of (ih, iw, first channel of the group) in the image, `column` the offset in the matrix of windows.
template <class F>
void for_each_tap(const Geometry& g, std::int64_t group, F&& f) {
  std::int64_t column = 0;
  for (std::int64_t ip = 0; ip < g.p; ++ip)
    for (std::int64_t iq = 0; iq < g.q; ++iq)
      for (std::int64_t ir = 0; ir < g.r; ++ir)
        for (std::int64_t is = 0; is < g.s; ++is, column += g.group_c()) {
          const std::int64_t ih = ip * g.params.stride + ir - g.params.padding;
          const std::int64_t iw = iq * g.params.stride + is - g.params.padding;
          const bool inside = ih >= 0 && ih < g.h && iw >= 0 && iw < g.w;
          f((ih * g.w + iw) * g.c + group * g.group_c(), column, inside);
        }
}

void image_to_windows(const Geometry& g, std::int64_t group, const float* image, float* windows) {
  for_each_tap(g, group, [&](std::int64_t pixel, std::int64_t column, bool inside) {
    if (inside)
      std::copy_n(image + pixel, g.group_c(), windows + column);
    else
      std::fill_n(windows + column, g.group_c(), 0.0F);
  });
}

void add_windows_to_image(const Geometry& g, std::int64_t group, const float* windows, float* image) {
  for_each_tap(g, group, [&](std::int64_t pixel, std::int64_t column, bool inside) {
    for (std::int64_t i = 0; inside && i < g.group_c(); ++i) image[pixel + i] += windows[column + i];
  });
}

ConstRows weight_of_group(const Geometry& g, std::int64_t group, const float* weight) {
  return {weight + group * g.group_k() * g.window(), g.group_k(), g.window(),
          Eigen::OuterStride<>(g.window())};
}

}  // namespace

void EigenBackend::conv2d(const Conv2dParams& params, const Tensor& x, const Tensor& weight,
                          const Tensor& bias, Tensor& y) {
  if (x.dtype() == DType::bf16) {
    Tensor in_f32 = Tensor::empty(y.shape());
    EigenBackend::conv2d(params, to_f32(x), rounded_to_bf16(weight), bias, in_f32);
    return cast(in_f32, y);
  }
  const Geometry g(params, x, weight, y);
  const float* in = x.data<float>().data();
  const float* filters = weight.data<float>().data();
  float* out = y.data<float>().data();
  parallel_ranges(g.n, 1, [&](std::int64_t begin, std::int64_t end, int) {
    Matrix windows(g.p * g.q, g.window());
    for (std::int64_t image = begin; image < end; ++image)
      for (std::int64_t group = 0; group < params.groups; ++group) {
        image_to_windows(g, group, in + image * g.h * g.w * g.c, windows.data());
        Rows result(out + image * g.p * g.q * g.k + group * g.group_k(), g.p * g.q, g.group_k(),
                    Eigen::OuterStride<>(g.k));
        result.noalias() = windows * weight_of_group(g, group, filters).transpose();
        if (bias.defined())
          result.rowwise() += Eigen::Map<const Eigen::RowVectorXf>(
              bias.data<float>().data() + group * g.group_k(), g.group_k());
      }
  });
}

void EigenBackend::conv2d_inference(const Conv2dParams& params, const Tensor& x, FrozenFilter& filter,
                                    const Conv2dEpilogue& epilogue, Tensor& y) {
  conv2d(params, x, filter.weight, filter.bias, y);
  apply(epilogue, y);
}

// The convolutions of the two that follow are whichever this CPU's backend has.
void EigenBackend::conv2d_add(const Conv2dParams& params, const Tensor& x, const Tensor& weight,
                              const Tensor& residual, Tensor& y) {
  conv2d(params, x, weight, {}, y);
  accumulate(residual, y);
}

void EigenBackend::accumulate_conv2d_backward_data(const Conv2dParams& params, const Tensor& dy,
                                                   const Tensor& weight, Tensor& dx) {
  Tensor added = Tensor::empty(dx.shape(), dx.dtype());
  conv2d_backward_data(params, dy, weight, added);
  accumulate(added, dx);
}

void EigenBackend::apply(const Conv2dEpilogue& epilogue, Tensor& y) {
  const bool activated = epilogue.activation != Activation::none;
  if (!activated && !epilogue.residual.defined()) return;
  visit_floating(y.dtype(), [&]<class T>(T) {
    const auto* residual = static_cast<const T*>(epilogue.residual.raw());
    T* out = y.data<T>().data();
    const auto finish = [&](auto value) {
      parallel_for(y.numel(), elementwise_grain, [=](std::int64_t i) { out[i] = static_cast<T>(value(i)); });
    };
    const auto sum = [=](std::int64_t i) {
      return static_cast<float>(out[i]) + static_cast<float>(residual[i]);
    };
    const auto activate = [ceiling = ceiling_of(epilogue.activation)](float value) {
      const float positive = Relu::forward(value);
      return positive > ceiling ? ceiling : positive;
    };
    if (residual == nullptr)
      finish([=](std::int64_t i) { return activate(static_cast<float>(out[i])); });
    else if (activated)
      finish([=](std::int64_t i) { return activate(sum(i)); });
    else
      finish(sum);
  });
}

void EigenBackend::conv2d_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                                        Tensor& dx) {
  if (dy.dtype() == DType::bf16) {
    Tensor in_f32 = Tensor::empty(dx.shape());
    EigenBackend::conv2d_backward_data(params, to_f32(dy), rounded_to_bf16(weight), in_f32);
    return cast(in_f32, dx);
  }
  const Geometry g(params, dx, weight, dy);
  const float* dout = dy.data<float>().data();
  const float* filters = weight.data<float>().data();
  float* din = dx.data<float>().data();
  fill(dx, 0.0);
  parallel_ranges(g.n, 1, [&](std::int64_t begin, std::int64_t end, int) {
    Matrix windows(g.p * g.q, g.window());
    for (std::int64_t image = begin; image < end; ++image)
      for (std::int64_t group = 0; group < params.groups; ++group) {
        const ConstRows gradient(dout + image * g.p * g.q * g.k + group * g.group_k(), g.p * g.q, g.group_k(),
                                 Eigen::OuterStride<>(g.k));
        windows.noalias() = gradient * weight_of_group(g, group, filters);
        add_windows_to_image(g, group, windows.data(), din + image * g.h * g.w * g.c);
      }
  });
}

void EigenBackend::conv2d_backward_weight(const Conv2dParams& params, const Tensor& x, const Tensor& dy,
                                          Tensor& dweight) {
  if (x.dtype() == DType::bf16)
    return EigenBackend::conv2d_backward_weight(params, to_f32(x), to_f32(dy), dweight);
  const Geometry g(params, x, dweight, dy);
  const float* in = x.data<float>().data();
  const float* dout = dy.data<float>().data();
  // One sum a thread, added in thread order.
  Tensor partial = Tensor::zeros({omp_get_max_threads(), dweight.numel()});
  float* sums = partial.data<float>().data();
  const int threads = parallel_ranges(g.n, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    Matrix windows(g.p * g.q, g.window());
    for (std::int64_t image = begin; image < end; ++image)
      for (std::int64_t group = 0; group < params.groups; ++group) {
        image_to_windows(g, group, in + image * g.h * g.w * g.c, windows.data());
        const ConstRows gradient(dout + image * g.p * g.q * g.k + group * g.group_k(), g.p * g.q, g.group_k(),
                                 Eigen::OuterStride<>(g.k));
        Eigen::Map<Matrix> sum(sums + thread * dweight.numel() + group * g.group_k() * g.window(),
                               g.group_k(), g.window());
        sum.noalias() += gradient.transpose() * windows;
      }
  });
  const std::int64_t count = dweight.numel();
  float* out = dweight.data<float>().data();
  parallel_for(count, elementwise_grain, [=](std::int64_t i) {
    out[i] = 0.0F;
    for (int thread = 0; thread < threads; ++thread) out[i] += sums[thread * count + i];
  });
}

}  // namespace generous
