// Batch norm over the rows of x {M, C}, fused with residual and ReLU. Formulas: core/backend.h. Two kernels:
// the first one adds up what the second one needs, an affine map per channel.

#include <algorithm>

#include "core/functors.h"
#include "cuda/batch_norm.h"
#include "cuda/begin_kernel.h"
#include "cuda/cuda_backend.h"
#include "cuda/output_sums.h"

namespace generous::cuda {
namespace {

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
  const float* gamma;
  const float* beta;
  StoredMap map;
};

/// Nothing of it: the moments alone are wanted.
constexpr Statistics no_statistics{};

template <class Sum>
__device__ void write_statistics(const Statistics& out, std::int64_t c, Sum mean, Sum variance) {
  if (out.mean == nullptr) return;
  const Sum momentum = static_cast<Sum>(out.momentum);
  const Sum count = static_cast<Sum>(out.count);
  const auto update = [momentum](float& old, Sum value) {
    old = static_cast<float>((Sum(1) - momentum) * static_cast<Sum>(old) + momentum * value);
  };
  update(out.running_mean[c], mean);
  update(out.running_variance[c], variance * (count / (count - Sum(1))));
  out.mean[c] = static_cast<float>(mean);
  out.inverse_std[c] = static_cast<float>(Sum(1) / std::sqrt(variance + static_cast<Sum>(out.epsilon)));
  const ChannelScale map(out.gamma[c], out.beta[c], out.mean[c], out.inverse_std[c]);
  out.map.scale[c] = map.scale;
  out.map.shift[c] = map.shift;
  if (c == 0 && out.batches != nullptr) ++*out.batches;
}

/// Of some rows of a channel: the sums of x - origin and of its square.
template <class Sum>
struct SumsFromOrigin {
  Sum sum, squares;

  __device__ void merge(const SumsFromOrigin& other) {
    sum += other.sum;
    squares += other.squares;
  }
  /// The same as moments, of `count` rows.
  __device__ MomentSums<Sum> moments(Sum count, float origin) const {
    const Sum distance = sum / count;
    const Sum left = squares - sum * distance;
    return {count, static_cast<Sum>(origin) + distance, left > Sum(0) ? left : Sum(0)};
  }
};

/// A block measures from its own first row, so that a mean far from zero costs no digits of the variance.
template <int width, class T>
__global__ void __launch_bounds__(block_threads, 3)
    statistics_kernel(Tiling tiling, const T* __restrict__ x, Meeting<MomentSums<SumOver<T>>> meeting,
                      Moments moments, Statistics out) {
  begin_kernel();
  using Sum = SumOver<T>;
  const Share share = share_of<width>(tiling);
  const std::int64_t first_row = share.part * tiling.rows_of_a_part;
  Floats<width> origin{};
  SumsFromOrigin<Sum> own[width] = {};
  if (share.row < share.end) {
    origin = load<width>(x + first_row * tiling.channels + share.channel);
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
    for (int i = 0; i < width; ++i) own[i] = {static_cast<Sum>(sum[i]), static_cast<Sum>(squares[i])};
  }
  sum_up<width>(
      tiling, share, own, meeting,
      [&](std::int64_t c, const MomentSums<Sum>& all) {
        const Sum variance = all.squares / all.count;
        moments.mean[c] = static_cast<float>(all.mean);
        moments.variance[c] = static_cast<float>(variance);
        write_statistics(out, c, all.mean, variance);
      },
      [&](int i, const SumsFromOrigin<Sum>& sums) {
        return sums.moments(static_cast<Sum>(share.end - first_row), origin[i]);
      });
}

/// The same from moments that are known already.
__global__ void known_statistics_kernel(std::int64_t channels, Moments moments, Statistics out) {
  begin_kernel();
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c < channels) write_statistics(out, c, moments.mean[c], moments.variance[c]);
}

/// The same from sums {c} over all rows, of x and of x^2. Where the mean is far larger than the deviation,
/// the difference below has few digits left; a convolution's outputs are not like that.
__global__ void statistics_of_sums_kernel(std::int64_t channels, const float* __restrict__ sums,
                                          const float* __restrict__ square_sums, Moments moments,
                                          Statistics out) {
  begin_kernel();
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  const auto count = static_cast<double>(out.count);
  const double mean = sums[c] / count;
  const double left = square_sums[c] / count - mean * mean;
  const double variance = left > 0.0 ? left : 0.0;
  moments.mean[c] = static_cast<float>(mean);
  moments.variance[c] = static_cast<float>(variance);
  write_statistics(out, c, mean, variance);
}

/// The map of an evaluation.
__global__ void map_kernel(std::int64_t channels, float epsilon, const float* __restrict__ gamma,
                           const float* __restrict__ beta, const float* __restrict__ mean,
                           const float* __restrict__ variance, StoredMap out) {
  begin_kernel();
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  const ChannelScale map(gamma[c], beta[c], mean[c], 1.0F / std::sqrt(variance[c] + epsilon));
  out.scale[c] = map.scale;
  out.shift[c] = map.shift;
}

