// Optimiser steps, in place, over all parameters in one launch. A table of the parameters travels with the
// launch as the kernel's argument, and so into a recorded graph: the device fetches no list from anywhere.
// Each block takes one chunk of one parameter, which it finds in the table by its own number.

#include <algorithm>
#include <cmath>

#include "cuda/begin_kernel.h"
#include "cuda/cuda_backend.h"
#include "cuda/padding.h"
#include "cuda/vector_access.h"

namespace generous::cuda {
namespace {

constexpr int threads_of_block = 256;
/// 16 elements a thread.
constexpr std::int64_t chunk = 4096;
/// The arguments of a kernel may take 32,764 bytes. Models with more parameters take several launches.
constexpr std::int64_t table_size = 440;

/// A part of the parameters and, for each, which blocks are its own.
template <class Entry>
struct Table {
  Entry entries[table_size];
  std::int64_t counts[table_size];         ///< elements
  std::uint8_t channels[table_size];       ///< C of a parameter {..., C} with a shadow {..., 8}; 0 otherwise
  std::uint32_t first_blocks[table_size];  ///< ascending from 0
  int size = 0;
  std::uint32_t blocks = 0;

  void add(const Entry& entry, const Tensor& parameter) {
    const std::int64_t count = parameter.numel();
    entries[size] = entry;
    counts[size] = count;
    const std::shared_ptr<Shadow> shadow = Shadows::find(parameter);
    const bool padded = shadow != nullptr && shadow->rounded.numel() != count;
    channels[size] = padded ? static_cast<std::uint8_t>(parameter.size(-1)) : 0;
    first_blocks[size] = blocks;
    ++size;
    blocks += static_cast<std::uint32_t>((count + chunk - 1) / chunk);
  }
};

/// A gradient of either dtype: one of them is null.
struct Gradient {
  const float* exact;
  const bfloat16* rounded;

  Gradient() = default;
  explicit Gradient(const Tensor& x)
      : exact(x.dtype() == DType::f32 ? data_of<const float>(x) : nullptr),
        rounded(x.dtype() == DType::f32 ? nullptr : data_of<const bfloat16>(x)) {}
  template <int width>
  __device__ Floats<width> at(std::int64_t i) const {
    return exact != nullptr ? load<width>(exact + i) : load<width>(rounded + i);
  }
};

/// A parameter and its shadow (cuda/shadows.h), null without one.
struct Parameter {
  float* exact;
  bfloat16* shadow;

