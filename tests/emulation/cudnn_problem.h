// What a graph of the emulated cuDNN computes: one convolution and what is done to its sums, once the
// descriptors have been found to fit.
#pragma once

#include <map>
#include <optional>
#include <string_view>

#include "cudnn_objects.h"
#include "library_arithmetic.h"

namespace generous::emulation {

/// What is computed from what: y from x and w, dx from dy and w, or dw from x and dy.
enum class Direction : std::uint8_t { forward, backward_data, backward_filter };

/// A tensor of a graph; its axes in the order in which the arithmetic takes them, channels last.
struct GraphTensor {
  std::int64_t id = 0;
  bool in_memory = true;
  std::optional<Element> element;  ///< nothing: a type that is not emulated
  Layout4d layout;                 ///< {n, h, w, c}, or {k, r, s, c} of a filter
  std::int64_t alignment = 0;      ///< bytes

  /// One number for each channel.
  bool per_channel() const { return layout.elements() == layout.extents[3]; }
};

/// One thing that is done to the sums of a convolution.
struct Step {
  std::optional<GraphTensor> added;  ///< of y's shape, or one number for each channel; nothing: ReLU
  float ceiling = 0.0F;              ///< of a ReLU
};

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
  bool flipped = false;      ///< a convolution proper: the filter is turned by 180 degrees
  float alpha = 1.0F;        ///< of the sums
  float beta = 0.0F;         ///< of what was in the output
  GraphTensor x, filter, y;  ///< y: what is in memory behind the last step
  std::vector<Step> steps{};
  std::optional<GraphTensor> sum, square_sum;  ///< over all pixels of each channel of y, both or none
  /// Whether the library has engines for such types at all: all tensors of one type, every sum in f32.
  bool has_engines = true;

  /// All that are in memory.
  std::vector<GraphTensor> tensors() const;
  Element element() const { return x.element.value_or(Element::f32); }
};

/// The engines of the library for a problem, best first, by a mode of its heuristics.
std::vector<std::int64_t> engines_for(const Problem& problem, cudnnBackendHeurMode_t mode);

/// Bytes of scratch memory that an engine writes: for each another size.
std::size_t workspace_bytes(const Problem& problem, std::int64_t engine);

std::vector<cudnnBackendNumericalNote_t> notes_of(const Problem& problem, std::int64_t engine);

/// Device work: the whole graph. `addresses` by the tensors' ids; the workspace holds workspace_bytes().
void run(const Problem& problem, std::int64_t engine, const std::map<std::int64_t, void*>& addresses,
         void* workspace);

}  // namespace generous::emulation
