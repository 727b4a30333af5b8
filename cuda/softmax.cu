// Kernels on rows of logits {B, C}, a warp for each row. Sums are in double, as on the CPU: rows are short
// and losses sensitive. A GPU cannot throw in the middle of its work: where a label is not in [0, C), what
// depends on it is NaN.

#include <cmath>

#include "cuda/begin_kernel.h"
#include "cuda/block_reduce.h"
#include "cuda/cuda_backend.h"
#include "cuda/last_block.h"

namespace generous::cuda {
namespace {

constexpr int row_threads = 128;

LaunchShape warps_of(std::int64_t rows) { return grid_of(rows * warp_size, row_threads); }

__device__ float not_a_number() { return nanf(""); }

/// Calls f(row, lane) in every thread of a warp, for each row once.
template <class F>
__device__ void for_each_row(std::int64_t rows, F&& f) {
  const std::int64_t warps = static_cast<std::int64_t>(gridDim.x) * (blockDim.x / warp_size);
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / warp_size) + threadIdx.x / warp_size;
  for (std::int64_t row = first; row < rows; row += warps) f(row, static_cast<int>(threadIdx.x % warp_size));
}

/// What a row is normalised by: log sum_c exp(x_c) = largest + rest.
struct Normaliser {
  float largest;
  double rest;
};

__device__ Normaliser normaliser_of(const float* logits, std::int64_t classes, int lane) {
  float largest = -INFINITY;
  for (std::int64_t c = lane; c < classes; c += warp_size) largest = fmaxf(largest, logits[c]);
  largest = warp_max(largest);
  double sum = 0.0;
  for (std::int64_t c = lane; c < classes; c += warp_size)
    sum += static_cast<double>(std::exp(logits[c] - largest));
  return {.largest = largest, .rest = std::log(warp_sum(sum))};
}

__device__ bool is_class(std::int64_t label, std::int64_t classes) { return label >= 0 && label < classes; }

__global__ void log_softmax_kernel(std::int64_t rows, std::int64_t classes, const float* __restrict__ x,
                                   float* __restrict__ y) {
  begin_kernel();
  for_each_row(rows, [&](std::int64_t row, int lane) {
    const float* logits = x + row * classes;
    const auto [largest, rest] = normaliser_of(logits, classes, lane);
    for (std::int64_t c = lane; c < classes; c += warp_size)
      y[row * classes + c] = logits[c] - largest - static_cast<float>(rest);
  });
}

__global__ void log_softmax_backward_kernel(std::int64_t rows, std::int64_t classes,
                                            const float* __restrict__ y, const float* __restrict__ dy,
                                            float* __restrict__ dx) {
  begin_kernel();
  for_each_row(rows, [&](std::int64_t row, int lane) {
    const std::int64_t first = row * classes;
    double sum = 0.0;
    for (std::int64_t c = lane; c < classes; c += warp_size) sum += static_cast<double>(dy[first + c]);
    const auto total = static_cast<float>(warp_sum(sum));
    for (std::int64_t c = lane; c < classes; c += warp_size)
      dx[first + c] = dy[first + c] - std::exp(y[first + c]) * total;
  });
}

/// total {} = the sum of x {count}, which the blocks of this kernel wrote, / divisor; by the last one.
__device__ void total_of_block(std::int64_t count, const float* x, double divisor, float* total) {
  double sum = 0.0;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += static_cast<double>(x[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) *total = static_cast<float>(sum / divisor);
}

/// 1 where the label, if there is such a class, is among the k largest logits, otherwise 0; for a whole warp.
__device__ float hits_top_k(const float* __restrict__ logits, std::int64_t classes, std::int64_t label,
                            std::int64_t k, int lane) {
  if (!is_class(label, classes)) return not_a_number();
  const float wanted = logits[label];
  int ahead = 0;
  for (std::int64_t c = lane; c < classes; c += warp_size)
    // Not "greater": a logit that is NaN is ahead of every number.
    ahead += c != label && (!(logits[c] <= wanted) || (logits[c] == wanted && c < label)) ? 1 : 0;
  ahead = warp_sum(ahead);
  // A row whose label's logit is NaN has no ranking: it counts as wrong.
  return ahead < k && !std::isnan(wanted) ? 1.0F : 0.0F;
}

/// losses {B}, one a row, and hits {B} of the largest logit; loss {}: the mean, hit_count {}: the sum.
__global__ void cross_entropy_kernel(std::int64_t rows, std::int64_t classes, const float* __restrict__ x,
                                     const std::int64_t* __restrict__ labels,
                                     float* __restrict__ probabilities, float* losses, float* hits,
                                     unsigned* ticket, float* loss, float* hit_count) {
  begin_kernel();
  for_each_row(rows, [&](std::int64_t row, int lane) {
    const float* logits = x + row * classes;
    const std::int64_t label = labels[row];
    const bool valid = is_class(label, classes);
    const auto [largest, rest] = normaliser_of(logits, classes, lane);
    for (std::int64_t c = lane; c < classes; c += warp_size)
      probabilities[row * classes + c] =
          valid ? std::exp(logits[c] - largest - static_cast<float>(rest)) : not_a_number();
    const float hit = hits_top_k(logits, classes, label, 1, lane);
    if (lane != 0) return;
    losses[row] =
        valid ? static_cast<float>(rest - static_cast<double>(logits[label] - largest)) : not_a_number();
    hits[row] = hit;
  });
  if (!is_last_block(ticket, gridDim.x)) return;
  total_of_block(rows, losses, static_cast<double>(rows), loss);
  total_of_block(rows, hits, 1.0, hit_count);
}

__global__ void cross_entropy_backward_kernel(std::int64_t rows, std::int64_t classes,
                                              const float* __restrict__ probabilities,
                                              const std::int64_t* __restrict__ labels,
                                              const float* __restrict__ dloss, float* __restrict__ dx) {
  begin_kernel();
  const float scale = *dloss / static_cast<float>(rows);
  for_each_row(rows, [&](std::int64_t row, int lane) {
    const std::int64_t label = labels[row];
    for (std::int64_t c = lane; c < classes; c += warp_size)
      dx[row * classes + c] = scale * (probabilities[row * classes + c] - (c == label ? 1.0F : 0.0F));
  });
}

__global__ void one_hot_kernel(std::int64_t rows, std::int64_t classes,
                               const std::int64_t* __restrict__ labels, float* __restrict__ y) {
  begin_kernel();
  for_each_row(rows, [&](std::int64_t row, int lane) {
    const std::int64_t label = labels[row];
    const float elsewhere = is_class(label, classes) ? 0.0F : not_a_number();
    for (std::int64_t c = lane; c < classes; c += warp_size)
      y[row * classes + c] = c == label ? 1.0F : elsewhere;
  });
}

struct LowerOf {
  __device__ std::int64_t operator()(std::int64_t a, std::int64_t b) const { return a < b ? a : b; }
};

/// The lowest class of those whose logit is largest, or NaN where there is one.
__global__ void argmax_kernel(std::int64_t rows, std::int64_t classes, const float* __restrict__ x,
                              std::int64_t* __restrict__ y) {
  begin_kernel();
  for_each_row(rows, [&](std::int64_t row, int lane) {
    const float* logits = x + row * classes;
    float largest = -INFINITY;
    std::int64_t not_number = classes;
    for (std::int64_t c = lane; c < classes; c += warp_size) {
      largest = fmaxf(largest, logits[c]);
      if (std::isnan(logits[c]) && c < not_number) not_number = c;
    }
    largest = warp_max(largest);
    std::int64_t first = classes;
    for (std::int64_t c = lane; c < classes && first == classes; c += warp_size)
      if (logits[c] == largest) first = c;
    first = warp_reduce(first, LowerOf{});
    not_number = warp_reduce(not_number, LowerOf{});
    if (lane == 0) y[row] = not_number < classes ? not_number : first;
  });
}

/// hits {B}: 1 where the row's label is among its k largest logits, otherwise 0; hit_count {}: their number.
__global__ void top_k_kernel(std::int64_t rows, std::int64_t classes, std::int64_t k,
                             const float* __restrict__ x, const std::int64_t* __restrict__ labels,
                             float* hits, unsigned* ticket, float* hit_count) {
  begin_kernel();
  for_each_row(rows, [&](std::int64_t row, int lane) {
    const float hit = hits_top_k(x + row * classes, classes, labels[row], k, lane);
    if (lane == 0) hits[row] = hit;
  });
  if (is_last_block(ticket, gridDim.x)) total_of_block(rows, hits, 1.0, hit_count);
}

constexpr std::size_t most_scalars = 64;

struct Scalars {
  const float* each[most_scalars];
};

/// One block, a thread for each scalar.
__global__ void store_scalars_kernel(const __grid_constant__ Scalars scalars, int scalar_count,
                                     std::int64_t rows, std::int64_t* __restrict__ count,
                                     float* __restrict__ table) {
  begin_kernel();
  const std::int64_t now = *count;
  __syncthreads();  // all have read it
  const int i = static_cast<int>(threadIdx.x);
  if (i < scalar_count) table[now % rows * scalar_count + i] = *scalars.each[i];
  if (i == 0) *count = now + 1;
}

/// The companion of labels: fresh until something else is written there.
struct LabelsRead final : WorkedOut {};

/// The companion of logits: how many rows have their label as the largest one, which the cross-entropy finds
/// in passing.
struct Correct final : WorkedOut {
  Tensor count;  ///< {}
  Shape shape;   ///< of the logits
  std::shared_ptr<LabelsRead> labels;
  std::int64_t place = 0;  ///< CudaBackend::place
};

/// Unless something else is kept beside x or the labels.
void keep_correct(const Tensor& x, const Tensor& labels, const Tensor& count, std::int64_t place) {
  auto read = std::dynamic_pointer_cast<LabelsRead>(labels.companion());
  if ((labels.companion() != nullptr && read == nullptr) ||
      (x.companion() != nullptr && dynamic_cast<Correct*>(x.companion().get()) == nullptr))
    return;
  if (read == nullptr || !read->fresh) {
    read = std::make_shared<LabelsRead>();
    read->fresh = true;
    labels.companion() = read;
  }
  const auto correct = std::make_shared<Correct>();
  correct->fresh = true;
  correct->count = count;
  correct->shape = x.shape();
  correct->labels = read;
  correct->place = place;
  x.companion() = correct;
}

/// Undefined where it is not known.
Tensor correct_of(const Tensor& x, const Tensor& labels, std::int64_t place) {
  const auto* known = dynamic_cast<Correct*>(x.companion().get());
  const bool holds = known != nullptr && known->fresh && known->shape == x.shape() &&
                     known->labels == labels.companion() && known->labels->fresh && known->place == place;
  return holds ? known->count : Tensor();
}

}  // namespace

void CudaBackend::log_softmax(const Tensor& x, Tensor& y) {
  run("log_softmax", warps_of(x.size(0)), log_softmax_kernel, x.size(0), x.size(1), x, y);
}

void CudaBackend::log_softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  run("log_softmax_backward", warps_of(y.size(0)), log_softmax_backward_kernel, y.size(0), y.size(1), y, dy,
      dx);
}

