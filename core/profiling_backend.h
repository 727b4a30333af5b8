// A backend that times every kernel of another one: installed for a while in its place, it sees whatever ops
// and modules do without any of them knowing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/backend.h"

namespace generous {

struct KernelCall {
  std::string_view kernel;  ///< "batch_norm_train"
  std::string detail;       ///< shapes and type, such as "{128, 32, 32, 16} f32"
  double begin = 0.0;       ///< seconds since the profile began
  double seconds = 0.0;
};

/// One convolution as it was asked for, so that it can be run again by itself.
struct ConvolutionCall {
  enum class Direction : std::uint8_t { forward, inference, backward_data, backward_weight };
  Direction direction = Direction::forward;
  Conv2dParams params;
  Shape x;
  Shape weight;
  Shape y;
  DType dtype = DType::f32;  ///< of x and y
  bool bias = false;
  bool residual = false;  ///< something of the result's shape is added
  Activation activation = Activation::none;

  /// Equal for calls that do the same work.
  std::string key() const;
};

struct Profile {
  std::vector<KernelCall> kernels;            ///< in the order of their calls
  std::vector<ConvolutionCall> convolutions;  ///< likewise
};

/// While it lives, the calls to a device's backend are recorded; each is waited for before the next begins.
class ProfileScope {
 public:
  explicit ProfileScope(Device device);
  ~ProfileScope();
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

  /// What was recorded since the last call.
  Profile take();

 private:
  class Recorder;
  Device device_;
  Recorder* recorder_;  ///< owned by the registry of backends
};

}  // namespace generous
