// Channels moved from parts to parts, a kernel for each pair of parts that have channels in common.

#include "core/channel_runs.h"
#include "cuda/begin_kernel.h"
#include "cuda/cuda_backend.h"
#include "cuda/vector_access.h"

namespace generous::cuda {
namespace {

/// Both sides of a run of neighbouring channels of {M, c}, in elements of the kernel's type.
struct Run {
  std::int64_t rows, count;
  std::int64_t from_channels, from_first;
  std::int64_t to_channels, to_first;
};

/// Calls f(row, i) for every i of `count` in every row, each once among all threads of the grid.
template <class F>
__device__ void for_each_of_rows(std::int64_t rows, std::int64_t count, F&& f) {
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < rows * count;
       i += threads) {
    const std::int64_t row = i / count;
    f(row, i - row * count);
  }
}

/// `from` may be null: zeros. T is one element, or several that move at once.
template <class T>
__global__ void copy_run_kernel(Run run, const T* __restrict__ from, T* __restrict__ to) {
  begin_kernel();
  for_each_of_rows(run.rows, run.count, [&](std::int64_t row, std::int64_t i) {
    to[row * run.to_channels + run.to_first + i] =
        from == nullptr ? T{} : from[row * run.from_channels + run.from_first + i];
  });
}

/// Where a part lies among the channels of all.
struct Extent {
  std::int64_t first, channels;
};

/// The channels of one part of the shuffled whole that come from one part of the other; `from` as above.
template <class T>
__global__ void shuffle_kernel(std::int64_t rows, std::int64_t groups, std::int64_t size, Extent source,
                               const T* __restrict__ from, Extent target, T* __restrict__ to) {
  begin_kernel();
  for_each_of_rows(rows, target.channels, [&](std::int64_t row, std::int64_t i) {
    const std::int64_t shuffled = target.first + i;
    const std::int64_t channel = shuffled % groups * size + shuffled / groups - source.first;
    if (channel < 0 || channel >= source.channels) return;
    to[row * target.channels + i] = from == nullptr ? T{} : from[row * source.channels + channel];
  });
}

/// The elements of either dtype as words of their size, which are moved but not read.
template <class Word>
Word* elements_of(const Tensor& x) {
  return static_cast<Word*>(x.raw());
}

}  // namespace

void CudaBackend::rearrange_channels(std::int64_t groups, std::span<const ChannelPart> from,
                                     std::span<const ChannelPart> to) {
  const std::int64_t rows = rows_of(to);
  const std::int64_t channels = channels_of(to);
  if (rows == 0) return;

  /// T has the size of an element.
  const auto copy_runs = [&]<class T>(T) {
    for (const ChannelRun& run : channel_runs(from, to)) {
      if (!run.to->tensor.defined()) continue;
      const auto copy_as = [&]<class Unit>(Unit) {
        constexpr auto width = static_cast<std::int64_t>(sizeof(Unit) / sizeof(T));
        const Run units{.rows = rows,
                        .count = run.count / width,
                        .from_channels = run.from->channels / width,
                        .from_first = run.from_first / width,
                        .to_channels = run.to->channels / width,
                        .to_first = run.to_first / width};
        this->run("rearrange_channels", grid_of(rows * units.count), copy_run_kernel<Unit>, units,
                  elements_of<Unit>(run.from->tensor), elements_of<Unit>(run.to->tensor));
      };
      const std::int64_t all =
          run.count | run.from->channels | run.from_first | run.to->channels | run.to_first;
      if (all % vector_width<T> == 0)
        copy_as(Elements<T, vector_width<T>>{});
      else
        copy_as(T{});
    }
  };

  const auto shuffle = [&]<class T>(T) {
    Extent target{};
    for (const ChannelPart& result : to) {
      target.channels = result.channels;
      Extent source{};
      for (const ChannelPart& part : from) {
        source.channels = part.channels;
        if (result.tensor.defined())
          run("rearrange_channels", grid_of(rows * result.channels), shuffle_kernel<T>, rows, groups,
              channels / groups, source, elements_of<T>(part.tensor), target, elements_of<T>(result.tensor));
        source.first += part.channels;
      }
      target.first += result.channels;
    }
  };

  DType dtype = DType::f32;
  for (const ChannelPart& part : to)
    if (part.tensor.defined()) dtype = part.tensor.dtype();
  const auto move = [&](auto element) {
    groups == 1 || groups == channels ? copy_runs(element) : shuffle(element);
  };
  dtype == DType::bf16 ? move(std::uint16_t{}) : move(std::uint32_t{});
}

}  // namespace generous::cuda
