#include "core/cpu/depthwise.h"

#include <utility>
#include <vector>

#include "core/cpu/parallel.h"
#include "core/cpu/vector_lanes.h"

namespace generous {
namespace {

constexpr std::int64_t taps = 9;

/// f.template operator()<V>(c) for groups of channels from c on that cover [0, channels). The last group of
/// sixteen may overlap the one before it: what is computed twice has the same value.
template <class F>
void for_channel_groups(std::int64_t channels, F&& f) {
  std::int64_t c = 0;
  for (; c + 2 * lane_count <= channels; c += 2 * lane_count) f.template operator()<Pack<2>>(c);
  for (; c + lane_count <= channels; c += lane_count) f.template operator()<Lanes>(c);
  if (c < channels && channels >= lane_count) return f.template operator()<Lanes>(channels - lane_count);
  for (; c < channels; ++c) f.template operator()<float>(c);
}

std::size_t row_bytes(const Tensor& image) {
  return static_cast<std::size_t>(image.size(3)) * size_of(image.dtype());
}

/// Fetches what a V at `address` covers. Rows are walked a group of channels at a time, in strides that the
/// processor does not foresee well.
template <class V, class T>
void prefetch(const T* address) {
  constexpr std::size_t line = 64 / sizeof(T);
  for (std::size_t i = 0; i < sizeof(V) / sizeof(float); i += line) __builtin_prefetch(address + i);
}

/// weight {C, 3, 3, 1} as {9, C}, as the products need it; `mirrored`, the last tap first.
Tensor taps_of(const Tensor& weight, DType images, bool mirrored) {
  const std::int64_t channels = weight.size(0);
  Tensor result = Tensor::empty({taps, channels});
  const std::span<const float> from = weight.data<float>();
  const std::span<float> to = result.data<float>();
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t t = 0; t < taps; ++t) {
      const float value = from[static_cast<std::size_t>(c * taps + (mirrored ? taps - 1 - t : t))];
      to[static_cast<std::size_t>(t * channels + c)] =
          images == DType::bf16 ? static_cast<float>(bfloat16(value)) : value;
    }
  return result;
}

/// The nine taps of a group of channels.
template <class V>
struct Filter {
  V tap[3][3];

  Filter(const float* from, std::int64_t channels) {
#pragma GCC unroll 9
    for (std::int64_t t = 0; t < taps; ++t) tap[t / 3][t % 3] = load<V>(from + t * channels);
  }
  /// What column s of the filter makes of a column of three pixels.
  V column(std::size_t s, const V& above, const V& here, const V& below) const {
    return tap[0][s] * above + tap[1][s] * here + tap[2][s] * below;
  }
};

/// One row of an output, channels from c on: where its rows of the input lie (zeros outside of the image).
template <class T>
struct Row {
  const T* in[3];
  T* out;
  std::int64_t columns;   ///< W of the input
  std::int64_t channels;  ///< from a pixel to the next
  Activation activation;
  bool streamed;

