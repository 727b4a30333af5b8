// Convolutions by a library, behind an interface that does not show which: cudnn_*.cpp implement it and are
// alone in including cudnn.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/params.h"

namespace generous::cuda {

/// What is computed from what: y from x and weight, dx from dy and weight, or dweight from x and dy.
enum class Direction : std::uint8_t { forward, backward_data, backward_weight };

std::string_view name_of(Direction direction);

/// What is added to the sums of a forward convolution and cut off, on the way to y.
struct ConvolutionEpilogue {
  bool bias = false;      ///< {K}, of y's type
  bool residual = false;  ///< of y's shape and type
  Activation activation = Activation::none;

  bool operator==(const ConvolutionEpilogue&) const = default;
};

/// What a plan is made for.
struct ConvolutionProblem {
  Direction direction = Direction::forward;
  DType dtype = DType::f32;  ///< of all three tensors, f32 or bf16; the sums are f32's
  Conv2dParams params;
  Shape x;       ///< {N, H, W, C}
  Shape weight;  ///< {K, R, S, C/groups}
  Shape y;       ///< {N, P, Q, K}
  ConvolutionEpilogue epilogue{};
  bool adds = false;  ///< to what the output holds, instead of replacing it
  bool sums =
      false;  ///< forward: also each channel's sums of y and of its squares over all pixels, {K} in f32
};

/// Bytes of workspace that a plan may use. Fixed: what is taken must not depend on what else is in memory.
inline constexpr std::size_t most_workspace = std::size_t{1} << 30U;

/// Addresses on the device, of x or dx, weight or dweight, y or dy; the direction says which is written.
/// Those of the epilogue are null where there is none.
struct ConvolutionOperands {
  void* x = nullptr;
  void* weight = nullptr;
  void* y = nullptr;
  void* bias = nullptr;
  void* residual = nullptr;
  void* sum = nullptr;
  void* square_sum = nullptr;
};

struct ConvolutionWork {
  ConvolutionProblem problem;
  ConvolutionOperands operands;
};

class Convolutions {
 public:
  explicit Convolutions(cudaStream_t stream);
  ~Convolutions();
  Convolutions(const Convolutions&) = delete;
  Convolutions& operator=(const Convolutions&) = delete;

  /// "cuDNN 9.19"
  static std::string library();

  /// Forgets all plans.
  void choose(const AlgorithmChoice& choice);
  /// Computes it, or returns false: the library has no plan for it that the choice allows. The first call for
  /// a problem makes the plan, which takes a while; it throws Error while work is recorded.
  bool run(const ConvolutionProblem& problem, const ConvolutionOperands& operands, bool recording);
  /// Whether a problem with `sums` takes less time than without and then `apart`, work on the stream that
  /// adds up the same. Both are timed at the first call, and where they are not to be, the answer is no; so
  /// it is while work is recorded, unless it was found before.
  bool sums_pay(const ConvolutionProblem& problem, const std::function<void()>& apart, bool recording);

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

}  // namespace generous::cuda
