// Batch norm over the rows of x {M, C}, fused with residual and ReLU. Formulas: core/backend.h. x comes in
// parts {M, c}, whose channels are some of the rows {M, C} of y: a part is worked on by itself. Each
// direction is two kernels: the first one adds up what the second one needs, an affine map per channel. T is
// the element type of x, y, the residual and their gradients; everything {C} is f32. A thread adds tens to
// hundreds of rows in f32; what threads found is put together in f64 for f32 and in f32 for bf16, which many
// GPUs are far better at.

#include <algorithm>
#include <cmath>

#include "core/functors.h"
#include "cuda/channel_groups.h"
#include "cuda/channel_sums.h"
#include "cuda/cuda_backend.h"

namespace generous::cuda {
namespace {

/// What sums over images of T are put together in.
template <class T>
using SumOver = std::conditional_t<std::is_same_v<T, float>, double, float>;

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
      scale[i] = gamma[i] * inverse_std[i];
      shift[i] = std::fma(-mean[i], scale[i], beta[i]);  // x = mean gives beta but for one rounding
    }
  }
  /// Rounded once, whatever the compiler makes of the code around it.
  __device__ float operator()(int i, float x) const { return std::fma(scale[i], x, shift[i]); }
};

// Forward

/// Of some rows of a channel: their number, mean, and sum of (x - mean)^2. Merged as Chan et al. 1983 do,
/// which costs no digits where the mean is far from zero.
template <class Sum>
struct MomentSums {
  Sum count, mean, squares;

  __device__ void merge(const MomentSums& other) {
    if (other.count == Sum(0)) return;
    const Sum all = count + other.count;
    const Sum share = other.count / all;
    const Sum distance = other.mean - mean;
    squares += other.squares + distance * distance * count * share;
    mean += distance * share;
    count = all;
  }
};

/// Mean and biased variance {c} of a part, which are kept with it.
struct Moments {
  float* mean;
  float* variance;

  Moments(const Tensor& kept, std::int64_t channels)
      : mean(data_of<float>(kept)), variance(mean + channels) {}
};

/// What the training pass writes per channel.
struct Statistics {
  float momentum, epsilon;
  std::int64_t count;  ///< M
  float* mean;
  float* inverse_std;
  float* running_mean;
  float* running_variance;
  std::int64_t* batches;  ///< null: not counted
};

template <class Sum>
__device__ void write_statistics(const Statistics& out, std::int64_t c, Sum mean, Sum variance) {
  const Sum momentum = static_cast<Sum>(out.momentum);
  const Sum count = static_cast<Sum>(out.count);
  const auto update = [momentum](float& old, Sum value) {
    old = static_cast<float>((Sum(1) - momentum) * static_cast<Sum>(old) + momentum * value);
  };
  update(out.running_mean[c], mean);
  update(out.running_variance[c], variance * (count / (count - Sum(1))));
  out.mean[c] = static_cast<float>(mean);
  out.inverse_std[c] = static_cast<float>(Sum(1) / std::sqrt(variance + static_cast<Sum>(out.epsilon)));
  if (c == 0 && out.batches != nullptr) ++*out.batches;
}

/// A thread measures from its own first row, so that a mean far from zero costs no digits of the variance.
template <int width, class T>
__global__ void __launch_bounds__(block_threads)
    statistics_kernel(Tiling tiling, const T* __restrict__ x, Meeting<MomentSums<SumOver<T>>> meeting,
                      Moments moments, Statistics out) {
  begin_kernel();
  using Sum = SumOver<T>;
  const Share share = share_of<width>(tiling);
  MomentSums<Sum> own[width] = {};
  if (share.row < share.end) {
    const auto origin = load<width>(x + share.row * tiling.channels + share.channel);
    Floats<width> sum{};
    Floats<width> squares{};
    for_each_row(
        tiling, share, {}, [=](const RowPlace& place) { return load<width>(x + place.here); },
        [&](const RowPlace&, const Floats<width>& values) {
          for (int i = 0; i < width; ++i) {
            const float d = values[i] - origin[i];
            sum[i] += d;
            squares[i] += d * d;
          }
        });
    const auto count = static_cast<Sum>((share.end - share.row + tiling.lines - 1) / tiling.lines);
    for (int i = 0; i < width; ++i) {
      const Sum distance = static_cast<Sum>(sum[i]) / count;
      const Sum left = static_cast<Sum>(squares[i]) - static_cast<Sum>(sum[i]) * distance;
      own[i] = {count, static_cast<Sum>(origin[i]) + distance, left > Sum(0) ? left : Sum(0)};
    }
  }
  sum_up<width>(tiling, share, own, meeting, [&](std::int64_t c, const MomentSums<Sum>& all) {
    const Sum variance = all.squares / all.count;
    moments.mean[c] = static_cast<float>(all.mean);
    moments.variance[c] = static_cast<float>(variance);
    write_statistics(out, c, all.mean, variance);
  });
}

/// The same from moments that are known already.
__global__ void known_statistics_kernel(std::int64_t channels, Moments moments, Statistics out) {
  begin_kernel();
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c < channels) write_statistics(out, c, moments.mean[c], moments.variance[c]);
}