  template <class V>
  V at(std::size_t row, std::int64_t column) const {
    return load<V>(in[row] + column * channels);
  }
  template <class V>
  void write(std::int64_t column, const V& v) const {
    const bool activated = activation != Activation::none;
    store(out + column * channels, activated ? clipped(v, ceiling_of(activation)) : v, streamed);
  }
};

/// Every column of the input is read once: it completes the output before it, and begins the one after it.
template <class V, class T>
void convolve_row(const Row<T>& row, const Filter<V>& filter, const V& bias) {
  V last = bias;     // the sums so far of the output left of the column
  V current = bias;  // of the output at the column
  for (std::int64_t w = 0; w < row.columns; ++w) {
    const V above = row.template at<V>(0, w);
    const V here = row.template at<V>(1, w);
    const V below = row.template at<V>(2, w);
    prefetch<V>(row.in[2] + (row.columns + w) * row.channels);
    const V complete = last + filter.column(2, above, here, below);
    last = current + filter.column(1, above, here, below);
    current = bias + filter.column(0, above, here, below);
    if (w > 0) row.write(w - 1, complete);
  }
  row.write(row.columns - 1, last);
}

/// With stride 2 an even column is the middle of one output, an odd one the edge of two.
template <class V, class T>
void convolve_row_by_two(const Row<T>& row, const Filter<V>& filter, const V& bias) {
  V sum = bias;
  for (std::int64_t w = 0; w < row.columns; w += 2) {
    sum += filter.column(1, row.template at<V>(0, w), row.template at<V>(1, w), row.template at<V>(2, w));
    for (const std::int64_t ahead : {row.columns + w, 2 * row.columns + w}) {  // two rows, of two columns
      prefetch<V>(row.in[2] + ahead * row.channels);
      prefetch<V>(row.in[2] + (ahead + 1) * row.channels);
    }
    if (w + 1 == row.columns) {
      row.write(w / 2, sum);
      break;
    }
    const V above = row.template at<V>(0, w + 1);
    const V here = row.template at<V>(1, w + 1);
    const V below = row.template at<V>(2, w + 1);
    row.write(w / 2, sum + filter.column(2, above, here, below));
    sum = bias + filter.column(0, above, here, below);
  }
}

struct Convolution {
  std::int64_t stride;
  const float* taps;  ///< {9, C}
  const float* bias;  ///< {C} or null
  Activation activation;
};

/// y from x, for stride 1 also dx from dy.
template <class T>
void convolve(const Convolution& by, const Tensor& x, Tensor& y) {
  const std::int64_t height = x.size(1);
  const std::int64_t width = x.size(2);
  const std::int64_t channels = x.size(3);
  const std::int64_t rows = y.size(1);
  const Tensor zeros = Tensor::zeros({width * channels}, dtype_of<T>);
  const T* outside = zeros.data<T>().data();
  const T* in = x.data<T>().data();
  T* out = y.data<T>().data();
  const bool streamed = worth_streaming(y.bytes(), row_bytes(y));
  parallel_for(x.size(0) * rows, 1, [=](std::int64_t index) {
    const std::int64_t image = index / rows;
    const std::int64_t middle = index % rows * by.stride;
    const auto row_of_x = [=](std::int64_t h) {
      return h < 0 || h >= height ? outside : in + (image * height + h) * width * channels;
    };
    const T* const from[3] = {row_of_x(middle - 1), row_of_x(middle), row_of_x(middle + 1)};
    for_channel_groups(channels, [&]<class V>(std::int64_t c) {
      const Row<T> row{.in = {from[0] + c, from[1] + c, from[2] + c},
                       .out = out + index * y.size(2) * channels + c,
                       .columns = width,
                       .channels = channels,
                       .activation = by.activation,
                       .streamed = streamed};
      const Filter<V> filter(by.taps + c, channels);
      const V bias = by.bias != nullptr ? load<V>(by.bias + c) : V{};
      by.stride == 1 ? convolve_row(row, filter, bias) : convolve_row_by_two(row, filter, bias);
    });
  });
}

/// dx from dy for stride 2. A pixel of dx was met by one row of taps, the middle one, where its own row is
/// even, and by the other two where it is odd; so it is with its column.
template <class T>
void spread_by_two(const float* filter, const Tensor& dy, Tensor& dx) {
  const std::int64_t height = dx.size(1);
  const std::int64_t width = dx.size(2);
  const std::int64_t channels = dx.size(3);
  const std::int64_t rows = dy.size(1);
  const std::int64_t columns = dy.size(2);
  const Tensor zeros = Tensor::zeros({columns * channels}, dtype_of<T>);
  const T* outside = zeros.data<T>().data();
  const T* in = dy.data<T>().data();
  T* out = dx.data<T>().data();
  const bool streamed = worth_streaming(dx.bytes(), row_bytes(dx));
  parallel_for(dx.size(0) * height, 1, [=](std::int64_t index) {
    const std::int64_t image = index / height;
    const std::int64_t h = index % height;
    const auto row_of_dy = [=](std::int64_t p) {
      return p >= rows ? outside : in + (image * rows + p) * columns * channels;
    };
    const bool odd = h % 2 != 0;
    const T* first = row_of_dy(h / 2);
    const T* second = odd ? row_of_dy(h / 2 + 1) : outside;
    const float* first_taps = filter + (odd ? 6 : 3) * channels;
    const float* second_taps = filter;  // of zeros, if the row is even
    T* to = out + index * width * channels;
    for_channel_groups(channels, [=]<class V>(std::int64_t c) {
      V a[3];
      V b[3];
#pragma GCC unroll 3
      for (std::int64_t s = 0; s < 3; ++s) {
        a[s] = load<V>(first_taps + s * channels + c);
        b[s] = load<V>(second_taps + s * channels + c);
      }
      V upper = load<V>(first + c);
      V lower = load<V>(second + c);
      for (std::int64_t w = 0; w < width; w += 2) {
        store(to + w * channels + c, upper * a[1] + lower * b[1], streamed);
        if (w + 1 == width) break;
        V sum = upper * a[2] + lower * b[2];
        const std::int64_t next = w / 2 + 1;
        if (next < columns) {
          upper = load<V>(first + next * channels + c);
          lower = load<V>(second + next * channels + c);
          sum += upper * a[0] + lower * b[0];
        }
        store(to + (w + 1) * channels + c, sum, streamed);
      }
    });
  });
}

/// The sums of one thread, {9, C} with the channels at their places (place_of): up to `most_adds` in f32,
/// then in double.
class TapSums {
 public:
  explicit TapSums(std::int64_t channels)
      : padded_((channels + lane_count - 1) / lane_count * lane_count),
        part_(static_cast<std::size_t>(taps * padded_)),
        total_(static_cast<std::size_t>(taps * padded_)) {}

