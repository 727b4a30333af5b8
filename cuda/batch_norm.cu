// Batch norm over the rows of x {M, C}, fused with residual and ReLU. Formulas: core/backend.h. Each
// direction is three kernels: blocks add up two values per channel over a range of rows each; one kernel adds
// up what the blocks found, always in the same order, and turns it into the coefficients of an affine map per
// channel; the last applies the map. T is the element type of x, y, the residual and their gradients;
// everything {C} is f32. A thread adds tens to hundreds of rows in f32; from there on sums are in double.

#include <algorithm>
#include <cmath>

#include "cuda/channel_groups.h"
#include "cuda/channel_sums.h"
#include "cuda/cuda_backend.h"

namespace generous::cuda {
namespace {

/// The parameters and statistics {C} of a normalisation.
struct Channels {
  const float* gamma;
  const float* beta;
  const float* mean;
  const float* inverse_std;
};

/// gamma (x - mean) inverse_std + beta as a map scale * x + shift of a thread's channels: the same bits
/// forward and backward.
template <int width>
struct NormalisingMap {
  float scale[width];
  float shift[width];

  NormalisingMap() = default;
  __device__ NormalisingMap(const Channels& in, std::int64_t channel) {
    for (std::int64_t i = 0; i < width; ++i) {
      const std::int64_t c = channel + i;
      const double factor = static_cast<double>(in.gamma[c]) * static_cast<double>(in.inverse_std[c]);
      scale[i] = static_cast<float>(factor);
      shift[i] =
          static_cast<float>(static_cast<double>(in.beta[c]) - static_cast<double>(in.mean[c]) * factor);
    }
  }
  /// Rounded once, whatever the compiler makes of the code around it.
  __device__ float operator()(int i, float x) const { return std::fma(scale[i], x, shift[i]); }
};

// Forward

/// Partial sums of d and d^2, where d = x - (row 0 of x), so that a mean far from zero costs no digits of the
/// variance. In f32 a thread measures from its own first row instead: should row 0 lie far outside of all
/// others, that costs no digits either.
template <int width, class T>
__global__ void __launch_bounds__(block_threads)
    moments_kernel(Tiling tiling, const T* __restrict__ x, double* __restrict__ partial) {
  const Share share = share_of<width>(tiling);
  double first[width] = {};
  double second[width] = {};
  if (share.row < share.end) {
    const T* from = x + share.channel;
    const auto origin = load<width>(from + share.row * tiling.channels);
    const auto common = load<width>(from);
    Floats<width> sum{};
    Floats<width> squares{};
    for (std::int64_t row = share.row; row < share.end; row += tiling.lines) {
      const auto values = load<width>(from + row * tiling.channels);
      for (int i = 0; i < width; ++i) {
        const float d = values[i] - origin[i];
        sum[i] += d;
        squares[i] += d * d;
      }
    }
    const auto count = static_cast<double>((share.end - share.row + tiling.lines - 1) / tiling.lines);
    for (int i = 0; i < width; ++i) {
      const double shift = static_cast<double>(origin[i]) - static_cast<double>(common[i]);
      const double moved = static_cast<double>(sum[i]);
      first[i] = moved + count * shift;
      second[i] = static_cast<double>(squares[i]) + shift * (2.0 * moved + count * shift);
    }
  }
  add_up_block<width>(tiling, share, first, second, partial);
}

/// What the training pass writes per channel.
struct Statistics {
  float momentum, epsilon;
  float* mean;
  float* inverse_std;
  float* running_mean;
  float* running_variance;
  std::int64_t* batches;  ///< null: not counted
};

template <class T>
__global__ void __launch_bounds__(block_threads)
    statistics_kernel(Tiling tiling, const double* __restrict__ partial, const T* __restrict__ x,
                      Statistics out) {
  const Totals totals = totals_of(partial, tiling.parts, tiling.channels);
  if (!totals.valid) return;
  const std::int64_t c = channel_of_totals();
  const auto count = static_cast<double>(tiling.rows);
  const double offset = totals.first / count;
  const double mean = static_cast<double>(static_cast<float>(x[c])) + offset;
  const double variance = std::max(0.0, totals.second / count - offset * offset);
  const double inverse = 1.0 / std::sqrt(variance + static_cast<double>(out.epsilon));
  const double momentum = static_cast<double>(out.momentum);
  const auto update = [momentum](float& old, double value) {
    old = static_cast<float>((1.0 - momentum) * static_cast<double>(old) + momentum * value);
  };
  update(out.running_mean[c], mean);
  update(out.running_variance[c], variance * count / (count - 1.0));
  out.mean[c] = static_cast<float>(mean);
  out.inverse_std[c] = static_cast<float>(inverse);
  if (c == 0 && out.batches != nullptr) ++*out.batches;
}

__global__ void inverse_std_kernel(std::int64_t channels, float epsilon, const float* __restrict__ variance,
                                   float* __restrict__ inverse_std) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  inverse_std[c] =
      static_cast<float>(1.0 / std::sqrt(static_cast<double>(variance[c]) + static_cast<double>(epsilon)));
}

template <int width, class T>
__global__ void __launch_bounds__(block_threads)
    normalise_kernel(Tiling tiling, Channels in, bool relu, const T* __restrict__ x,
                     const T* __restrict__ residual, T* __restrict__ y) {
  const Share share = share_of<width>(tiling);
  if (share.idle) return;
  const NormalisingMap<width> map(in, share.channel);
  for (std::int64_t row = share.row; row < share.end; row += tiling.lines) {
    const std::int64_t place = row * tiling.channels + share.channel;
    auto values = load<width>(x + place);
    for (int i = 0; i < width; ++i) values[i] = map(i, values[i]);
    if (residual != nullptr) values += load<width>(residual + place);
    if (relu)
      for (int i = 0; i < width; ++i) values[i] = Relu::forward(values[i]);
    store(y + place, values);
  }
}

// Backward

/// Where dz = dy and where 0.
enum class Gate : std::uint8_t {
  open,    ///< no ReLU: dy everywhere
  output,  ///< dy where y > 0
  input    ///< the same, with y worked out again from x, which saves reading y
};

Gate gate_of(const BatchNormParams& params, const BatchNormSaved& saved) {
  if (!params.relu) return Gate::open;
  return params.training && saved.beta.defined() ? Gate::input : Gate::output;
}

template <class T>
struct Saved {
  Gate gate;
  Channels channels;
  const T* x;
  const T* y;
};

/// dz of a thread's channels, from x and dy at `place`.
template <int width, class T>
class Rectifier {
 public:
  __device__ Rectifier(const Saved<T>& saved, std::int64_t channel) : gate_(saved.gate), y_(saved.y) {
    if (gate_ == Gate::input) map_ = NormalisingMap<width>(saved.channels, channel);
  }
  __device__ Floats<width> operator()(std::int64_t place, const Floats<width>& x, Floats<width> dy) const {
    if (gate_ == Gate::output) {
      const auto y = load<width>(y_ + place);
      for (int i = 0; i < width; ++i) dy[i] = y[i] > 0.0F ? dy[i] : 0.0F;
    } else if (gate_ == Gate::input) {
      for (int i = 0; i < width; ++i) dy[i] = map_(i, x[i]) > 0.0F ? dy[i] : 0.0F;
    }
    return dy;
  }

