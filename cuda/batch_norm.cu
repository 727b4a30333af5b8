// Batch norm over the rows of x {M, C}, fused with residual and ReLU. Formulas: core/backend.h. x comes in
// parts {M, c}, whose channels are some of the rows {M, C} of y: a part is worked on by itself. Each
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
  Floats<width> scale;
  Floats<width> shift;

  NormalisingMap() = default;
  __device__ NormalisingMap(const Channels& in, std::int64_t channel) {
    const auto gamma = load<width>(in.gamma + channel);
    const auto beta = load<width>(in.beta + channel);
    const auto mean = load<width>(in.mean + channel);
    const auto inverse_std = load<width>(in.inverse_std + channel);
    for (int i = 0; i < width; ++i) {
      const double factor = static_cast<double>(gamma[i]) * static_cast<double>(inverse_std[i]);
      scale[i] = static_cast<float>(factor);
      shift[i] = static_cast<float>(static_cast<double>(beta[i]) - static_cast<double>(mean[i]) * factor);
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
    for_each_row(
        tiling, share, {}, [=](const Place& place) { return load<width>(x + place.here); },
        [&](const Place&, const Floats<width>& values) {
          for (int i = 0; i < width; ++i) {
            const float d = values[i] - origin[i];
            sum[i] += d;
            squares[i] += d * d;
          }
        });
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

/// What is kept of a part: mean and biased variance {c} of double.
struct Moments {
  double* mean;
  double* variance;

  Moments(const Tensor& kept, std::int64_t channels)
      : mean(static_cast<double*>(kept.raw())), variance(mean + channels) {}
  static Tensor allocate(std::int64_t channels) {  // no DType is double, so twice as many floats
    return Tensor::empty({2, channels, 2}, DType::f32, Device::cuda);
  }
};

/// What the training pass writes per channel.
struct Statistics {
  float momentum, epsilon;
  double count;  ///< M
  float* mean;
  float* inverse_std;
  float* running_mean;
  float* running_variance;
  std::int64_t* batches;  ///< null: not counted
};

__device__ void write_statistics(const Statistics& out, std::int64_t c, double mean, double variance) {
  const double inverse = 1.0 / std::sqrt(variance + static_cast<double>(out.epsilon));
  const double momentum = static_cast<double>(out.momentum);
  const auto update = [momentum](float& old, double value) {
    old = static_cast<float>((1.0 - momentum) * static_cast<double>(old) + momentum * value);
  };
  update(out.running_mean[c], mean);
  update(out.running_variance[c], variance * out.count / (out.count - 1.0));
  out.mean[c] = static_cast<float>(mean);
  out.inverse_std[c] = static_cast<float>(inverse);
  if (c == 0 && out.batches != nullptr) ++*out.batches;
}

template <class T>
__global__ void __launch_bounds__(block_threads)
    statistics_kernel(Tiling tiling, const double* __restrict__ partial, const T* __restrict__ x,
                      Moments moments, Statistics out) {
  const Totals totals = totals_of(partial, tiling.parts, tiling.channels);
  if (!totals.valid) return;
  const std::int64_t c = channel_of_totals();
  const double offset = totals.first / out.count;
  const double mean = static_cast<double>(static_cast<float>(x[c])) + offset;
  const double variance = std::max(0.0, totals.second / out.count - offset * offset);
  moments.mean[c] = mean;
  moments.variance[c] = variance;
  write_statistics(out, c, mean, variance);
}

/// The same from moments that are known already.
__global__ void known_statistics_kernel(std::int64_t channels, Moments moments, Statistics out) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c < channels) write_statistics(out, c, moments.mean[c], moments.variance[c]);
}

__global__ void inverse_std_kernel(std::int64_t channels, float epsilon, const float* __restrict__ variance,
                                   float* __restrict__ inverse_std) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  inverse_std[c] =
      static_cast<float>(1.0 / std::sqrt(static_cast<double>(variance[c]) + static_cast<double>(epsilon)));
}

/// What a row of a normalisation needs; `residual` is zeros where there is none.
template <int width>
struct NormaliseInputs {
  Floats<width> x, residual;
};

