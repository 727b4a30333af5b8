// The arithmetic of the emulated cuDNN: the three sums over packed f32 copies of the operands, channels
// innermost.
//   y[n,p,q,k]  = sum over r,s,c of x[n,h,w,c] * filter[k,r,s,c]
//   dx[n,h,w,c] = sum over p,q,r,s,k of dy[n,p,q,k] * filter[k,r,s,c]
//   dw[k,r,s,c] = sum over n,p,q of dy[n,p,q,k] * x[n,h,w,c]
// where h = p * stride + r * dilation - pad, w likewise, k and c are of the same group.
#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <thread>

#include "cudnn_problem.h"
#include "libraries.h"

namespace generous::emulation {
namespace {

bool has(const Problem& problem, std::int64_t engine, cudnnBackendNumericalNote_t note) {
  const auto notes = notes_of(problem, engine);
  return std::ranges::count(notes, note) != 0;
}

/// The order in which an engine takes its sums: another one at every call of those that are not
/// deterministic, as where many threads add to one number. The parity reverses the order, the rest says where
/// it begins.
unsigned next_order(const Problem& problem, std::int64_t engine) {
  static std::atomic<unsigned> calls{0};
  return has(problem, engine, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) ? ++calls : 0;
}

/// `value` with so many bits of its mantissa.
float rounded(float value, int bits) {
  const std::uint32_t dropped = (1U << (23 - bits)) - 1;
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(value) + dropped / 2) & ~dropped);
}

