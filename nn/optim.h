// Optimisers. Learning rates come with every step, so that schedules stay outside.
#pragma once

#include <memory>
#include <vector>

#include "core/safetensors.h"
#include "nn/module.h"

namespace generous {

class Optimizer {
 public:
  /// Steps the trainable entries of `module`, which must outlive the optimiser.
  explicit Optimizer(const Module& module) : parameters_(module.parameters()) {}
  virtual ~Optimizer() = default;

  /// One update with the accumulated gradients. A parameter without a gradient is left alone.
  virtual void step(float learning_rate) = 0;
  void zero_grad();

  /// Everything an exact resume needs, as named tensors; and back (throws Error on other names or shapes).
  NamedTensors state() const;
  void load_state(const NamedTensors& tensors, const std::string& source);

 protected:
  /// Adds to the optimiser's state, as "KIND.PARAMETER": zeros of the parameter's shape; a counter {} of i64,
  /// zero, that stays on the host.
  Tensor add_state(std::string_view kind, const StateEntry& parameter);
  Tensor add_counter(std::string_view kind, const StateEntry& parameter);

  std::vector<StateEntry> parameters_;

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
std::unique_ptr<Optimizer> make_sgd(const Module& module, const SgdOptions& options);

struct AdamOptions {
  float beta1 = 0.9F;
  float beta2 = 0.999F;
  float epsilon = 1e-8F;
  float weight_decay = 0.0F;
};

/// Kingma & Ba, "Adam: a method for stochastic optimization", 2015, Algorithm 1.
std::unique_ptr<Optimizer> make_adam(const Module& module, const AdamOptions& options);

}  // namespace generous
