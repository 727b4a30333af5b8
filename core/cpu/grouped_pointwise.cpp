#include "core/cpu/grouped_pointwise.h"

#include <utility>
#include <vector>

#include "core/cpu/block_product.h"
#include "core/cpu/parallel.h"
#include "core/cpu/vector_lanes.h"

namespace generous {
namespace {

/// Pixels that are multiplied at a time: their rows fit the first-level cache. A multiple of what the inner
/// kernel keeps in registers.
constexpr std::int64_t block_rows = 48;

std::int64_t padded(std::int64_t channels) { return (channels + lane_count - 1) / lane_count * lane_count; }

bool is_grouped_pointwise(const Conv2dParams& params, const Tensor& x, const Shape& weight) {
  return params.groups > 1 && params.groups < x.size(3) && weight[1] == 1 && weight[2] == 1 &&
         params.stride == 1 && params.padding == 0 && x.numel() > 0;
}

/// `channels` neighbouring channels of some rows, from one matrix to another.
template <class T>
void copy_rows(const T* from, std::int64_t from_stride, float* to, std::int64_t to_stride, std::int64_t rows,
               std::int64_t channels) {
  for (std::int64_t row = 0; row < rows; ++row, from += from_stride, to += to_stride)
    for_channels(channels, [=]<class V>(std::int64_t c) { store(to + c, load<V>(from + c)); });
}

/// dx {M, groups * in} = dy {M, groups * out} times weight {groups * out, in}, group by group.
void multiply_groups(std::int64_t groups, const Tensor& dy, const Tensor& weight, Tensor& dx) {
  const std::int64_t out = weight.size(0) / groups;
  const std::int64_t in = weight.size(3);
  const std::int64_t columns = padded(in);
  const std::int64_t pixels = dx.numel() / dx.size(3);
  const std::int64_t blocks = (pixels + block_rows - 1) / block_rows;
  Tensor filters = Tensor::zeros({weight.size(0), columns});
  copy_rows(weight.data<float>().data(), in, filters.data<float>().data(), columns, weight.size(0), in);
  parallel_ranges(blocks, 1, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> products(static_cast<std::size_t>(block_rows * columns));
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t first = block * block_rows;
      const std::int64_t rows = std::min(block_rows, pixels - first);
      for (std::int64_t g = 0; g < groups; ++g) {
        multiply({.a = dy.data<float>().data() + (first * groups + g) * out,
                  .a_row_stride = groups * out,
                  .a_depth_stride = 1,
                  .b = filters.data<float>().data() + g * out * columns,
                  .b_stride = columns,
                  .c = products.data(),
                  .c_stride = columns,
                  .depth = out,
                  .add_to_c = false},
                 rows, columns);
        copy_rows(products.data(), columns, dx.data<float>().data() + (first * groups + g) * in, groups * in,
                  rows, in);
      }
    }
  });
}

/// The sums of one thread, {K, padded(C/groups)}: those of up to `most_blocks` blocks in f32, then in double.
class WeightSums {
 public:
  explicit WeightSums(std::size_t size) : part_(size), total_(size) {}

  float* part() { return part_.data(); }
  /// After every block; `last` after the last one.
  void finish_block(bool last) {
    constexpr int most_blocks = 32;
    if (++blocks_ < most_blocks && !last) return;
    blocks_ = 0;
    for (std::size_t i = 0; i < part_.size(); ++i)
      total_[i] += static_cast<double>(std::exchange(part_[i], 0.0F));
  }
  double total(std::int64_t i) const { return total_[static_cast<std::size_t>(i)]; }

 private:
  int blocks_ = 0;
  std::vector<float> part_;
  std::vector<double> total_;
};

/// dweight {groups * out, in} = dy {M, groups * out} transposed times x {M, groups * in}, group by group.
template <class T>
void multiply_transposed(std::int64_t groups, const Tensor& x, const Tensor& dy, Tensor& dweight) {
  const std::int64_t in = x.size(3) / groups;
  const std::int64_t out = dy.size(3) / groups;
  const std::int64_t columns = padded(in);
  const std::int64_t pixels = x.numel() / x.size(3);
  const std::int64_t blocks = (pixels + block_rows - 1) / block_rows;
  const T* images = x.data<T>().data();
  const T* gradients = dy.data<T>().data();
  std::vector<WeightSums> sums(static_cast<std::size_t>(omp_get_max_threads()),
                               WeightSums(static_cast<std::size_t>(groups * out * columns)));
  const int threads = parallel_ranges(blocks, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    WeightSums& own = sums[static_cast<std::size_t>(thread)];
    std::vector<float> inputs(static_cast<std::size_t>(block_rows * columns));
    std::vector<float> outputs(static_cast<std::size_t>(block_rows * out));
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t first = block * block_rows;
      const std::int64_t rows = std::min(block_rows, pixels - first);
      for (std::int64_t g = 0; g < groups; ++g) {
        copy_rows(images + (first * groups + g) * in, groups * in, inputs.data(), columns, rows, in);
        copy_rows(gradients + (first * groups + g) * out, groups * out, outputs.data(), out, rows, out);
        multiply({.a = outputs.data(),
                  .a_row_stride = 1,
                  .a_depth_stride = out,
                  .b = inputs.data(),
                  .b_stride = columns,
                  .c = own.part() + g * out * columns,
                  .c_stride = columns,
                  .depth = rows,
                  .add_to_c = true},
                 out, columns);
      }
      own.finish_block(block + 1 == end);
    }
  });
  float* to = dweight.data<float>().data();
  for (std::int64_t k = 0; k < groups * out; ++k)
    for (std::int64_t c = 0; c < in; ++c) {
      double total = 0.0;
      for (int thread = 0; thread < threads; ++thread)
        total += sums[static_cast<std::size_t>(thread)].total(k * columns + c);
      *to++ = static_cast<float>(total);
    }
}

}  // namespace

bool grouped_pointwise_data_applies(const Conv2dParams& params, const Tensor& dx, const Shape& weight) {
  return is_grouped_pointwise(params, dx, weight) && dx.dtype() == DType::f32;
}

void grouped_pointwise_backward_data(const Conv2dParams& params, const Tensor& dy, const Tensor& weight,
                                     Tensor& dx) {
  multiply_groups(params.groups, dy, weight, dx);
}

bool grouped_pointwise_weight_applies(const Conv2dParams& params, const Tensor& x, const Shape& weight) {
  constexpr std::int64_t enough = 4096;
  const std::int64_t in = weight[3];
  const std::int64_t out = weight[0] / params.groups;
  return is_grouped_pointwise(params, x, weight) && x.numel() / x.size(3) >= enough &&
         (x.dtype() == DType::f32 || in > out);
}

void grouped_pointwise_backward_weight(const Conv2dParams& params, const Tensor& x, const Tensor& dy,
                                       Tensor& dweight) {
  visit_floating(x.dtype(), [&]<class T>(T) { multiply_transposed<T>(params.groups, x, dy, dweight); });
}

}  // namespace generous