  template <class V>
  void add(std::int64_t tap, std::int64_t place, const V& v) {
    float* to = part_.data() + tap * padded_ + place;
    store(to, load<V>(to) + v);
  }
  /// After every band of rows; `last` after the last one.
  void finish_band(bool last) {
    constexpr int most_adds = 32;
    if (++bands_ < most_adds && !last) return;
    bands_ = 0;
    for (std::size_t i = 0; i < part_.size(); ++i)
      total_[i] += static_cast<double>(std::exchange(part_[i], 0.0F));
  }
  double sum(std::int64_t tap, std::int64_t place) const {
    return total_[static_cast<std::size_t>(tap * padded_ + place)];
  }

 private:
  std::int64_t padded_;
  int bands_ = 0;
  std::vector<float> part_;
  std::vector<double> total_;
};

/// Where the sums of a channel are: an overlapping last group has its sixteen behind all others.
std::int64_t place_of(std::int64_t channel, std::int64_t channels) {
  const std::int64_t whole = channels / lane_count * lane_count;
  return channel < whole || channels < lane_count ? channel : channel - (channels - lane_count) + whole;
}

/// The taps of a group of channels, summed over some rows.
template <class V>
struct TapGradient {
  V tap[3][3]{};

  /// Column s of the filter met this column of three pixels where the output's gradient is dy.
  void add(std::size_t s, const V& above, const V& here, const V& below, const V& dy) {
    tap[0][s] += above * dy;
    tap[1][s] += here * dy;
    tap[2][s] += below * dy;
  }
};

/// Adds a row of dy; in[] are the rows of x that it was computed from.
template <class V, class T>
void add_row(TapGradient<V>& result, const T* const (&in)[3], const T* dy, std::int64_t width,
             std::int64_t channels) {
  TapGradient<V> sums = result;  // in registers
  V last{};
  V current = load<V>(dy);
  for (std::int64_t w = 0; w < width; ++w) {
    const V above = load<V>(in[0] + w * channels);
    const V here = load<V>(in[1] + w * channels);
    const V below = load<V>(in[2] + w * channels);
    prefetch<V>(in[2] + (width + w) * channels);
    prefetch<V>(dy + (width + w) * channels);
    const V next = w + 1 < width ? load<V>(dy + (w + 1) * channels) : V{};
    sums.add(2, above, here, below, last);
    sums.add(1, above, here, below, current);
    sums.add(0, above, here, below, next);
    last = current;
    current = next;
  }
  result = sums;
}

template <class T>
void weight_gradient(const Tensor& x, const Tensor& dy, Tensor& dweight) {
  const std::int64_t height = x.size(1);
  const std::int64_t width = x.size(2);
  const std::int64_t channels = x.size(3);
  const Tensor zeros = Tensor::zeros({width * channels}, dtype_of<T>);
  const T* outside = zeros.data<T>().data();
  const T* in = x.data<T>().data();
  const T* gradient = dy.data<T>().data();
  // Bands of rows, or of whole images where these are small, over which a group of channels is summed in f32
  // before the next one's turn comes, while they lie in the second-level cache.
  constexpr std::size_t cached_bytes = std::size_t{128} << 10U;
  constexpr std::int64_t most_images = 32;
  const auto cached_rows =
      static_cast<std::int64_t>(cached_bytes / (static_cast<std::size_t>(width * channels) * sizeof(T)));
  const std::int64_t band = std::clamp<std::int64_t>(cached_rows, 1, height);
  const std::int64_t bands = (height + band - 1) / band;
  const std::int64_t images = std::clamp<std::int64_t>(cached_rows / height, 1, most_images);
  const std::int64_t units = (x.size(0) + images - 1) / images * bands;
  std::vector<TapSums> sums(static_cast<std::size_t>(omp_get_max_threads()), TapSums(channels));
  const int threads = parallel_ranges(units, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    TapSums& own = sums[static_cast<std::size_t>(thread)];
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t first_image = unit / bands * images;
      const std::int64_t last_image = std::min(first_image + images, x.size(0));
      const std::int64_t first_row = unit % bands * band;
      const std::int64_t last_row = std::min(first_row + band, height);
      std::int64_t place = 0;
      for_channel_groups(channels, [&]<class V>(std::int64_t c) {
        TapGradient<V> group;
        for (std::int64_t image = first_image; image < last_image; ++image)
          for (std::int64_t p = first_row; p < last_row; ++p) {
            const auto row_of_x = [=](std::int64_t h) {
              return c + (h < 0 || h >= height ? outside : in + (image * height + h) * width * channels);
            };
            const T* const from[3] = {row_of_x(p - 1), row_of_x(p), row_of_x(p + 1)};
            add_row(group, from, gradient + (image * height + p) * width * channels + c, width, channels);
          }
        for (std::size_t t = 0; t < taps; ++t)
          own.add(static_cast<std::int64_t>(t), place, group.tap[t / 3][t % 3]);
        place += static_cast<std::int64_t>(sizeof(V) / sizeof(float));
      });
      own.finish_band(unit + 1 == end);
    }
  });
  const std::span<float> out = dweight.data<float>();
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t t = 0; t < taps; ++t) {
      double total = 0.0;
      for (int thread = 0; thread < threads; ++thread)
        total += sums[static_cast<std::size_t>(thread)].sum(t, place_of(c, channels));
      out[static_cast<std::size_t>(c * taps + t)] = static_cast<float>(total);
    }
}

}  // namespace

