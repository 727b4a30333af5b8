// One convolution of the emulated cuDNN: what the descriptors of a call say, once they have been found to
// fit.
#pragma once

#include <span>
#include <string_view>

#include "cudnn_objects.h"
#include "library_arithmetic.h"

namespace generous::emulation {

/// What is computed from what: y from x and w, dx from dy and w, or dw from x and dy.
enum class Direction : std::uint8_t { forward, backward_data, backward_filter };

struct Problem {
  Direction direction = Direction::forward;
  std::int64_t n = 0;         ///< images
  std::int64_t h = 0, w = 0;  ///< of x
  std::int64_t p = 0, q = 0;  ///< height and width of y
  std::int64_t r = 0, s = 0;  ///< height and width of the filter
  std::int64_t c = 0, k = 0;  ///< channels of x and of y, those of one group
  std::int64_t groups = 1;
  std::int64_t pad_h = 0, pad_w = 0;
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t dilation_h = 1, dilation_w = 1;
  bool flipped = false;            ///< a convolution proper: the filter is turned by 180 degrees
  Element element = Element::f32;  ///< of all three tensors
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
  Layout4d x;       ///< {n, h, w, groups * c}
  Layout4d filter;  ///< {groups * k, r, s, c}
  Layout4d y;       ///< {n, p, q, groups * k}

  /// Whether f32 factors are rounded to TF32 on the way.
  bool tf32() const { return element == Element::f32 && math != CUDNN_FMA_MATH; }
};

/// The descriptors of a call; x stands for dx and y for dy as well.
struct Descriptors {
  cudnnTensorDescriptor_t x;
  cudnnFilterDescriptor_t filter;
  cudnnConvolutionDescriptor_t convolution;
  cudnnTensorDescriptor_t y;
};

/// The library multiplies bf16 on tensor cores alone and says so in the math type of its performance records.
/// A call with bf16 descriptors that do not say so has given NaN with the real library; here it is refused.
bool needs_other_math(const Problem& problem);

/// Fills `problem`, or says why the library would not take these descriptors, whatever the algorithm.
cudnnStatus_t examine(std::string_view call, Direction direction, const Descriptors& descriptors,
                      Problem& problem);

/// The extents of y {n, groups * k, p, q} that follow from the other descriptors.
cudnnStatus_t output_extents(std::string_view call, cudnnConvolutionDescriptor_t convolution,
                             cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t filter,
                             std::span<int, 4> extents);

/// Algorithms are numbered as in the enumeration of their direction.
int algorithm_count(Direction direction);

/// Whether an algorithm takes the problem.
cudnnStatus_t examine_algorithm(std::string_view call, const Problem& problem, int algorithm);

/// Bytes of scratch memory that an algorithm writes.
std::size_t workspace_bytes(const Problem& problem, int algorithm);

cudnnDeterminism_t determinism_of(Direction direction, int algorithm);

/// Alpha, beta and where the operands lie on the device: x or dx, w or dw, y or dy.
struct Operands {
  float alpha = 1.0F;
  float beta = 0.0F;
  void* x = nullptr;
  void* filter = nullptr;
  void* y = nullptr;
  void* workspace = nullptr;
};

/// Device work: the whole call. The workspace holds workspace_bytes().
void run(const Problem& problem, int algorithm, const Operands& operands);

}  // namespace generous::emulation
