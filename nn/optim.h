// Optimisers. The learning rate is set from outside, so that schedules stay there; it lies on the device, so
// that a recorded step follows it.
#pragma once

#include <memory>
#include <vector>

#include "core/safetensors.h"
#include "nn/module.h"

namespace generous {

class Optimizer {
 public:
  /// Steps these parameters, whose names its state has.
  explicit Optimizer(std::vector<StateEntry> parameters);
  virtual ~Optimizer() = default;

  /// Holds for every step from now on; 0 before the first call.
  void set_learning_rate(float learning_rate);
  /// One update with the accumulated gradients. A parameter without a gradient is left alone.
  virtual void step() = 0;
  void zero_grad();

  /// Everything an exact resume needs, as named tensors; and back (throws Error on other names or shapes).
  NamedTensors state() const;
  void load_state(const NamedTensors& tensors, const std::string& source);

 protected:
  /// Adds to the optimiser's state, as "KIND.PARAMETER": zeros of the parameter's shape; a counter {} of i64,
  /// zero. Both on the parameter's device.
  Tensor add_state(std::string_view kind, const StateEntry& parameter);
  Tensor add_counter(std::string_view kind, const StateEntry& parameter);

  Device device() const { return learning_rate_.device(); }

  std::vector<StateEntry> parameters_;
  Tensor learning_rate_;  ///< {} of f32 on the parameters' device

 private:
  std::vector<StateEntry> state_;
};

struct SgdOptions {
  float momentum = 0.9F;
  float weight_decay = 5e-4F;
  bool nesterov = false;
};

/// Stochastic gradient descent as PyTorch defines it: the first velocity is the first gradient, weight decay
/// is added to the gradient of every parameter. Throws Error for Nesterov without momentum.
std::unique_ptr<Optimizer> make_sgd(std::vector<StateEntry> parameters, const SgdOptions& options);
/// Of all trainable entries of `module`.
std::unique_ptr<Optimizer> make_sgd(const Module& module, const SgdOptions& options);

struct AdamOptions {
  float beta1 = 0.9F;
  float beta2 = 0.999F;
  float epsilon = 1e-8F;
  float weight_decay = 0.0F;
};

/// Kingma & Ba, "Adam: a method for stochastic optimization", 2015, Algorithm 1.
std::unique_ptr<Optimizer> make_adam(std::vector<StateEntry> parameters, const AdamOptions& options);
/// Of all trainable entries of `module`.
std::unique_ptr<Optimizer> make_adam(const Module& module, const AdamOptions& options);

}  // namespace generous
