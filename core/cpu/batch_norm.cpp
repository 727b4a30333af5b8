// Batch norm over the rows of x {M, C}, given in parts {M, c_i}, fused with residual and activation. Each
// direction is two passes over the data: sums per channel, then one affine map per channel. T is the element
// type of x, y, the residual and their gradients; everything {C} is f32, and so is the arithmetic. Formulas:
// core/backend.h.

#include <cmath>

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"
#include "core/cpu/vector_lanes.h"

namespace generous {
namespace {

/// Rows that fit the first-level cache together with the other operands of a pass; of many channels more, as
/// the sums of a block have to be worth adding up.
std::int64_t rows_per_block(std::int64_t channels) {
  return std::clamp<std::int64_t>(4096 / channels, 32, 256);
}

/// Runs block(begin, end, thread) over blocks of rows on all threads; returns the threads used.
template <class F>
int for_row_blocks(std::int64_t rows, std::int64_t channels, F&& block) {
  const std::int64_t step = rows_per_block(channels);
  return parallel_ranges(rows, std::max<std::int64_t>(1, elementwise_grain / channels),
                         [&](std::int64_t begin, std::int64_t end, int thread) {
                           for (std::int64_t row = begin; row < end; row += step)
                             block(row, std::min(row + step, end), thread);
                         });
}

/// A part of x as it lies in memory, and where its channels lie in all of x. T is constant where it is read.
template <class T>
struct Part {
  T* data;
  std::int64_t channels;
  std::int64_t first;  ///< in {M, C}
};

template <class T>
std::vector<Part<const T>> parts_of(const std::vector<BatchNormPart>& tensors) {
  std::vector<Part<const T>> parts;
  std::int64_t first = 0;
  for (const auto& [x, moments] : tensors) {
    parts.push_back({x.template data<T>().data(), x.size(-1), first});
    first += x.size(-1);
  }
  return parts;
}

/// f.template operator()<V>(part, c) for every part and the groups of its channels that begin at c.
template <class T, class F>
void for_part_channels(const std::vector<Part<T>>& parts, F&& f) {
  for (const Part<T>& part : parts)
    for_channels(part.channels, [&]<class V>(std::int64_t c) { f.template operator()<V>(part, c); });
}

/// Whether what is written into some channels of rows {C} may go past the caches: worth_streaming.
template <class T>
bool worth_streaming_parts(std::size_t bytes, const std::vector<Part<T>>& parts) {
  return std::ranges::all_of(parts, [=](const auto& part) {
    return worth_streaming(bytes, static_cast<std::size_t>(part.channels) * sizeof(T));
  });
}

/// Two sums per channel: each block is summed in f32, blocks and threads are added up in double, in order.
class ChannelSums {
 public:
  explicit ChannelSums(std::int64_t channels)
      : channels_(channels), totals_(static_cast<std::size_t>(omp_get_max_threads() * 2 * channels), 0.0) {}

  template <class V>
  void add(int thread, std::int64_t channel, V first, V second) {
    constexpr std::int64_t width = sizeof(V) / sizeof(float);
    double* total = totals_.data() + thread * 2 * channels_ + channel;
    float values[2 * width];
    store(values, first);
    store(values + width, second);
    for (std::int64_t i = 0; i < width; ++i) {
      total[i] += static_cast<double>(values[i]);
      total[channels_ + i] += static_cast<double>(values[width + i]);
    }
  }

  /// Sum `which` (0 or 1) of a channel over the first `threads` threads.
  double total(int which, std::int64_t channel, int threads) const {
    double sum = 0.0;
    for (int thread = 0; thread < threads; ++thread)
      sum += totals_[static_cast<std::size_t>((thread * 2 + which) * channels_ + channel)];
    return sum;
  }

