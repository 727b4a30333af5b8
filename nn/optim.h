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

  /// Of how many losses it wants the gradients apart; 1: those of their sum.
  virtual std::size_t losses() const { return 1; }
  /// Takes what the parameters have accumulated as the gradients of loss `index` of `losses`.
  void take_gradients(std::size_t index);

  /// Everything an exact resume needs, as named tensors; and back (throws Error on other names or shapes).
  NamedTensors state() const;
  virtual void load_state(const NamedTensors& tensors, const std::string& source);

 protected:
  /// Adds to the optimiser's state, as "KIND.PARAMETER": zeros of the parameter's shape; a counter {} of i64,
  /// zero. Both on the parameter's device.
  Tensor add_state(std::string_view kind, const StateEntry& parameter);
  Tensor add_counter(std::string_view kind, const StateEntry& parameter);

  Device device() const { return learning_rate_.device(); }

  std::vector<StateEntry> parameters_;
  std::vector<std::vector<Tensor>> taken_;  ///< for each loss, a gradient or undefined for each parameter
  Tensor learning_rate_;                    ///< {} of f32 on the parameters' device

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
  /// Weight decay shrinks the parameter itself and is no part of the gradient. (Loshchilov & Hutter,
  /// "Decoupled weight decay regularization", 2019)
  bool decoupled = false;
};

/// Kingma & Ba, "Adam: a method for stochastic optimization", 2015, Algorithm 1.
std::unique_ptr<Optimizer> make_adam(std::vector<StateEntry> parameters, const AdamOptions& options);
/// Of all trainable entries of `module`.
std::unique_ptr<Optimizer> make_adam(const Module& module, const AdamOptions& options);

/// Gradients of several losses at the same weights, each with velocities of its own: p -= lr velocity for
/// each loss in turn. A velocity starts as its first increment.

struct DotOptions {
  float momentum = 0.9F;
  float delta = 0.075F;
  float weight_decay = 5e-4F;
};

/// Distillation-oriented trainer: losses 0, the task's, with momentum - delta, and 1, the distillation's,
/// with momentum + delta. Weight decay belongs to the task. (Zhao et al., "DOT: a distillation-oriented
/// trainer", ICCV 2023) A parameter that only one of them knows has the plain momentum; if that is the
/// distillation, its first increment is without decay, as published.
std::unique_ptr<Optimizer> make_dot(std::vector<StateEntry> parameters, const DotOptions& options);

struct DeepKdOptions {
  float momentum = 0.9F;
  float delta_task = 0.075F;
  float delta_target = -0.075F;
  float delta_non_target = 0.075F;
  float weight_decay = 5e-4F;
};

/// Losses 0, the task's, 1, the distillation's of the target class, and 2, that of the others. (Huang et al.,
/// "DeepKD", 2025) Which momentum and how much decay a parameter has depends on which of them know it, as in
/// the published code; the momentum of the task is used for parameters that one loss alone knows, and there
/// only in the mean of the three.
std::unique_ptr<Optimizer> make_deepkd(std::vector<StateEntry> parameters, const DeepKdOptions& options);

}  // namespace generous