  Parameter() = default;
  Parameter(const Tensor& weight, Shadows& shadows)
      : exact(data_of<float>(weight)), shadow(data_of<bfloat16>(shadows.to_write_with(weight))) {}
  /// `channels`: of the table.
  template <int width>
  __device__ void set(std::int64_t i, const Floats<width>& values, int channels) const {
    store(exact + i, values);
    if (shadow == nullptr) return;
    if (channels == 0) return store(shadow + i, values);
    for (int k = 0; k < width; ++k)
      shadow[(i + k) / channels * padded_channels + (i + k) % channels] = cuda::rounded<bfloat16>(values[k]);
  }
};

struct SgdEntry {
  Gradient gradient;
  float* velocity;  ///< null without momentum
  Parameter parameter;
};

struct AdamEntry {
  Gradient gradient;
  float* first_moment;
  float* second_moment;
  Parameter parameter;
  std::int64_t* step;
};

static_assert(sizeof(Table<AdamEntry>) + sizeof(AdamParams) + 2 * sizeof(void*) <= 32764);

/// The parameter that this block works on: the last one whose blocks start at or before it.
template <class Entry>
__device__ __forceinline__ int entry_of_block(const Table<Entry>& table) {
  int low = 0;
  int high = table.size - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (table.first_blocks[middle] <= blockIdx.x)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

/// Calls f(Width, i) for the elements of this block's chunk of parameter `entry`.
template <class Entry, class F>
__device__ __forceinline__ void for_each_of_chunk(const Table<Entry>& table, int entry, F&& f) {
  const std::int64_t begin = (blockIdx.x - table.first_blocks[entry]) * chunk;
  const std::int64_t count = table.counts[entry];
  const std::int64_t end = begin + chunk < count ? begin + chunk : count;
  for_each_vector<vector_width<float>>(begin, end, threadIdx.x, blockDim.x, f);
}

__global__ void __launch_bounds__(threads_of_block)
    sgd_kernel(const __grid_constant__ Table<SgdEntry> table, SgdParams params, const float* learning_rate) {
  begin_kernel();
  const int index = entry_of_block(table);
  const SgdEntry& entry = table.entries[index];
  float* const velocity = entry.velocity;
  const float rate = *learning_rate;
  for_each_of_chunk(table, index, [&]<int width>(Width<width>, std::int64_t i) {
    Floats<width> g = entry.gradient.at<width>(i);
    Floats<width> w = load<width>(entry.parameter.exact + i);
    for (int k = 0; k < width; ++k) g[k] += params.weight_decay * w[k];
    if (velocity != nullptr) {
      Floats<width> v = load<width>(velocity + i);
      for (int k = 0; k < width; ++k) {
        v[k] = params.momentum * v[k] + g[k];
        g[k] = params.nesterov ? g[k] + params.momentum * v[k] : v[k];
      }
      store(velocity + i, v);
    }
    for (int k = 0; k < width; ++k) w[k] -= rate * g[k];
    entry.parameter.set(i, w, table.channels[index]);
  });
}

/// How far Adam moves a parameter: its learning rate and the root of its second moment, both corrected for
/// the moments' start at 0, and what decoupled decay keeps of it.
struct AdamRate {
  float rate;
  float inverse_root;
  float kept;
};

/// Counts the update of each parameter up, ahead of the blocks that read what follows from it: rates {size}.
__global__ void adam_rates_kernel(const __grid_constant__ Table<AdamEntry> table, AdamParams params,
                                  const float* learning_rate, AdamRate* rates) {
  begin_kernel();
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= table.size) return;
  const std::int64_t now = *table.entries[index].step + 1;
  *table.entries[index].step = now;
  const auto step = static_cast<double>(now);
  const double correction1 = 1.0 - std::pow(static_cast<double>(params.beta1), step);
  const double correction2 = 1.0 - std::pow(static_cast<double>(params.beta2), step);
  rates[index] = {.rate = static_cast<float>(static_cast<double>(*learning_rate) / correction1),
                  .inverse_root = static_cast<float>(1.0 / std::sqrt(correction2)),
                  .kept = params.decoupled ? 1.0F - *learning_rate * params.weight_decay : 1.0F};
}

__global__ void __launch_bounds__(threads_of_block)
    adam_kernel(const __grid_constant__ Table<AdamEntry> table, AdamParams params, const AdamRate* rates) {
  begin_kernel();
  const int index = entry_of_block(table);
  const AdamEntry entry = table.entries[index];
  const AdamRate now = rates[index];
  const float decay = params.decoupled ? 0.0F : params.weight_decay;
  for_each_of_chunk(table, index, [&]<int width>(Width<width>, std::int64_t i) {
    const Floats<width> gradient = entry.gradient.at<width>(i);
    Floats<width> m = load<width>(entry.first_moment + i);
    Floats<width> v = load<width>(entry.second_moment + i);
    Floats<width> w = load<width>(entry.parameter.exact + i);
    for (int k = 0; k < width; ++k) {
      const float g = gradient[k] + decay * w[k];
      m[k] = params.beta1 * m[k] + (1.0F - params.beta1) * g;
      v[k] = params.beta2 * v[k] + (1.0F - params.beta2) * g * g;
      w[k] = now.kept * w[k] - now.rate * m[k] / (std::sqrt(v[k]) * now.inverse_root + params.epsilon);
    }
    store(entry.first_moment + i, m);
    store(entry.second_moment + i, v);
    entry.parameter.set(i, w, table.channels[index]);
  });
}

/// Calls f(table) for every `table_size` updates; entry_of(update) is their entry.
template <class Update, class EntryOf, class F>
void for_each_table(std::span<const Update> updates, EntryOf&& entry_of, F&& f) {
  while (!updates.empty()) {
    const auto now = updates.first(std::min<std::size_t>(updates.size(), table_size));
    Table<decltype(entry_of(updates[0]))> table;
    for (const Update& update : now) table.add(entry_of(update), update.parameter);
    f(table);
    updates = updates.subspan(now.size());
  }
}

template <class Entry>
LaunchShape chunks_of(const Table<Entry>& table) {
  return {.blocks = std::max<std::int64_t>(table.blocks, 1), .threads = threads_of_block};
}

}  // namespace

void CudaBackend::sgd_step(const SgdParams& params, const Tensor& learning_rate,
                           std::span<const SgdUpdate> updates) {
  const auto entry_of = [this](const SgdUpdate& update) {
    return SgdEntry{Gradient(update.gradient), data_of<float>(update.velocity),
                    Parameter(update.parameter, shadows())};
  };
  for_each_table(updates, entry_of, [&](const Table<SgdEntry>& table) {
    run("sgd_step", chunks_of(table), sgd_kernel, table, params, learning_rate);
  });
}

void CudaBackend::adam_step(const AdamParams& params, const Tensor& learning_rate,
                            std::span<const AdamUpdate> updates) {
  const auto entry_of = [this](const AdamUpdate& update) {
    return AdamEntry{Gradient(update.gradient), data_of<float>(update.first_moment),
                     data_of<float>(update.second_moment), Parameter(update.parameter, shadows()),
                     data_of<std::int64_t>(update.step)};
  };
  for_each_table(updates, entry_of, [&](const Table<AdamEntry>& table) {
    constexpr std::int64_t width = sizeof(AdamRate) / sizeof(float);
    const Tensor room = Tensor::empty({table.size, width}, DType::f32, Device::cuda);
    auto* rates = reinterpret_cast<AdamRate*>(data_of<float>(room));
    run("adam_step", grid_of(table.size), adam_rates_kernel, table, params, learning_rate, rates);
    run("adam_step", chunks_of(table), adam_kernel, table, params, rates);
  });
}

}  // namespace generous::cuda