/// What a row of a normalisation needs; `residual` is zeros where there is none.
template <int width>
struct NormaliseInputs {
  Floats<width> x, residual;
};

template <int width, class T>
__global__ void __launch_bounds__(block_threads)
    normalise_kernel(Tiling tiling, Whole whole, StoredMap in, bool activated, float ceiling,
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

/// Room for the map of C channels.
class MapRoom {
 public:
  explicit MapRoom(std::int64_t channels)
      : scale_(Tensor::empty({channels}, DType::f32, Device::cuda)),
        shift_(Tensor::empty({channels}, DType::f32, Device::cuda)) {}
  /// From a channel on.
  StoredMap from(std::int64_t first) const {
    return {.scale = channel_data(scale_, first), .shift = channel_data(shift_, first)};
  }

 private:
  Tensor scale_, shift_;
};

}  // namespace

void CudaBackend::batch_norm_train(const BatchNormParams& params, const BatchNormInputs& in,
                                   BatchNormStatistics& running, Tensor& mean, Tensor& inverse_std,
                                   Tensor& y) {
  const std::int64_t rows = y.numel() / y.size(-1);
  const MapRoom maps(y.size(-1));
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
                                    .batches = i == 0 ? data_of<std::int64_t>(running.batches) : nullptr,
                                    .gamma = channel_data(in.gamma, whole.first),
                                    .beta = channel_data(in.beta, whole.first),
                                    .map = maps.from(whole.first)};
        if (known->defined()) {
          run("batch_norm", grid_of(channels), known_statistics_kernel, channels, Moments(*known, channels),
              statistics);
        } else {
          *known = Tensor::empty({2, channels}, DType::f32, Device::cuda);
          const Moments moments(*known, channels);
          OutputSums* const sums = sums_of(part);
          if (sums != nullptr && sums->fresh) {
            run("batch_norm", grid_of(channels), statistics_of_sums_kernel, channels, sums->sum,
                sums->square_sum, moments, statistics);
          } else {
            if (sums != nullptr) sums->weight->sums_wanted = true;
            const auto kernel = statistics_kernel<width, T>;
            const Tiling summing = tiling_of(rows, channels, width, tiles_of_sums, blocks_at_once(kernel));
            const MeetingRoom<MomentSums<SumOver<T>>> room(summing, tickets());
            run("batch_norm", summing.shape(), kernel, summing, part, room.meeting(), moments, statistics);
          }
        }
        const auto kernel = normalise_kernel<width, T>;
        const Tiling mapping = tiling_of(rows, channels, width, tiles_of_maps, blocks_at_once(kernel));
        run("batch_norm", mapping.shape(), kernel, mapping, whole, statistics.map,
            params.activation != Activation::none, ceiling_of(params.activation), part, in.residual, y);
      });
}

Tensor CudaBackend::batch_moments(const Tensor& x) {
  const std::int64_t channels = x.size(-1);
  Tensor moments = Tensor::empty({2, channels}, DType::f32, Device::cuda);
  visit_groups(x.dtype(), channels, [&]<class T, int width>(T, Width<width>) {
    const auto kernel = statistics_kernel<width, T>;
    const Tiling summing =
        tiling_of(x.numel() / channels, channels, width, tiles_of_sums, blocks_at_once(kernel));
    const MeetingRoom<MomentSums<SumOver<T>>> room(summing, tickets());
    run("batch_norm", summing.shape(), kernel, summing, x, room.meeting(), Moments(moments, channels),
        no_statistics);
  });
  return moments;
}

void CudaBackend::batch_norm_eval(const BatchNormParams& params, const BatchNormInputs& in,
                                  const BatchNormStatistics& running, Tensor& y) {
  const std::int64_t channels = y.size(-1);
  const std::int64_t rows = y.numel() / channels;
  const MapRoom maps(channels);
  run("batch_norm", grid_of(channels), map_kernel, channels, params.epsilon, in.gamma, in.beta, running.mean,
      running.variance, maps.from(0));
  for_each_part(
      in.parts, y.dtype(), channels,
      [&]<class T, int width>(std::size_t i, T, Width<width>, const Whole& whole) {
        const Tensor& x = in.parts[i].x;
        const auto kernel = normalise_kernel<width, T>;
        const Tiling mapping = tiling_of(rows, x.size(-1), width, tiles_of_maps, blocks_at_once(kernel));
        run("batch_norm", mapping.shape(), kernel, mapping, whole, maps.from(whole.first),
            params.activation != Activation::none, ceiling_of(params.activation), x, in.residual, y);
      });
}

}  // namespace generous::cuda
