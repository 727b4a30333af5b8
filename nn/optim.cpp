#include "nn/optim.h"

#include "core/backend.h"
#include "nn/state_dict.h"

namespace generous {

Optimizer::Optimizer(std::vector<StateEntry> parameters) : parameters_(std::move(parameters)) {
  const Device device = parameters_.empty() ? Device::cpu : parameters_.front().tensor.device();
  learning_rate_ = Tensor::zeros({}, DType::f32, device);
}

void Optimizer::set_learning_rate(float learning_rate) {
  backend(device()).copy_from_host(&learning_rate, learning_rate_);
}

void Optimizer::zero_grad() {
  for (StateEntry& entry : parameters_) entry.tensor.clear_grad();
}

void Optimizer::take_gradients(std::size_t index) {
  taken_.resize(losses());
  taken_[index].clear();
  for (StateEntry& entry : parameters_) {
    taken_[index].push_back(entry.tensor.grad_as_kept());
    entry.tensor.clear_grad();
  }
}

NamedTensors Optimizer::state() const { return state_dict(state_); }

void Optimizer::load_state(const NamedTensors& tensors, const std::string& source) {
  load_state_dict(state_, tensors, source);
}

Tensor Optimizer::add_state(std::string_view kind, const StateEntry& parameter) {
  const Tensor& like = parameter.tensor;
  const Tensor tensor = Tensor::zeros(like.shape(), DType::f32, like.device());
  state_.push_back({std::string(kind) + "." + parameter.name, tensor, false, {}, parameter.layout});
  return tensor;
}

Tensor Optimizer::add_counter(std::string_view kind, const StateEntry& parameter) {
  const Tensor tensor = Tensor::zeros({}, DType::i64, parameter.tensor.device());
  state_.push_back({std::string(kind) + "." + parameter.name, tensor, false, {}, {}});
  return tensor;
}

namespace {

class Sgd : public Optimizer {
 public:
  Sgd(std::vector<StateEntry> parameters, const SgdOptions& options)
      : Optimizer(std::move(parameters)), options_(options) {
    require(!options.nesterov || options.momentum > 0.0F, "SGD: Nesterov needs a momentum above 0, not {}",
            options.momentum);
    for (const StateEntry& entry : parameters_)
      velocities_.push_back(options.momentum == 0.0F ? Tensor() : add_state("velocity", entry));
  }

  void step() override {
    // A velocity starts at zero, so that after the first gradient g it is momentum * 0 + g, as it should be.
    const SgdParams params{
        .momentum = options_.momentum, .weight_decay = options_.weight_decay, .nesterov = options_.nesterov};
    std::vector<SgdUpdate> updates;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const Tensor& parameter = parameters_[i].tensor;
      const Tensor& gradient = parameter.grad_as_kept();
      if (!gradient.defined()) continue;
      updates.push_back({.gradient = gradient, .velocity = velocities_[i], .parameter = parameter.detach()});
    }
    backend(device()).sgd_step(params, learning_rate_, updates);
  }

 private:
  SgdOptions options_;
  std::vector<Tensor> velocities_;  ///< undefined tensors without momentum
};

class Adam : public Optimizer {
 public:
  Adam(std::vector<StateEntry> parameters, const AdamOptions& options)
      : Optimizer(std::move(parameters)), options_(options) {
    for (const StateEntry& entry : parameters_)
      moments_.push_back({.first = add_state("first_moment", entry),
                          .second = add_state("second_moment", entry),
                          .step = add_counter("step", entry)});
  }

  void step() override {
    const AdamParams params{.beta1 = options_.beta1,
                            .beta2 = options_.beta2,
                            .epsilon = options_.epsilon,
                            .weight_decay = options_.weight_decay,
                            .decoupled = options_.decoupled};
    std::vector<AdamUpdate> updates;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const Tensor& parameter = parameters_[i].tensor;
      const Tensor& gradient = parameter.grad_as_kept();
      if (!gradient.defined()) continue;
      updates.push_back({.gradient = gradient,
                         .first_moment = moments_[i].first,
                         .second_moment = moments_[i].second,
                         .parameter = parameter.detach(),
                         .step = moments_[i].step});
    }
    backend(device()).adam_step(params, learning_rate_, updates);
  }

 private:
  struct Moments {
    Tensor first;
    Tensor second;
    Tensor step;  ///< {} of i64: the updates this parameter has had
  };
  AdamOptions options_;
  std::vector<Moments> moments_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(std::vector<StateEntry> parameters, const SgdOptions& options) {
  return std::make_unique<Sgd>(std::move(parameters), options);
}

std::unique_ptr<Optimizer> make_sgd(const Module& module, const SgdOptions& options) {
  return make_sgd(module.parameters(), options);
}

std::unique_ptr<Optimizer> make_adam(std::vector<StateEntry> parameters, const AdamOptions& options) {
  return std::make_unique<Adam>(std::move(parameters), options);
}

std::unique_ptr<Optimizer> make_adam(const Module& module, const AdamOptions& options) {
  return make_adam(module.parameters(), options);
}

}  // namespace generous