 private:
  std::int64_t channels_;
  std::vector<double> totals_;
};

/// y = scale x + shift, both {C}.
struct AffineMap {
  std::vector<float> scale;
  std::vector<float> shift;
};

/// gamma (x - mean) inverse_std + beta as such a map: the same bits forward and backward.
AffineMap normalising_map(const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                          const Tensor& inverse_std) {
  const auto channels = static_cast<std::size_t>(gamma.numel());
  AffineMap map{std::vector<float>(channels), std::vector<float>(channels)};
  for (std::size_t c = 0; c < channels; ++c) {
    const double factor =
        static_cast<double>(gamma.data<float>()[c]) * static_cast<double>(inverse_std.data<float>()[c]);
    map.scale[c] = static_cast<float>(factor);
    map.shift[c] = static_cast<float>(static_cast<double>(beta.data<float>()[c]) -
                                      static_cast<double>(mean.data<float>()[c]) * factor);
  }
  return map;
}

/// y = activation(scale x + shift [+ residual])
template <class T>
void normalise(const BatchNormInputs& in, Activation activation, const AffineMap& map, Tensor& y) {
  const std::int64_t channels = y.size(-1);
  const auto parts = parts_of<T>(in.parts);
  const auto* residual = static_cast<const T*>(in.residual.raw());
  T* out = y.data<T>().data();
  const bool streamed = worth_streaming_parts(y.bytes(), parts);
  const float* scale = map.scale.data();
  const float* shift = map.shift.data();
  const bool activated = activation != Activation::none;
  const float ceiling = ceiling_of(activation);
  for_row_blocks(y.numel() / channels, channels, [=, &parts](std::int64_t begin, std::int64_t end, int) {
    for_part_channels(parts, [=]<class V>(const Part<const T>& part, std::int64_t c) {
      const V a = load<V>(scale + part.first + c);
      const V b = load<V>(shift + part.first + c);
      std::int64_t i = begin * part.channels + c;
      std::int64_t o = begin * channels + part.first + c;
      for (; i < end * part.channels; i += part.channels, o += channels) {
        V v = a * load<V>(part.data + i) + b;
        if (residual != nullptr) v += load<V>(residual + o);
        store(out + o, activated ? clipped(v, ceiling) : v, streamed);
      }
    });
  });
}

/// The moments of x {M, C} as they are kept: {2, C} of double, which no DType is, so twice as many floats.
struct Moments {
  double* mean;
  double* variance;  ///< biased

