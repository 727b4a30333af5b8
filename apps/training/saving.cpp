#include "apps/training/saving.h"

#include <fmt/format.h>

#include <cmath>

#include "core/counted.h"

namespace generous {

std::string not_finite_in(const NamedTensors& weights) {
  for (const auto& [name, tensor] : weights) {
    if (tensor.dtype() != DType::f32) continue;
    for (const float value : tensor.data<float>())
      if (!std::isfinite(value)) return fmt::format("the weight {} became {}", name, shown(value));
  }
  return {};
}

void save_state(const RunIdentity& run, const Position& position, std::vector<std::string> metrics,
                Snapshot snapshot) {
  write_training_state(run.folder.training_state(), {.position = position,
                                                     .config = run.config,
                                                     .train_images = run.train_images,
                                                     .inputs = run.inputs,
                                                     .metrics = std::move(metrics),
                                                     .model = std::move(snapshot.model),
                                                     .method = std::move(snapshot.method),
                                                     .optimizer = std::move(snapshot.optimizer),
                                                     .average = std::move(snapshot.average)});
}

}  // namespace generous
