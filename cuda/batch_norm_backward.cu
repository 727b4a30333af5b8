// The gradients of batch norm. Formulas: core/backend.h. Two kernels, as forward: the first one adds up what
// the second one needs.

#include <cstdint>

#include "cuda/batch_norm.h"
#include "cuda/begin_kernel.h"
#include "cuda/cuda_backend.h"

namespace generous::cuda {
namespace {

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

}  // namespace

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
    const Tiling summing = tiling_of(rows, channels, width, tiles_of_sums, blocks_at_once(summing_kernel));
    const MeetingRoom<Sums> room(summing, tickets());
    run("batch_norm backward", summing.shape(), summing_kernel, summing, forward, dy, room.meeting(), dgamma,
        dbeta);
    const auto kernel = differentiate_kernel<gate, width, T>;
    const Tiling mapping = tiling_of(rows, channels, width, tiles_of_maps, blocks_at_once(kernel));
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
