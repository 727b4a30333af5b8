// What both directions of batch norm are made with (batch_norm.cu, batch_norm_backward.cu). x comes in parts
// {M, c}, whose channels are some of the rows {M, C} of y: a part is worked on by itself. T is the element
// type of x, y, the residual and their gradients; everything {C} is f32. A thread adds tens to hundreds of
// rows in f32; what threads found is put together in f64 for f32 and in f32 for bf16, which many GPUs are far
// better at.
#pragma once

#include <cmath>
#include <type_traits>
#include <vector>

#include "core/params.h"
#include "cuda/channel_groups.h"
#include "cuda/channel_sums.h"
#include "cuda/launch.h"

namespace generous::cuda {

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

/// gamma (x - mean) inverse_std + beta as scale * x + shift: the same bits forward and backward.
struct ChannelScale {
  float scale, shift;

  __device__ ChannelScale(float gamma, float beta, float mean, float inverse_std)
      : scale(gamma * inverse_std),
        shift(std::fma(-mean, scale, beta)) {}  // x = mean gives beta but for one rounding
};

/// The same of all channels {C}, as the forward pass keeps it for its second kernel.
struct StoredMap {
  float* scale;
  float* shift;
};

/// The same of a thread's channels.
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
      const ChannelScale map(gamma[i], beta[i], mean[i], inverse_std[i]);
      scale[i] = map.scale;
      shift[i] = map.shift;
    }
  }
  __device__ NormalisingMap(const StoredMap& in, std::int64_t channel)
      : scale(load<width>(in.scale + channel)), shift(load<width>(in.shift + channel)) {}
  /// Rounded once, whatever the compiler makes of the code around it.
  __device__ float operator()(int i, float x) const { return std::fma(scale[i], x, shift[i]); }
};

inline float* channel_data(const Tensor& x, std::int64_t first) {
  return x.defined() ? data_of<float>(x) + first : nullptr;
}

/// The vectors {C} from the first channel of a part on.
inline Channels channels_of(const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                            const Tensor& inverse_std, std::int64_t first) {
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

}  // namespace generous::cuda