/// Bits of the mantissa of the factors, as the notes of an engine tell: TF32 has 10, a type of 16 bits 7; a
/// transform's rounding is as if there were 14.
int factor_bits(const Problem& problem, std::int64_t engine) {
  if (has(problem, engine, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) return 7;
  if (has(problem, engine, CUDNN_NUMERICAL_NOTE_WINOGRAD)) return 14;
  return has(problem, engine, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) ? 10 : 23;
}

std::int64_t row_of(const Problem& a, std::int64_t p, std::int64_t r) {
  return p * a.stride_h - a.pad_h + (a.flipped ? a.r - 1 - r : r) * a.dilation_h;
}

std::int64_t column_of(const Problem& a, std::int64_t q, std::int64_t s) {
  return q * a.stride_w - a.pad_w + (a.flipped ? a.s - 1 - s : s) * a.dilation_w;
}

bool inside(std::int64_t index, std::int64_t extent) { return index >= 0 && index < extent; }

std::vector<float> zeros(const Layout4d& layout) {
  return std::vector<float>(static_cast<std::size_t>(layout.elements()));
}

/// The filter as {groups, r, s, c, k}: the channels of y innermost.
std::vector<float> channels_of_y_last(const Problem& a, const std::vector<float>& filter) {
  std::vector<float> turned(filter.size());
  const std::int64_t taps = a.r * a.s;
  std::size_t from = 0;
  for (std::int64_t g = 0; g < a.groups; ++g)
    for (std::int64_t k = 0; k < a.k; ++k)
      for (std::int64_t tap = 0; tap < taps; ++tap)
        for (std::int64_t c = 0; c < a.c; ++c)
          turned[static_cast<std::size_t>(((g * taps + tap) * a.c + c) * a.k + k)] = filter[from++];
  return turned;
}

std::vector<float> forward(const Problem& a, const std::vector<float>& x, const std::vector<float>& filter) {
  std::vector<float> y = zeros(a.y.layout);
  const std::vector<float> turned = channels_of_y_last(a, filter);
  float* pixel = y.data();  // y[n, p, q]
  for (std::int64_t n = 0; n < a.n; ++n)
    for (std::int64_t p = 0; p < a.p; ++p)
      for (std::int64_t q = 0; q < a.q; ++q, pixel += a.groups * a.k)
        for (std::int64_t r = 0; r < a.r; ++r) {
          const std::int64_t h = row_of(a, p, r);
          if (!inside(h, a.h)) continue;
          for (std::int64_t s = 0; s < a.s; ++s) {
            const std::int64_t w = column_of(a, q, s);
            if (!inside(w, a.w)) continue;
            const float* seen = x.data() + ((n * a.h + h) * a.w + w) * a.groups * a.c;
            for (std::int64_t g = 0; g < a.groups; ++g)
              add_products(a.c, {seen + g * a.c, 1}, turned.data() + ((g * a.r + r) * a.s + s) * a.c * a.k,
                           a.k, a.k, pixel + g * a.k);
          }
        }
  return y;
}

std::vector<float> backward_data(const Problem& a, const std::vector<float>& dy,
                                 const std::vector<float>& filter, unsigned order) {
  std::vector<float> dx = zeros(a.x.layout);
  const std::int64_t tap = a.r * a.s * a.c;  // from one output channel of the filter to the next
  const std::int64_t begin = order % a.k;    // of the sum over k, which goes around
  const std::int64_t pixels = a.p * a.q;
  for (std::int64_t n = 0; n < a.n; ++n)
    for (std::int64_t i = 0; i < pixels; ++i) {
      const std::int64_t pq = order % 2 == 0 ? i : pixels - 1 - i;
      const float* pixel = dy.data() + (n * pixels + pq) * a.groups * a.k;
      for (std::int64_t r = 0; r < a.r; ++r) {
        const std::int64_t h = row_of(a, pq / a.q, r);
        if (!inside(h, a.h)) continue;
        for (std::int64_t s = 0; s < a.s; ++s) {
          const std::int64_t w = column_of(a, pq % a.q, s);
          if (!inside(w, a.w)) continue;
          float* out = dx.data() + ((n * a.h + h) * a.w + w) * a.groups * a.c;
          for (std::int64_t g = 0; g < a.groups; ++g) {
            const float* factors = pixel + g * a.k;
            const float* rows = filter.data() + g * a.k * tap + (r * a.s + s) * a.c;
            add_products(a.k - begin, {factors + begin, 1}, rows + begin * tap, tap, a.c, out + g * a.c);
            add_products(begin, {factors, 1}, rows, tap, a.c, out + g * a.c);
          }
        }
      }
    }
  return dx;
}

/// Adds to dw what row `p` of image `n` gives, taken from left to right or from right to left.
void add_row(const Problem& a, const std::vector<float>& x, const std::vector<float>& dy, std::int64_t n,
             std::int64_t p, bool reversed, std::vector<float>& dw) {
  const std::int64_t x_pixel = a.groups * a.c;
  const std::int64_t y_pixel = a.groups * a.k;
  for (std::int64_t r = 0; r < a.r; ++r) {
    const std::int64_t h = row_of(a, p, r);
    if (!inside(h, a.h)) continue;
    for (std::int64_t s = 0; s < a.s; ++s) {
      std::int64_t begin = 0;
      std::int64_t end = a.q;
      while (begin < end && !inside(column_of(a, begin, s), a.w)) ++begin;
      while (end > begin && !inside(column_of(a, end - 1, s), a.w)) --end;
      if (begin == end) continue;
      const std::int64_t first = reversed ? end - 1 : begin;
      const std::int64_t step = reversed ? -1 : 1;
      const float* seen = x.data() + ((n * a.h + h) * a.w + column_of(a, first, s)) * x_pixel;
      const float* gradients = dy.data() + ((n * a.p + p) * a.q + first) * y_pixel;
      for (std::int64_t k = 0; k < y_pixel; ++k)
        add_products(end - begin, {gradients + k, step * y_pixel}, seen + k / a.k * a.c,
                     step * a.stride_w * x_pixel, a.c, dw.data() + ((k * a.r + r) * a.s + s) * a.c);
    }
  }
}

std::vector<float> backward_filter(const Problem& a, const std::vector<float>& x,
                                   const std::vector<float>& dy, unsigned order) {
  std::vector<float> dw = zeros(a.filter.layout);
  const std::int64_t rows = a.n * a.p;
  const bool reversed = order % 2 != 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t turned = (i + order) % rows;
    const std::int64_t row = reversed ? rows - 1 - turned : turned;
    add_row(a, x, dy, row / a.p, row % a.p, reversed, dw);
  }
  return dw;
}

