// Optimisers that keep the gradients of several losses apart.

#include <array>
#include <functional>
#include <map>

#include "core/backend.h"
#include "nn/optim.h"

namespace generous {
namespace {

/// How a loss moves a parameter.
struct Pull {
  float momentum;
  float weight_decay;

  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 sees a 0 here
  auto operator<=>(const Pull&) const = default;
};

/// For each loss, whether a parameter has a gradient of it.
using Known = std::vector<bool>;

/// Losses in the order of their passes: pull(known, first) of each, where `first` is this parameter's first
/// step.
struct Pass {
  std::size_t loss;
  std::string velocity;  ///< the kind of its state
  std::function<Pull(const Known& known, bool first)> pull;
};

class ApartSgd : public Optimizer {
 public:
  ApartSgd(std::vector<StateEntry> parameters, std::vector<Pass> passes)
      : Optimizer(std::move(parameters)), passes_(std::move(passes)), velocities_(passes_.size()) {
    for (std::size_t i = 0; i < passes_.size(); ++i)
      for (const StateEntry& entry : parameters_)
        velocities_[i].push_back(add_state(passes_[i].velocity, entry));
  }

  std::size_t losses() const override { return passes_.size(); }

  void load_state(const NamedTensors& tensors, const std::string& source) override {
    Optimizer::load_state(tensors, source);
    first_ = false;
  }

  /// A recorded step is never the first one, so that what is decided here stays true of it.
  void step() override {
    for (std::size_t i = 0; i < passes_.size(); ++i) {
      const std::vector<Tensor>& gradients = taken_.at(passes_[i].loss);
      std::map<Pull, std::vector<SgdUpdate>> updates;
      for (std::size_t p = 0; p < parameters_.size(); ++p)
        if (gradients[p].defined())
          updates[passes_[i].pull(known(p), first_)].push_back({.gradient = gradients[p],
                                                                .velocity = velocities_[i][p],
                                                                .parameter = parameters_[p].tensor.detach()});
      for (const auto& [pull, of] : updates)
        backend(device()).sgd_step({.momentum = pull.momentum, .weight_decay = pull.weight_decay},
                                   learning_rate_, of);
    }
    first_ = false;
    taken_.clear();
  }

 private:
  Known known(std::size_t parameter) const {
    Known known;
    for (const std::vector<Tensor>& gradients : taken_) known.push_back(gradients[parameter].defined());
    return known;
  }

  std::vector<Pass> passes_;
  std::vector<std::vector<Tensor>> velocities_;  ///< of each pass, for each parameter
  bool first_ = true;
};

}  // namespace

std::unique_ptr<Optimizer> make_dot(std::vector<StateEntry> parameters, const DotOptions& o) {
  enum : std::uint8_t { task, distillation };
  const auto task_pull = [o](const Known& known, bool) {
    return Pull{known[distillation] ? o.momentum - o.delta : o.momentum, o.weight_decay};
  };
  const auto distillation_pull = [o](const Known& known, bool first) {
    if (known[task]) return Pull{o.momentum + o.delta, 0.0F};
    return Pull{o.momentum, first ? 0.0F : o.weight_decay};
  };
  return std::make_unique<ApartSgd>(
      std::move(parameters), std::vector<Pass>{{task, "task_velocity", task_pull},
                                               {distillation, "distillation_velocity", distillation_pull}});
}

std::unique_ptr<Optimizer> make_deepkd(std::vector<StateEntry> parameters, const DeepKdOptions& o) {
  enum : std::uint8_t { task, target, non_target };
  const float of_target = o.momentum + o.delta_target;
  const float of_non_target = o.momentum + o.delta_non_target;
  const float mean = o.momentum + (o.delta_task + o.delta_target + o.delta_non_target) / 3.0F;
  const float decay = o.weight_decay;
  const auto task_pull = [=](const Known& known, bool) {
    return Pull{known[target] ? of_target : known[non_target] ? of_non_target : mean, 0.0F};
  };
  const auto non_target_pull = [=](const Known& known, bool first) {
    if (known[task]) return Pull{of_non_target, 0.0F};
    if (known[target]) return Pull{of_target, 0.0F};
    return Pull{mean, first ? 0.0F : decay};
  };
  const auto target_pull = [=](const Known& known, bool first) {
    if (known[task]) return Pull{of_target, decay};
    if (known[non_target]) return Pull{of_non_target, decay};
    return Pull{mean, first ? decay : 2.0F * decay};
  };
  return std::make_unique<ApartSgd>(std::move(parameters),
                                    std::vector<Pass>{{task, "task_velocity", task_pull},
                                                      {non_target, "non_target_velocity", non_target_pull},
                                                      {target, "target_velocity", target_pull}});
}

}  // namespace generous