bool depthwise_applies(const Conv2dParams& params, const Tensor& x, const Shape& weight) {
  return params.groups == x.size(3) && weight == Shape{x.size(3), 3, 3, 1} && params.padding == 1 &&
         params.stride <= 2 && x.numel() > 0;
}

void depthwise_convolve(const Conv2dParams& params, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        Activation activation, Tensor& y) {
  const Tensor filter = taps_of(weight, x.dtype(), false);
  visit_floating(x.dtype(), [&]<class T>(T) {
    convolve<T>({.stride = params.stride,
                 .taps = filter.data<float>().data(),
                 .bias = static_cast<const float*>(bias.raw()),
                 .activation = activation},
                x, y);
  });
}

void depthwise_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight, Tensor& dx) {
  const Tensor filter = taps_of(weight, dy.dtype(), params.stride == 1);
  const float* from = filter.data<float>().data();
  visit_floating(dy.dtype(), [&]<class T>(T) {
    if (params.stride == 1)
      convolve<T>({.stride = 1, .taps = from, .bias = nullptr, .activation = Activation::none}, dy, dx);
    else
      spread_by_two<T>(from, dy, dx);
  });
}

void depthwise_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight) {
  visit_floating(x.dtype(), [&]<class T>(T) { weight_gradient<T>(x, dy, dweight); });
}

}  // namespace generous