  explicit Moments(Tensor& kept) {
    mean = static_cast<double*>(kept.raw());
    variance = mean + kept.size(1);
  }
  static Tensor allocate(std::int64_t channels) { return Tensor::empty({2, channels, 2}); }
};

template <class T>
Tensor moments_of(const Tensor& tensor) {
  const std::int64_t channels = tensor.size(-1);
  const std::int64_t rows = tensor.numel() / channels;
  const T* x = tensor.data<T>().data();

  // Sums of d = x - x[0] and of d^2: shifted by a value of the channel's own, so that a mean far from zero
  // costs no digits of the variance.
  ChannelSums sums(channels);
  const int threads = for_row_blocks(rows, channels, [&](std::int64_t begin, std::int64_t end, int thread) {
    for_channels(channels, [&]<class V>(std::int64_t c) {
      const V origin = load<V>(x + c);
      V sum{};
      V squares{};
      for (std::int64_t i = begin * channels + c; i < end * channels; i += channels) {
        const V d = load<V>(x + i) - origin;
        sum += d;
        squares += d * d;
      }
      sums.add(thread, c, sum, squares);
    });
  });

  Tensor kept = Moments::allocate(channels);
  const Moments moments(kept);
  const auto count = static_cast<double>(rows);
  for (std::int64_t c = 0; c < channels; ++c) {
    const double offset = sums.total(0, c, threads) / count;
    moments.mean[c] = static_cast<double>(static_cast<float>(x[c])) + offset;
    moments.variance[c] = std::max(0.0, sums.total(1, c, threads) / count - offset * offset);
  }
  return kept;
}

template <class T>
void train(const BatchNormParams& params, const BatchNormInputs& in, BatchNormStatistics& running,
           Tensor& mean, Tensor& inverse_std, Tensor& y) {
  const auto count = static_cast<double>(y.numel() / y.size(-1));
  const double momentum = static_cast<double>(params.momentum);
  std::size_t i = 0;
  for (const auto& [x, known] : in.parts) {
    if (!known->defined()) *known = moments_of<T>(x);
    const Moments moments(*known);
    for (std::int64_t c = 0; c < x.size(-1); ++c, ++i) {
      const auto update = [momentum](float& old, double value) {
        old = static_cast<float>((1.0 - momentum) * static_cast<double>(old) + momentum * value);
      };
      update(running.mean.data<float>()[i], moments.mean[c]);
      update(running.variance.data<float>()[i], moments.variance[c] * count / (count - 1.0));
      mean.data<float>()[i] = static_cast<float>(moments.mean[c]);
      inverse_std.data<float>()[i] =
          static_cast<float>(1.0 / std::sqrt(moments.variance[c] + static_cast<double>(params.epsilon)));
    }
  }
  normalise<T>(in, params.activation, normalising_map(in.gamma, in.beta, mean, inverse_std), y);
}

template <class T>
void evaluate(const BatchNormParams& params, const BatchNormInputs& in, const BatchNormStatistics& running,
              Tensor& y) {
  Tensor inverse_std = Tensor::empty(running.variance.shape());
  const std::span<const float> variance = running.variance.data<float>();
  const auto inverse = [&](float v) {
    return static_cast<float>(1.0 / std::sqrt(static_cast<double>(v) + static_cast<double>(params.epsilon)));
  };
  std::ranges::transform(variance, inverse_std.data<float>().begin(), inverse);
  normalise<T>(in, params.activation, normalising_map(in.gamma, in.beta, running.mean, inverse_std), y);
}

/// dz from dy: dy where the activation let the output pass.
template <class T>
class Rectifier {
 public:
  Rectifier(const BatchNormParams& params, const BatchNormSaved& saved) : activation_(params.activation) {
    // The same map of x as in the forward pass has the same sign, and saves reading y.
    if (activation_ != Activation::none && params.training && saved.beta.defined())
      map_ = normalising_map(saved.gamma, saved.beta, saved.mean, saved.inverse_std);
    else
      y_ = static_cast<const T*>(saved.y.raw());
  }

  /// For the channels of a V from c on: gate(place, x, dy) is dz, where `place` counts elements of y.
  template <class V>
  auto at(std::int64_t c) const {
    const bool from_x = !map_.scale.empty();
    const V scale = from_x ? load<V>(map_.scale.data() + c) : V{};
    const V shift = from_x ? load<V>(map_.shift.data() + c) : V{};
    return [activated = activation_ != Activation::none, ceiling = ceiling_of(activation_), y = y_, scale,
            shift](std::int64_t place, V x, V dy) {
      if (!activated) return dy;
      return where_passed(y != nullptr ? load<V>(y + place) : scale * x + shift, ceiling, dy);
    };
  }