/// y[n, p, q, k] = step(y[n, p, q, k]), in f32.
void apply(const Step& step, const std::map<std::int64_t, void*>& addresses, std::vector<float>& y) {
  if (!step.added) {
    for (float& value : y) value = std::min(std::max(value, 0.0F), step.ceiling);
    return;
  }
  const GraphTensor& added = *step.added;
  const std::vector<float> values =
      load(addresses.at(added.id), added.element.value_or(Element::f32), added.layout, false);
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += values[i % values.size()];  // channels are innermost
}

/// Of y as it was stored, in f32: over the pixels of a tile, then over the tiles, as a GPU's blocks do.
void add_up_channels(const Problem& problem, const std::map<std::int64_t, void*>& addresses) {
  constexpr std::size_t pixels_of_a_tile = 128;
  const GraphTensor& y = problem.y;
  const std::vector<float> values = load(addresses.at(y.id), problem.element(), y.layout, false);
  const auto channels = static_cast<std::size_t>(y.layout.extents[3]);
  std::vector<float> sums(channels), square_sums(channels);
  for (std::size_t begin = 0; begin < values.size(); begin += pixels_of_a_tile * channels) {
    const std::size_t end = std::min(values.size(), begin + pixels_of_a_tile * channels);
    std::vector<float> of_tile(channels), squares_of_tile(channels);
    for (std::size_t i = begin; i < end; ++i) {
      of_tile[i % channels] += values[i];
      squares_of_tile[i % channels] += values[i] * values[i];
    }
    for (std::size_t c = 0; c < channels; ++c) {
      sums[c] += of_tile[c];
      square_sums[c] += squares_of_tile[c];
    }
  }
  const auto keep = [&](const std::vector<float>& results, const GraphTensor& tensor) {
    store(results, 1.0F, 0.0F, addresses.at(tensor.id), Element::f32, tensor.layout);
  };
  keep(sums, *problem.sum);
  keep(square_sums, *problem.square_sum);
}

}  // namespace

void run(const Problem& problem, std::int64_t engine, const std::map<std::int64_t, void*>& addresses,
         void* workspace) {
  if (libraries().slow_engines.contains(engine)) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  const std::size_t scratch = workspace_bytes(problem, engine);
  poison(workspace, scratch);
  const unsigned order = next_order(problem, engine);
  const int bits = factor_bits(problem, engine);
  const auto read = [&](const GraphTensor& tensor) {
    std::vector<float> values = load(addresses.at(tensor.id), problem.element(), tensor.layout, false);
    if (bits == 10 && problem.element() == Element::f32)
      for (float& value : values) value = to_tf32(value);
    else if (bits != 23)
      for (float& value : values) value = rounded(value, bits);
    return values;
  };
  const auto write = [&](std::vector<float> values, const GraphTensor& tensor) {
    if (has(problem, engine, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION))
      for (float& value : values) value = rounded(value, 3);
    for (const Step& step : problem.steps) apply(step, addresses, values);
    store(values, problem.alpha, problem.beta, addresses.at(tensor.id), problem.element(), tensor.layout);
    if (problem.sum) add_up_channels(problem, addresses);
  };
  switch (problem.direction) {
    case Direction::forward:
      write(forward(problem, read(problem.x), read(problem.filter)), problem.y);
      break;
    case Direction::backward_data:
      write(backward_data(problem, read(problem.y), read(problem.filter), order), problem.x);
      break;
    case Direction::backward_filter:
      write(backward_filter(problem, read(problem.x), read(problem.y), order), problem.filter);
      break;
  }
  poison(workspace, scratch);  // it may lie over what was just written
}

}  // namespace generous::emulation