 private:
  Gate gate_;
  const T* __restrict__ y_;
  NormalisingMap<width> map_;
};

/// Partial sums of dz and dz (x - mean).
template <int width, class T>
__global__ void __launch_bounds__(block_threads)
    gradient_sums_kernel(Tiling tiling, Saved<T> saved, const T* __restrict__ dy,
                         double* __restrict__ partial) {
  const Share share = share_of<width>(tiling);
  double first[width] = {};
  double second[width] = {};
  if (share.row < share.end) {
    const T* __restrict__ x = saved.x;
    const auto mean = load<width>(saved.channels.mean + share.channel);
    const Rectifier<width, T> rectified(saved, share.channel);
    Floats<width> sum{};
    Floats<width> product{};
    for (std::int64_t row = share.row; row < share.end; row += tiling.lines) {
      const std::int64_t place = row * tiling.channels + share.channel;
      const auto input = load<width>(x + place);
      const auto dz = rectified(place, input, load<width>(dy + place));
      for (int i = 0; i < width; ++i) {
        sum[i] += dz[i];
        product[i] += dz[i] * (input[i] - mean[i]);
      }
    }
    for (int i = 0; i < width; ++i) {
      first[i] = static_cast<double>(sum[i]);
      second[i] = static_cast<double>(product[i]);
    }
  }
  add_up_block<width>(tiling, share, first, second, partial);
}

/// dgamma and dbeta, and dx = scale dz + slope (x - mean) + offset as coefficients {3, C}.
__global__ void __launch_bounds__(block_threads)
    coefficients_kernel(Tiling tiling, bool training, const double* __restrict__ partial, Channels in,
                        float* __restrict__ dgamma, float* __restrict__ dbeta,
                        float* __restrict__ coefficients) {
  const Totals totals = totals_of(partial, tiling.parts, tiling.channels);
  if (!totals.valid) return;
  const std::int64_t c = channel_of_totals();
  const double inverse = static_cast<double>(in.inverse_std[c]);
  const double scale = static_cast<double>(in.gamma[c]) * inverse;
  const double product = totals.second * inverse;
  dbeta[c] = static_cast<float>(totals.first);
  dgamma[c] = static_cast<float>(product);
  const double share = scale / static_cast<double>(tiling.rows);
  coefficients[c] = static_cast<float>(scale);
  coefficients[tiling.channels + c] = training ? static_cast<float>(-share * inverse * product) : 0.0F;
  coefficients[2 * tiling.channels + c] = training ? static_cast<float>(-share * totals.first) : 0.0F;
}

template <int width, class T>
__global__ void __launch_bounds__(block_threads)
    differentiate_kernel(Tiling tiling, Saved<T> saved, const float* __restrict__ coefficients,
                         const T* __restrict__ dy, T* __restrict__ dx, T* __restrict__ dresidual) {
  const Share share = share_of<width>(tiling);
  if (share.idle) return;
  const T* __restrict__ x = saved.x;
  const auto mean = load<width>(saved.channels.mean + share.channel);
  const auto scale = load<width>(coefficients + share.channel);
  const auto slope = load<width>(coefficients + tiling.channels + share.channel);
  const auto offset = load<width>(coefficients + 2 * tiling.channels + share.channel);
  const Rectifier<width, T> rectified(saved, share.channel);
  for (std::int64_t row = share.row; row < share.end; row += tiling.lines) {
    const std::int64_t place = row * tiling.channels + share.channel;
    const auto input = load<width>(x + place);
    const auto dz = rectified(place, input, load<width>(dy + place));
    Floats<width> gradient;
    for (int i = 0; i < width; ++i)
      gradient[i] = scale[i] * dz[i] + (slope[i] * (input[i] - mean[i]) + offset[i]);
    store(dx + place, gradient);
    if (dresidual != nullptr) store(dresidual + place, dz);
  }
}

const float* channel_data(const Tensor& x) { return static_cast<const float*>(x.raw()); }

Channels channels_of(const Tensor& gamma, const Tensor& beta, const Tensor& mean, const Tensor& inverse_std) {
  return {channel_data(gamma), channel_data(beta), channel_data(mean), channel_data(inverse_std)};
}

/// Space for the partial sums of a Tiling: {parts, 2, C} of f64, which no DType is, so twice as many f32.
Tensor partial_sums(const Tiling& tiling) {
  return Tensor::empty({tiling.parts, 2, tiling.channels, 2}, DType::f32, Device::cuda);
}

}  // namespace

