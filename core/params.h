// Parameter structs of the structured ops: one argument instead of a row of loose integers.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "core/tensor.h"

namespace generous {

struct Conv2dParams {
  std::int64_t stride = 1;
  std::int64_t padding = 0;  ///< zeros on every side
  std::int64_t groups = 1;
};

/// How a backend with several algorithms for a convolution picks one.
enum class ConvolutionChoice : std::uint8_t {
  by_rule,   ///< a fixed rule of shape and type: the same bits in every run
  measured,  ///< the faster one when a shape is first met: bits may differ from run to run
  direct     ///< never one that trades accuracy for multiplications
};

/// What a backend with several algorithms for a kernel may pick.
struct AlgorithmChoice {
  ConvolutionChoice convolutions = ConvolutionChoice::by_rule;
  bool deterministic = false;  ///< GPU: only algorithms that give the same bits in every run
  bool op_by_op = false;       ///< GPU: waits for every op, so that an error inside one names it
  bool tf32 = false;           ///< GPU: f32 products with factors of 10 mantissa bits, on tensor cores
};

/// Base of what a backend keeps with a frozen filter, so as to prepare it once and not at every call.
struct PreparedFilter {
  PreparedFilter() = default;
  virtual ~PreparedFilter() = default;
  PreparedFilter(const PreparedFilter&) = delete;
  PreparedFilter& operator=(const PreparedFilter&) = delete;
};

/// The filter of a convolution that is no longer trained: neither tensor may change after its first use.
struct FrozenFilter {
  Tensor weight;                             ///< {K, R, S, C/groups}
  Tensor bias;                               ///< {K} or undefined
  std::shared_ptr<PreparedFilter> prepared;  ///< the backend's own; empty at first
};

enum class Activation : std::uint8_t { none, relu, relu6 };

/// What an activation other than none cuts its values to from above; from below it is 0.
constexpr float ceiling_of(Activation activation) {
  return activation == Activation::relu6 ? 6.0F : std::numeric_limits<float>::infinity();
}

/// What follows the sums of a convolution: y = activation(sums [+ residual]).
struct Conv2dEpilogue {
  Tensor residual;  ///< shape of y, or undefined
  Activation activation = Activation::none;
};

struct Pool2dParams {
  std::int64_t kernel_h = 2;
  std::int64_t kernel_w = 2;
  std::int64_t stride = 2;
  std::int64_t padding = 0;  ///< less than the kernel; never chosen by max pooling
};

struct GemmParams {
  bool transpose_a = false;
  bool transpose_b = false;
  float alpha = 1.0F;
  float beta = 0.0F;
};

/// One of several tensors {..., c_i} that are taken as one {..., C}, their channels side by side in turn.
struct ChannelPart {
  Tensor tensor;          ///< undefined: zeros where it is read, not wanted where it would be written
  std::int64_t channels;  ///< c_i
};

struct DropoutParams {
  float p = 0.5F;          ///< probability of a zero, in [0, 1)
  std::uint64_t key = 0;   ///< of the random stream (core/random.h)
  Tensor step{};           ///< {} of i64 on the device of x: a fresh mask every step; undefined: step 0
  std::int64_t first = 0;  ///< x is a piece of a larger tensor, of which this many elements come before it
};

/// How many images of other classes are drawn for each image of a batch, from N images of known classes.
struct NegativeDraws {
  std::int64_t count = 1;  ///< without replacement; of fewer, each is drawn equally often, or once more
  std::uint64_t key = 0;   ///< of the random stream (core/random.h)
  Tensor sorted;           ///< i64 {N}: the images sorted by class
  Tensor begin;            ///< i64 {classes + 1}: where each class begins among these
  Tensor step{};           ///< {} of i64: other draws in every step; undefined: step 0
};

struct BatchNormParams {
  bool training = true;
  Activation activation = Activation::none;
  float momentum = 0.1F;
  float epsilon = 1e-5F;
};

/// A tensor that batch norm reads, alone or beside others. Its copies share what is known of it.
struct BatchNormPart {
  BatchNormPart(Tensor values) : x(std::move(values)), moments(std::make_shared<Tensor>()) {}

  Tensor x;  ///< {..., c_i}
  /// Mean and variance of each channel, in the backend's own form. Found by the first training pass over x,
  /// and not again by the others: x must not change in between.
  std::shared_ptr<Tensor> moments;
};

struct BatchNormInputs {
  std::vector<BatchNormPart> parts;  ///< {..., c_i}, side by side: x {..., C} with C = sum c_i
  Tensor gamma;                      ///< {C}
  Tensor beta;                       ///< {C}
  Tensor residual;                   ///< shape of x, or undefined
};

struct BatchNormStatistics {
  Tensor mean;       ///< {C}
  Tensor variance;   ///< {C}
  Tensor batches{};  ///< {} of i64, counted up by training; or undefined
};

struct BatchNormSaved {
  std::vector<BatchNormPart> parts;
  Tensor y;            ///< the output, read only with an activation: where that let it pass is the mask
  Tensor gamma;        ///< {C}
  Tensor beta;         ///< {C}; defined where y depends on x alone, so that x gives the mask as well
  Tensor mean;         ///< {C}
  Tensor inverse_std;  ///< {C}
};

/// dx of a part: written, or added to what it holds.
struct BatchNormPartGradient {
  Tensor dx;
  bool add = false;
};

struct BatchNormGradients {
  std::vector<BatchNormPartGradient> parts;  ///< one for each
  Tensor dgamma;                             ///< {C}
  Tensor dbeta;                              ///< {C}
  Tensor dresidual;  ///< shape of x; defined only with an activation (dy itself without) and when wanted
};

struct SgdParams {
  float momentum = 0.0F;
  float weight_decay = 0.0F;
  bool nesterov = false;
};

/// One parameter of a step of SGD; all tensors of the same shape.
struct SgdUpdate {
  Tensor gradient;
  Tensor velocity;  ///< undefined without momentum
  Tensor parameter;
};

struct AdamParams {
  float beta1 = 0.9F;
  float beta2 = 0.999F;
  float epsilon = 1e-8F;
  float weight_decay = 0.0F;
  bool decoupled = false;  ///< decay shrinks the parameter itself (AdamW) and is no part of the gradient
};

/// One parameter of a step of Adam; all tensors but the last of the same shape.
struct AdamUpdate {
  Tensor gradient;
  Tensor first_moment;
  Tensor second_moment;
  Tensor parameter;
  Tensor step;  ///< {} of i64: the updates this parameter has had, counted up by the step
};

/// A batch of augmented, normalised images, made from a dataset where it lies (data/augment.h).
struct AugmentInputs {
  Tensor images;      ///< u8 {M, H, W, C}, C from 1 to 3
  Tensor placements;  ///< i64 {N, placement_size}: for each image of the batch, as `Placement` lays it out
  Tensor normalise;   ///< f32 {3, 256}: by channel, the value of every byte
};

}  // namespace generous