template <int width, class T>
__global__ void __launch_bounds__(block_threads)
    normalise_kernel(Tiling tiling, Whole whole, Channels in, bool activated, float ceiling,
                     const T* __restrict__ x, const T* __restrict__ residual, T* __restrict__ y) {
  const Share share = share_of<width>(tiling);
  if (share.idle) return;
  const NormalisingMap<width> map(in, share.channel);
  for_each_row(
      tiling, share, whole,
      [=](const Place& place) {
        return NormaliseInputs<width>{load<width>(x + place.here), residual != nullptr
                                                                       ? load<width>(residual + place.whole)
                                                                       : Floats<width>{}};
      },
      [&](const Place& place, const NormaliseInputs<width>& row) {
        Floats<width> out;
        for (int i = 0; i < width; ++i) {
          const float v = map(i, row.x[i]) + row.residual[i];
          const float positive = Relu::forward(v);
          out[i] = activated ? (positive > ceiling ? ceiling : positive) : v;
        }
        store(y + place.whole, out);
      });
}

// Backward

/// Where dz = dy and where 0.
enum class Gate : std::uint8_t {
  open,    ///< no activation: dy everywhere
  output,  ///< dy where y is between 0 and the activation's ceiling
  input    ///< the same, with y worked out again from x, which saves reading y
};

/// Calls f with a constant: the gate.
template <class F>
void visit_gate(const BatchNormParams& params, const BatchNormSaved& saved, F&& f) {
  if (params.activation == Activation::none) return f(std::integral_constant<Gate, Gate::open>{});
  if (params.training && saved.beta.defined()) return f(std::integral_constant<Gate, Gate::input>{});
  return f(std::integral_constant<Gate, Gate::output>{});
}

template <class T>
struct Saved {
  Channels channels;
  Whole whole;    ///< of y and dy
  float ceiling;  ///< of the activation
  const T* x;
  const T* y;
};

/// What a row of a gradient needs; `y` is read only where the gate asks for it.
template <int width>
struct GradientInputs {
  Floats<width> x, y, dy;
};

template <Gate gate, int width, class T>
__device__ GradientInputs<width> load_row(const Saved<T>& saved, const T* __restrict__ dy,
                                          const Place& place) {
  GradientInputs<width> row;
  row.x = load<width>(saved.x + place.here);
  if constexpr (gate == Gate::output) row.y = load<width>(saved.y + place.whole);
  row.dy = load<width>(dy + place.whole);
  return row;
}

/// Makes dz of dy for a thread's channels.
template <Gate gate, int width>
class Rectifier {
 public:
  __device__ Rectifier(const Channels& channels, std::int64_t channel, float ceiling) : ceiling_(ceiling) {
    if constexpr (gate == Gate::input) map_ = NormalisingMap<width>(channels, channel);
  }
  __device__ float operator()(int i, const GradientInputs<width>& row) const {
    if constexpr (gate == Gate::output) return passed(row.y[i], row.dy[i]);
    if constexpr (gate == Gate::input) return passed(map_(i, row.x[i]), row.dy[i]);
    return row.dy[i];
  }

 private:
  __device__ float passed(float value, float dy) const {
    return value > 0.0F && value < ceiling_ ? dy : 0.0F;
  }

  float ceiling_;
  NormalisingMap<width> map_;
};