void CudaBackend::batch_norm_train(const BatchNormParams& params, const BatchNormInputs& in,
                                   BatchNormStatistics& running, Tensor& mean, Tensor& inverse_std,
                                   Tensor& y) {
  const std::int64_t channels = in.x.size(-1);
  const std::int64_t rows = in.x.numel() / channels;
  const Statistics statistics{.momentum = params.momentum,
                              .epsilon = params.epsilon,
                              .mean = static_cast<float*>(mean.raw()),
                              .inverse_std = static_cast<float*>(inverse_std.raw()),
                              .running_mean = static_cast<float*>(running.mean.raw()),
                              .running_variance = static_cast<float*>(running.variance.raw()),
                              .batches = static_cast<std::int64_t*>(running.batches.raw())};
  visit_groups(in.x.dtype(), channels, [&]<class T, int width>(T, Width<width>) {
    const auto* x = static_cast<const T*>(in.x.raw());
    const Tiling summing = tiling_of(rows, channels, width, most_summing_blocks);
    const Tensor partial = partial_sums(summing);
    auto* sums = static_cast<double*>(partial.raw());
    run("batch_norm", summing.shape(), moments_kernel<width, T>, summing, x, sums);
    run("batch_norm", shape_of_totals(channels), statistics_kernel<T>, summing, sums, x, statistics);
    const Tiling mapping = tiling_of(rows, channels, width, most_mapping_blocks);
    run("batch_norm", mapping.shape(), normalise_kernel<width, T>, mapping,
        channels_of(in.gamma, in.beta, mean, inverse_std), params.relu, x,
        static_cast<const T*>(in.residual.raw()), static_cast<T*>(y.raw()));
  });
}