 private:
  Activation activation_;
  const T* y_ = nullptr;
  AffineMap map_;
};

template <class T>
void differentiate(const BatchNormParams& params, const BatchNormSaved& saved, const Tensor& dy,
                   BatchNormGradients& out) {
  const std::int64_t channels = dy.size(-1);
  const std::int64_t rows = dy.numel() / channels;
  const auto parts = parts_of<T>(saved.parts);
  const T* dout = dy.data<T>().data();
  const float* mean = saved.mean.data<float>().data();
  const Rectifier<T> rectifier(params, saved);

  // dbeta = sum dz, dgamma = inverse_std * sum dz (x - mean), where dz = dy behind the activation.
  ChannelSums sums(channels);
  const int threads = for_row_blocks(rows, channels, [&](std::int64_t begin, std::int64_t end, int thread) {
    for_part_channels(parts, [&]<class V>(const Part<const T>& part, std::int64_t c) {
      const V mu = load<V>(mean + part.first + c);
      const auto gate = rectifier.template at<V>(part.first + c);
      V sum{};
      V product{};
      std::int64_t i = begin * part.channels + c;
      std::int64_t o = begin * channels + part.first + c;
      for (; i < end * part.channels; i += part.channels, o += channels) {
        const V input = load<V>(part.data + i);
        const V dz = gate(o, input, load<V>(dout + o));
        sum += dz;
        product += dz * (input - mu);
      }
      sums.add(thread, part.first + c, sum, product);
    });
  });

  // dx = a dz + b x + c with a = gamma inverse_std; in training b and c carry the two means.
  Tensor coefficients = Tensor::zeros({3, channels});
  float* a = coefficients.data<float>().data();
  float* b = a + channels;
  float* shift = b + channels;
  for (std::int64_t c = 0; c < channels; ++c) {
    const auto i = static_cast<std::size_t>(c);
    const double inverse = static_cast<double>(saved.inverse_std.data<float>()[i]);
    const double dbeta = sums.total(0, c, threads);
    const double dgamma = sums.total(1, c, threads) * inverse;
    const double factor = static_cast<double>(saved.gamma.data<float>()[i]) * inverse;
    out.dbeta.data<float>()[i] = static_cast<float>(dbeta);
    out.dgamma.data<float>()[i] = static_cast<float>(dgamma);
    a[c] = static_cast<float>(factor);
    if (params.training) {
      const double slope = -factor * inverse * dgamma / static_cast<double>(rows);
      b[c] = static_cast<float>(slope);
      shift[c] = static_cast<float>(-factor * dbeta / static_cast<double>(rows) -
                                    slope * static_cast<double>(mean[c]));
    }
  }

  auto* dresidual = static_cast<T*>(out.dresidual.raw());
  const bool streamed = worth_streaming_parts(dy.bytes(), parts);
  for_row_blocks(rows, channels, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::size_t p = 0; p < parts.size(); ++p) {
      const Part<const T>& part = parts[p];
      const bool add = out.parts[p].add;
      T* dx = static_cast<T*>(out.parts[p].dx.raw());
      for_channels(part.channels, [&, streamed]<class V>(std::int64_t c) {
        const V scale = load<V>(a + part.first + c);
        const V slope = load<V>(b + part.first + c);
        const V offset = load<V>(shift + part.first + c);
        const auto gate = rectifier.template at<V>(part.first + c);
        std::int64_t i = begin * part.channels + c;
        std::int64_t o = begin * channels + part.first + c;
        for (; i < end * part.channels; i += part.channels, o += channels) {
          const V input = load<V>(part.data + i);
          const V dz = gate(o, input, load<V>(dout + o));
          const V gradient = scale * dz + (slope * input + offset);
          if (add)
            store(dx + i, load<V>(dx + i) + gradient);
          else
            store(dx + i, gradient, streamed);
          if (dresidual != nullptr) store(dresidual + o, dz, streamed);
        }
      });
    }
  });
}

}  // namespace

void EigenBackend::batch_norm_train(const BatchNormParams& params, const BatchNormInputs& in,
                                    BatchNormStatistics& running, Tensor& mean, Tensor& inverse_std,
                                    Tensor& y) {
  visit_floating(y.dtype(), [&]<class T>(T) { train<T>(params, in, running, mean, inverse_std, y); });
  if (running.batches.defined()) ++running.batches.data<std::int64_t>()[0];
}

void EigenBackend::batch_norm_eval(const BatchNormParams& params, const BatchNormInputs& in,
                                   const BatchNormStatistics& running, Tensor& y) {
  visit_floating(y.dtype(), [&]<class T>(T) { evaluate<T>(params, in, running, y); });
}

void EigenBackend::batch_norm_backward(const BatchNormParams& params, const BatchNormSaved& saved,
                                       const Tensor& dy, BatchNormGradients& out) {
  visit_floating(dy.dtype(), [&]<class T>(T) { differentiate<T>(params, saved, dy, out); });
}

}  // namespace generous