void CudaBackend::cross_entropy(const Tensor& x, const Tensor& labels, Tensor& probabilities, Tensor& loss) {
  const std::int64_t rows = x.size(0);
  const Tensor losses = Tensor::empty({rows}, DType::f32, Device::cuda);
  const Tensor hits = Tensor::empty({rows}, DType::f32, Device::cuda);
  Tensor correct = Tensor::empty({}, DType::f32, Device::cuda);
  run("cross_entropy", warps_of(rows), cross_entropy_kernel, rows, x.size(1), x, labels, probabilities,
      losses, hits, tickets(), loss, correct);
  keep_correct(x, labels, correct, place());
}

void CudaBackend::cross_entropy_backward(const Tensor& probabilities, const Tensor& labels,
                                         const Tensor& dloss, Tensor& dx) {
  const std::int64_t rows = probabilities.size(0);
  run("cross_entropy_backward", warps_of(rows), cross_entropy_backward_kernel, rows, probabilities.size(1),
      probabilities, labels, dloss, dx);
}

void CudaBackend::one_hot(const Tensor& labels, Tensor& y) {
  run("one_hot", warps_of(y.size(0)), one_hot_kernel, y.size(0), y.size(1), labels, y);
}

void CudaBackend::store_scalars(std::span<const Tensor> scalars, Tensor& count, Tensor& table) {
  require(scalars.size() <= most_scalars, "store_scalars: {} are more than {}", scalars.size(), most_scalars);
  Scalars read{};
  for (std::size_t i = 0; i < scalars.size(); ++i) read.each[i] = data_of<const float>(scalars[i]);
  run("store_scalars", {.blocks = 1, .threads = static_cast<int>(most_scalars)}, store_scalars_kernel, read,
      static_cast<int>(scalars.size()), table.size(0), count, table);
}

void CudaBackend::argmax_rows(const Tensor& x, Tensor& y) {
  run("argmax_rows", warps_of(x.size(0)), argmax_kernel, x.size(0), x.size(1), x, y);
}

Tensor CudaBackend::count_top_k(const Tensor& x, const Tensor& labels, std::int64_t k) {
  if (k == 1)
    if (const Tensor known = correct_of(x, labels, place()); known.defined()) return known;
  const std::int64_t rows = x.size(0);
  Tensor count = Tensor::empty({}, DType::f32, Device::cuda);
  const Tensor hits = Tensor::empty({rows}, DType::f32, Device::cuda);
  run("count_top_k", warps_of(rows), top_k_kernel, rows, x.size(1), k, x, labels, hits, tickets(), count);
  return count;
}

}  // namespace generous::cuda