void CudaBackend::batch_norm_eval(const BatchNormParams& params, const BatchNormInputs& in,
                                  const BatchNormStatistics& running, Tensor& y) {
  const std::int64_t channels = in.x.size(-1);
  const std::int64_t rows = in.x.numel() / channels;
  const Tensor inverse_std = Tensor::empty({channels}, DType::f32, Device::cuda);
  run("batch_norm", grid_of(channels), inverse_std_kernel, channels, params.epsilon,
      channel_data(running.variance), static_cast<float*>(inverse_std.raw()));
  visit_groups(in.x.dtype(), channels, [&]<class T, int width>(T, Width<width>) {
    const Tiling mapping = tiling_of(rows, channels, width, most_mapping_blocks);
    run("batch_norm", mapping.shape(), normalise_kernel<width, T>, mapping,
        channels_of(in.gamma, in.beta, running.mean, inverse_std), params.relu,
        static_cast<const T*>(in.x.raw()), static_cast<const T*>(in.residual.raw()),
        static_cast<T*>(y.raw()));
  });
}

void CudaBackend::batch_norm_backward(const BatchNormParams& params, const BatchNormSaved& saved,
                                      const Tensor& dy, BatchNormGradients& out) {
  const std::int64_t channels = saved.x.size(-1);
  const std::int64_t rows = saved.x.numel() / channels;
  const Tensor coefficients = Tensor::empty({3, channels}, DType::f32, Device::cuda);
  auto* factors = static_cast<float*>(coefficients.raw());
  visit_groups(dy.dtype(), channels, [&]<class T, int width>(T, Width<width>) {
    const Saved<T> forward{.gate = gate_of(params, saved),
                           .channels = channels_of(saved.gamma, saved.beta, saved.mean, saved.inverse_std),
                           .x = static_cast<const T*>(saved.x.raw()),
                           .y = static_cast<const T*>(saved.y.raw())};
    const auto* gradient = static_cast<const T*>(dy.raw());
    const Tiling summing = tiling_of(rows, channels, width, most_summing_blocks);
    const Tensor partial = partial_sums(summing);
    auto* sums = static_cast<double*>(partial.raw());
    run("batch_norm backward", summing.shape(), gradient_sums_kernel<width, T>, summing, forward, gradient,
        sums);
    run("batch_norm backward", shape_of_totals(channels), coefficients_kernel, summing, params.training, sums,
        forward.channels, static_cast<float*>(out.dgamma.raw()), static_cast<float*>(out.dbeta.raw()),
        factors);
    const Tiling mapping = tiling_of(rows, channels, width, most_mapping_blocks);
    run("batch_norm backward", mapping.shape(), differentiate_kernel<width, T>, mapping, forward, factors,
        gradient, static_cast<T*>(out.dx.raw()), static_cast<T*>(out.dresidual.raw()));
  });
}

}  // namespace generous::cuda