/// Partial sums of dz and dz (x - mean).
template <Gate gate, int width, class T>
__global__ void __launch_bounds__(block_threads)
    gradient_sums_kernel(Tiling tiling, Saved<T> saved, const T* __restrict__ dy,
                         double* __restrict__ partial) {
  const Share share = share_of<width>(tiling);
  double first[width] = {};
  double second[width] = {};
  if (share.row < share.end) {
    const auto mean = load<width>(saved.channels.mean + share.channel);
    const Rectifier<gate, width> rectified(saved.channels, share.channel, saved.ceiling);
    Floats<width> sum{};
    Floats<width> product{};
    for_each_row(
        tiling, share, saved.whole,
        [=](const Place& place) { return load_row<gate, width>(saved, dy, place); },
        [&](const Place&, const GradientInputs<width>& row) {
          for (int i = 0; i < width; ++i) {
            const float dz = rectified(i, row);
            sum[i] += dz;
            product[i] += dz * (row.x[i] - mean[i]);
          }
        });
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

template <Gate gate, int width, class T>
__global__ void __launch_bounds__(block_threads)
    differentiate_kernel(Tiling tiling, Saved<T> saved, const float* __restrict__ coefficients,
                         const T* __restrict__ dy, bool add, T* __restrict__ dx, T* __restrict__ dresidual) {
  const Share share = share_of<width>(tiling);
  if (share.idle) return;
  const auto mean = load<width>(saved.channels.mean + share.channel);
  const auto scale = load<width>(coefficients + share.channel);
  const auto slope = load<width>(coefficients + tiling.channels + share.channel);
  const auto offset = load<width>(coefficients + 2 * tiling.channels + share.channel);
  const Rectifier<gate, width> rectified(saved.channels, share.channel, saved.ceiling);
  for_each_row(
      tiling, share, saved.whole, [=](const Place& place) { return load_row<gate, width>(saved, dy, place); },
      [&](const Place& place, const GradientInputs<width>& row) {
        Floats<width> dz;
        Floats<width> gradient;
        for (int i = 0; i < width; ++i) {
          dz[i] = rectified(i, row);
          gradient[i] = scale[i] * dz[i] + (slope[i] * (row.x[i] - mean[i]) + offset[i]);
        }
        if (add) gradient += load<width>(dx + place.here);
        store(dx + place.here, gradient);
        if (dresidual != nullptr) store(dresidual + place.whole, dz);
      });
}

float* channel_data(const Tensor& x, std::int64_t first) {
  return x.defined() ? static_cast<float*>(x.raw()) + first : nullptr;
}

/// The vectors {C} from the first channel of a part on.
Channels channels_of(const Tensor& gamma, const Tensor& beta, const Tensor& mean, const Tensor& inverse_std,
                     std::int64_t first) {
  return {channel_data(gamma, first), channel_data(beta, first), channel_data(mean, first),
          channel_data(inverse_std, first)};
}

/// Space for the partial sums of a Tiling: {parts, 2, C} of f64, which no DType is, so twice as many f32.
Tensor partial_sums(const Tiling& tiling) {
  return Tensor::empty({tiling.parts, 2, tiling.channels, 2}, DType::f32, Device::cuda);
}

/// Calls f(i, T{}, Width<w>{}, whole) for each part i of rows of `channels` channels of the floating `dtype`.
template <class F>
void for_each_part(const std::vector<BatchNormPart>& parts, DType dtype, std::int64_t channels, F&& f) {
  Whole whole{.channels = channels, .first = 0};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::int64_t own = parts[i].x.size(-1);
    visit_groups(dtype, own | whole.first | channels,
                 [&](auto type, auto width) { f(i, type, width, whole); });
    whole.first += own;
  }
}

}  // namespace

void CudaBackend::batch_norm_train(const BatchNormParams& params, const BatchNormInputs& in,
                                   BatchNormStatistics& running, Tensor& mean, Tensor& inverse_std,
                                   Tensor& y) {
  const std::int64_t rows = y.numel() / y.size(-1);
  for_each_part(in.parts, y.dtype(), y.size(-1),
                [&]<class T, int width>(std::size_t i, T, Width<width>, const Whole& whole) {
                  const auto& [part, known] = in.parts[i];
                  const std::int64_t channels = part.size(-1);
                  const Statistics statistics{
                      .momentum = params.momentum,
                      .epsilon = params.epsilon,
                      .count = static_cast<double>(rows),
                      .mean = channel_data(mean, whole.first),
                      .inverse_std = channel_data(inverse_std, whole.first),
                      .running_mean = channel_data(running.mean, whole.first),
                      .running_variance = channel_data(running.variance, whole.first),
                      .batches = i == 0 ? static_cast<std::int64_t*>(running.batches.raw()) : nullptr};
                  const auto* x = static_cast<const T*>(part.raw());
                  if (known->defined()) {
                    run("batch_norm", grid_of(channels), known_statistics_kernel, channels,
                        Moments(*known, channels), statistics);
                  } else {
                    *known = Moments::allocate(channels);
                    const Tiling summing = tiling_of(rows, channels, width, most_summing_blocks);
                    const Tensor partial = partial_sums(summing);
                    auto* sums = static_cast<double*>(partial.raw());
                    run("batch_norm", summing.shape(), moments_kernel<width, T>, summing, x, sums);
                    run("batch_norm", shape_of_totals(channels), statistics_kernel<T>, summing, sums, x,
                        Moments(*known, channels), statistics);
                  }
                  const Tiling mapping = tiling_of(rows, channels, width, most_mapping_blocks);
                  run("batch_norm", mapping.shape(), normalise_kernel<width, T>, mapping, whole,
                      channels_of(in.gamma, in.beta, mean, inverse_std, whole.first),
                      params.activation != Activation::none, ceiling_of(params.activation), x,
                      static_cast<const T*>(in.residual.raw()), static_cast<T*>(y.raw()));
                });
}