__global__ void inverse_std_kernel(std::int64_t channels, float epsilon, const float* __restrict__ variance,
                                   float* __restrict__ inverse_std) {
  begin_kernel();
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c < channels) inverse_std[c] = 1.0F / std::sqrt(variance[c] + epsilon);
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
  begin_kernel();
  const Share share = share_of<width>(tiling);
  if (share.idle) return;
  const NormalisingMap<width> map(in, share.channel);
  for_each_row(
      tiling, share, whole,
      [=](const RowPlace& place) {
        return NormaliseInputs<width>{load<width>(x + place.here), residual != nullptr
                                                                       ? load<width>(residual + place.whole)
                                                                       : Floats<width>{}};
      },
      [&](const RowPlace& place, const NormaliseInputs<width>& row) {
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
                                          const RowPlace& place) {
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

/// Of some rows of a channel: the sums of dz and dz (x - mean).
template <class Sum>
struct GradientSums {
  Sum dz, product;

  __device__ void merge(const GradientSums& other) {
    dz += other.dz;
    product += other.product;
  }
};

/// dbeta and dgamma.
template <Gate gate, int width, class T>
__global__ void __launch_bounds__(block_threads)
    gradient_sums_kernel(Tiling tiling, Saved<T> saved, const T* __restrict__ dy,
                         Meeting<GradientSums<SumOver<T>>> meeting, float* __restrict__ dgamma,
                         float* __restrict__ dbeta) {
  begin_kernel();
  using Sum = SumOver<T>;
  const Share share = share_of<width>(tiling);
  GradientSums<Sum> own[width] = {};
  if (share.row < share.end) {
    const auto mean = load<width>(saved.channels.mean + share.channel);
    const Rectifier<gate, width> rectified(saved.channels, share.channel, saved.ceiling);
    Floats<width> sum{};
    Floats<width> product{};
    for_each_row(
        tiling, share, saved.whole,
        [=](const RowPlace& place) { return load_row<gate, width>(saved, dy, place); },
        [&](const RowPlace&, const GradientInputs<width>& row) {
          for (int i = 0; i < width; ++i) {
            const float dz = rectified(i, row);
            sum[i] += dz;
            product[i] += dz * (row.x[i] - mean[i]);
          }
        });
    for (int i = 0; i < width; ++i) own[i] = {static_cast<Sum>(sum[i]), static_cast<Sum>(product[i])};
  }
  sum_up<width>(tiling, share, own, meeting, [&](std::int64_t c, const GradientSums<Sum>& all) {
    dbeta[c] = static_cast<float>(all.dz);
    dgamma[c] = static_cast<float>(all.product * static_cast<Sum>(saved.channels.inverse_std[c]));
  });
}

/// What becomes of dz: dx = scale dz + slope (x - mean) + offset, for a thread's channels.
template <int width>
struct GradientMap {
  Floats<width> mean, scale, slope, offset;

  /// dgamma and dbeta are null where the statistics do not depend on x.
  __device__ GradientMap(const Channels& in, std::int64_t channel, float share, const float* dgamma,
                         const float* dbeta)
      : mean(load<width>(in.mean + channel)), slope{}, offset{} {
    const auto inverse_std = load<width>(in.inverse_std + channel);
    scale = load<width>(in.gamma + channel);
    for (int i = 0; i < width; ++i) scale[i] *= inverse_std[i];
    if (dgamma == nullptr) return;
    const auto product = load<width>(dgamma + channel);
    const auto sum = load<width>(dbeta + channel);
    for (int i = 0; i < width; ++i) {
      slope[i] = -share * scale[i] * inverse_std[i] * product[i];
      offset[i] = -share * scale[i] * sum[i];
    }
  }
  __device__ float operator()(int i, float x, float dz) const {
    return scale[i] * dz + (slope[i] * (x - mean[i]) + offset[i]);
  }
};

/// `share_of_row` is 1 / M.
template <Gate gate, int width, class T>
__global__ void __launch_bounds__(block_threads)
    differentiate_kernel(Tiling tiling, Saved<T> saved, float share_of_row, const float* __restrict__ dgamma,
                         const float* __restrict__ dbeta, const T* __restrict__ dy, bool add,
                         T* __restrict__ dx, T* __restrict__ dresidual) {
  begin_kernel();
  const Share share = share_of<width>(tiling);
  if (share.idle) return;
  const GradientMap<width> map(saved.channels, share.channel, share_of_row, dgamma, dbeta);
  const Rectifier<gate, width> rectified(saved.channels, share.channel, saved.ceiling);
  for_each_row(
      tiling, share, saved.whole,
      [=](const RowPlace& place) { return load_row<gate, width>(saved, dy, place); },
      [&](const RowPlace& place, const GradientInputs<width>& row) {
        Floats<width> dz;
        Floats<width> gradient;
        for (int i = 0; i < width; ++i) {
          dz[i] = rectified(i, row);
          gradient[i] = map(i, row.x[i], dz[i]);
        }
        if (add) gradient += load<width>(dx + place.here);
        store(dx + place.here, gradient);
        if (dresidual != nullptr) store(dresidual + place.whole, dz);
      });
}

float* channel_data(const Tensor& x, std::int64_t first) {
  return x.defined() ? data_of<float>(x) + first : nullptr;
}

/// The vectors {C} from the first channel of a part on.
Channels channels_of(const Tensor& gamma, const Tensor& beta, const Tensor& mean, const Tensor& inverse_std,
                     std::int64_t first) {
  return {channel_data(gamma, first), channel_data(beta, first), channel_data(mean, first),
          channel_data(inverse_std, first)};
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
  for_each_part(
      in.parts, y.dtype(), y.size(-1),
      [&]<class T, int width>(std::size_t i, T, Width<width>, const Whole& whole) {
        const auto& [part, known] = in.parts[i];
        const std::int64_t channels = part.size(-1);
        const Statistics statistics{.momentum = params.momentum,
                                    .epsilon = params.epsilon,
                                    .count = rows,
                                    .mean = channel_data(mean, whole.first),
                                    .inverse_std = channel_data(inverse_std, whole.first),
                                    .running_mean = channel_data(running.mean, whole.first),
                                    .running_variance = channel_data(running.variance, whole.first),
                                    .batches = i == 0 ? data_of<std::int64_t>(running.batches) : nullptr};
        if (known->defined()) {
          run("batch_norm", grid_of(channels), known_statistics_kernel, channels, Moments(*known, channels),
              statistics);
        } else {
          *known = Tensor::empty({2, channels}, DType::f32, Device::cuda);
          using Sums = MomentSums<SumOver<T>>;
          const auto kernel = statistics_kernel<width, T>;
          const Tiling summing = tiling_of(rows, channels, width, columns_of_sums, blocks_at_once(kernel));
          const MeetingRoom<Sums> room(summing, tickets());
          run("batch_norm", summing.shape(), kernel, summing, part, room.meeting(), Moments(*known, channels),
              statistics);
        }
        const auto kernel = normalise_kernel<width, T>;
        const Tiling mapping = tiling_of(rows, channels, width, columns_of_maps, blocks_at_once(kernel));
        run("batch_norm", mapping.shape(), kernel, mapping, whole,
            channels_of(in.gamma, in.beta, mean, inverse_std, whole.first),
            params.activation != Activation::none, ceiling_of(params.activation), part, in.residual, y);
      });
}

void CudaBackend::batch_norm_eval(const BatchNormParams& params, const BatchNormInputs& in,
                                  const BatchNormStatistics& running, Tensor& y) {
  const std::int64_t channels = y.size(-1);
  const std::int64_t rows = y.numel() / channels;
  const Tensor inverse_std = Tensor::empty({channels}, DType::f32, Device::cuda);
  run("batch_norm", grid_of(channels), inverse_std_kernel, channels, params.epsilon, running.variance,
      inverse_std);
  for_each_part(
      in.parts, y.dtype(), channels,
      [&]<class T, int width>(std::size_t i, T, Width<width>, const Whole& whole) {
        const Tensor& x = in.parts[i].x;
        const auto kernel = normalise_kernel<width, T>;
        const Tiling mapping = tiling_of(rows, x.size(-1), width, columns_of_maps, blocks_at_once(kernel));
        run("batch_norm", mapping.shape(), kernel, mapping, whole,
            channels_of(in.gamma, in.beta, running.mean, inverse_std, whole.first),
            params.activation != Activation::none, ceiling_of(params.activation), x, in.residual, y);
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
    const Saved<T> forward{
        .channels = channels_of(saved.gamma, saved.beta, saved.mean, saved.inverse_std, whole.first),
        .whole = whole,
        .ceiling = ceiling_of(params.activation),
        .x = data_of<T>(x),
        .y = data_of<T>(saved.y)};
    float* const dgamma = channel_data(out.dgamma, whole.first);
    float* const dbeta = channel_data(out.dbeta, whole.first);
    using Sums = GradientSums<SumOver<T>>;
    const auto summing_kernel = gradient_sums_kernel<gate, width, T>;
    const Tiling summing = tiling_of(rows, channels, width, columns_of_sums, blocks_at_once(summing_kernel));
    const MeetingRoom<Sums> room(summing, tickets());
    run("batch_norm backward", summing.shape(), summing_kernel, summing, forward, dy, room.meeting(), dgamma,
        dbeta);
    const auto kernel = differentiate_kernel<gate, width, T>;
    const Tiling mapping = tiling_of(rows, channels, width, columns_of_maps, blocks_at_once(kernel));
    run("batch_norm backward", mapping.shape(), kernel, mapping, forward, 1.0F / static_cast<float>(rows),
        params.training ? dgamma : nullptr, dbeta, dy, out.parts[i].add, out.parts[i].dx, out.dresidual);
  };
  visit_gate(params, saved, [&](auto gate) {
    for_each_part(saved.parts, dy.dtype(), dy.size(-1),
                  [&](std::size_t i, auto type, auto width, const Whole& whole) {
                    differentiate(gate, type, width, i, whole);
                  });
  });
}

}  // namespace generous::cuda
