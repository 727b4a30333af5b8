// How many nodes the graph of a recorded training step has: each costs a GPU some microseconds, and a small
// network little more than that.

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "apps/training/train_step.h"
#include "core/placement.h"
#include "nn/distill/none.h"
#include "nn/models/registry.h"
#include "tests/emulation/emulation.h"

namespace generous {
namespace {

constexpr std::int64_t augmentation = 1;

/// Nodes by kind: "kernel" (ours), "cast" (ours as well, apart), and what the libraries' work is called.
using Counts = std::map<std::string, std::int64_t>;

/// The kernels of casts from and to bf16.
std::vector<const void*> cast_kernels() {
  std::vector<const void*> found;
  for (const DType from : {DType::f32, DType::bf16}) {
    const Tensor x = Tensor::zeros({8}, from, Device::cuda);
    Tensor y = Tensor::empty({8}, from == DType::f32 ? DType::bf16 : DType::f32, Device::cuda);
    const auto recorded = backend(Device::cuda).record([&] { backend(Device::cuda).cast(x, y); });
    for (const emulation::GraphNode& node : emulation::last_graph()) found.push_back(node.function);
  }
  return found;
}

/// Two images of a dataset of one, which the step makes.
Batch batch_to_be_made() {
  Batch batch;
  batch.labels = Tensor::zeros({2}, DType::i64, Device::cuda);
  batch.unmade.push_back({.of = {.images = Tensor::zeros({1, 32, 32, 3}, DType::u8, Device::cuda),
                                 .placements = Tensor::zeros({2, placement_size}, DType::i64, Device::cuda),
                                 .normalise = Tensor::full({3, 256}, 0.5F, Device::cuda)}});
  return batch;
}

/// Of a step of `model` in bf16, with SGD and cross-entropy alone, from the bytes of the images on.
Counts nodes_of_step(const std::string& name) {
  const std::vector<const void*> casts = cast_kernels();
  const auto model = make_model(name, {.classes = 10, .device = Device::cuda});
  const auto optimizer = make_sgd(*model, {});
  const auto method = make_none();
  TrainStep step({*model, nullptr, *method}, *optimizer,
                 {.dtype = DType::bf16, .device = Device::cuda, .batch_size = 2});
  const Batch batch = batch_to_be_made();
  optimizer->set_learning_rate(0.1F);
  step.start_epoch(0);
  for (std::int64_t i = 0; i < 3; ++i) step.run(batch, i);
  backend(Device::cuda).synchronize();
  Counts counts;
  for (const emulation::GraphNode& node : emulation::last_graph()) {
    const bool cast = std::find(casts.begin(), casts.end(), node.function) != casts.end();
    ++counts[cast ? "cast" : node.name];
    ++counts["all"];
  }
  std::string line = name + ":";
  for (const auto& [kind, count] : counts) line += " " + std::to_string(count) + " " + kind;
  MESSAGE(line);
  return counts;
}

TEST_CASE("the nodes of a recorded step of preresnet20 in bf16") {
  Counts counts = nodes_of_step("preresnet20");
  constexpr std::int64_t of_weight_gradients = 8;  // sums of 16 channels, strided pixels; cuDNN has such, too
  CHECK(counts["all"] <= augmentation + 149 + of_weight_gradients);
  CHECK(counts["cast"] == 0);
}

TEST_CASE("the nodes of a recorded step of resnet18 in bf16") {
  Counts counts = nodes_of_step("resnet18");
  CHECK(counts["all"] <= augmentation + 150);
  CHECK(counts["cast"] == 0);
}

}  // namespace
}  // namespace generous