void CudaBackend::batch_norm_eval(const BatchNormParams& params, const BatchNormInputs& in,
                                  const BatchNormStatistics& running, Tensor& y) {
  const std::int64_t channels = y.size(-1);
  const std::int64_t rows = y.numel() / channels;
  const Tensor inverse_std = Tensor::empty({channels}, DType::f32, Device::cuda);
  run("batch_norm", grid_of(channels), inverse_std_kernel, channels, params.epsilon,
      channel_data(running.variance, 0), channel_data(inverse_std, 0));
  for_each_part(in.parts, y.dtype(), channels,
                [&]<class T, int width>(std::size_t i, T, Width<width>, const Whole& whole) {
                  const Tensor& x = in.parts[i].x;
                  const Tiling mapping = tiling_of(rows, x.size(-1), width, most_mapping_blocks);
                  run("batch_norm", mapping.shape(), normalise_kernel<width, T>, mapping, whole,
                      channels_of(in.gamma, in.beta, running.mean, inverse_std, whole.first),
                      params.activation != Activation::none, ceiling_of(params.activation),
                      static_cast<const T*>(x.raw()), static_cast<const T*>(in.residual.raw()),
                      static_cast<T*>(y.raw()));
                });
}

void CudaBackend::batch_norm_backward(const BatchNormParams& params, const BatchNormSaved& saved,
                                      const Tensor& dy, BatchNormGradients& out) {
  const std::int64_t rows = dy.numel() / dy.size(-1);
  const auto differentiate = [&]<Gate gate, class T, int width>(std::integral_constant<Gate, gate>, T,
                                                                Width<width>, std::size_t i,
                                                                const Whole& whole) {
    const Tensor& x = saved.parts[i].x;
    const std::int64_t channels = x.size(-1);
    const Tensor coefficients = Tensor::empty({3, channels}, DType::f32, Device::cuda);
    const Saved<T> forward{
        .channels = channels_of(saved.gamma, saved.beta, saved.mean, saved.inverse_std, whole.first),
        .whole = whole,
        .ceiling = ceiling_of(params.activation),
        .x = static_cast<const T*>(x.raw()),
        .y = static_cast<const T*>(saved.y.raw())};
    const auto* gradient = static_cast<const T*>(dy.raw());
    const Tiling summing = tiling_of(rows, channels, width, most_summing_blocks);
    const Tensor partial = partial_sums(summing);
    auto* sums = static_cast<double*>(partial.raw());
    run("batch_norm backward", summing.shape(), gradient_sums_kernel<gate, width, T>, summing, forward,
        gradient, sums);
    run("batch_norm backward", shape_of_totals(channels), coefficients_kernel, summing, params.training, sums,
        forward.channels, channel_data(out.dgamma, whole.first), channel_data(out.dbeta, whole.first),
        channel_data(coefficients, 0));
    const Tiling mapping = tiling_of(rows, channels, width, most_mapping_blocks);
    run("batch_norm backward", mapping.shape(), differentiate_kernel<gate, width, T>, mapping, forward,
        channel_data(coefficients, 0), gradient, out.parts[i].add, static_cast<T*>(out.parts[i].dx.raw()),
        static_cast<T*>(out.dresidual.raw()));
  };
  visit_gate(params, saved, [&](auto gate) {
    for_each_part(saved.parts, dy.dtype(), dy.size(-1),
                  [&](std::size_t i, auto type, auto width, const Whole& whole) {
                    differentiate(gate, type, width, i, whole);
                  });
  });
}

}  // namespace generous::cuda
