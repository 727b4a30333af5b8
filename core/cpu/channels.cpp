// Channels moved from parts to parts, row by row of {M, C}.

#include <cstring>

#include "core/channel_runs.h"
#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"

namespace generous {
namespace {

/// f(row) for all rows of parts with `channels` channels in all.
template <class F>
void for_rows(std::int64_t rows, std::int64_t channels, F&& f) {
  parallel_for(rows, std::max<std::int64_t>(1, elementwise_grain / channels), f);
}

/// Without shuffling: what lies side by side on both sides moves at once. T has the size of an element.
template <class T>
void copy_runs(std::span<const ChannelPart> from, std::span<const ChannelPart> to) {
  std::vector<ChannelRun> runs = channel_runs(from, to);
  std::erase_if(runs, [](const ChannelRun& run) { return !run.to->tensor.defined(); });
  for_rows(rows_of(to), channels_of(to), [&runs](std::int64_t row) {
    for (const ChannelRun& run : runs) {
      const auto* source = static_cast<const T*>(run.from->tensor.raw());
      T* target = static_cast<T*>(run.to->tensor.raw()) + row * run.to->channels + run.to_first;
      const std::size_t bytes = static_cast<std::size_t>(run.count) * sizeof(T);
      if (source == nullptr)
        std::memset(target, 0, bytes);
      else
        std::memcpy(target, source + row * run.from->channels + run.from_first, bytes);
    }
  });
}

/// to[k * groups + g] = from[g * size + k]. With `groups` or `size` known to the compiler, in vectors.
template <class T>
void shuffle_row(std::int64_t groups, std::int64_t size, const T* from, T* to) {
  for (std::int64_t k = 0; k < size; ++k)
    for (std::int64_t g = 0; g < groups; ++g) to[k * groups + g] = from[g * size + k];
}

template <class T>
void shuffle(std::int64_t groups, std::span<const ChannelPart> from, std::span<const ChannelPart> to) {
  const std::int64_t channels = channels_of(to);
  const std::int64_t size = channels / groups;
  const auto width = static_cast<std::size_t>(channels);
  parallel_ranges(
      rows_of(to), std::max<std::int64_t>(1, elementwise_grain / channels),
      [&](std::int64_t begin, std::int64_t end, int) {
        std::vector<T> row(width);  // parts that are undefined stay zeros
        std::vector<T> shuffled(width);
        for (std::int64_t r = begin; r < end; ++r) {
          T* next = row.data();
          for (const ChannelPart& part : from) {
            if (part.tensor.defined())
              std::copy_n(static_cast<const T*>(part.tensor.raw()) + r * part.channels, part.channels, next);
            next += part.channels;
          }
          if (groups == 2)
            shuffle_row<T>(2, size, row.data(), shuffled.data());
          else if (size == 2)
            shuffle_row<T>(groups, 2, row.data(), shuffled.data());
          else
            shuffle_row<T>(groups, size, row.data(), shuffled.data());
          const T* result = shuffled.data();
          for (const ChannelPart& part : to) {
            if (part.tensor.defined())
              std::copy_n(result, part.channels, static_cast<T*>(part.tensor.raw()) + r * part.channels);
            result += part.channels;
          }
        }
      });
}

}  // namespace

void EigenBackend::rearrange_channels(std::int64_t groups, std::span<const ChannelPart> from,
                                      std::span<const ChannelPart> to) {
  DType dtype = DType::f32;
  for (const ChannelPart& part : to)
    if (part.tensor.defined()) dtype = part.tensor.dtype();
  if (rows_of(to) == 0) return;
  const auto move = [&]<class T>(T) {
    if (groups == 1 || groups == channels_of(to))
      copy_runs<T>(from, to);
    else
      shuffle<T>(groups, from, to);
  };
  dtype == DType::bf16 ? move(std::uint16_t{}) : move(std::uint32_t{});
}

}  // namespace generous
