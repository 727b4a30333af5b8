#include "nn/module.h"

#include <algorithm>

#include "core/backend.h"
#include "core/random.h"

namespace generous {
namespace {

void fill_random(const StateEntry& entry, std::uint64_t seed) {
  const Random random(seed, "init/" + entry.name);
  std::vector<float> values(static_cast<std::size_t>(entry.tensor.numel()));
  const float value = entry.init.value;
  // Every element is a function of its place alone.
  if (entry.init.kind == Init::Kind::normal) {
#pragma omp parallel for
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = value * random.normal(0, 0, i);
  } else {
#pragma omp parallel for simd
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = value * (2.0F * random.uniform(0, 0, i) - 1.0F);
  }
  Tensor target = entry.tensor;
  backend(target.device()).copy_from_host(values.data(), target);
}

}  // namespace

void Module::train(bool on) {
  require(!on || !frozen_, "train: a frozen model cannot be trained again: build it anew");
  training_ = on;
  for (const auto& [name, child] : children_) child->train(on);
}

void Module::freeze() {
  training_ = false;
  frozen_ = true;
  for (const auto& [name, child] : children_) child->freeze();
}

void Module::to(Device device) {
  for (StateEntry& entry : entries_) entry.tensor.move_to(device);
  for (const auto& [name, child] : children_) child->to(device);
}

void Module::count_steps_by(const Tensor& step, std::shared_ptr<const std::int64_t> first_row) {
  step_ = step;
  first_row_ = std::move(first_row);
  for (const auto& [name, child] : children_) child->count_steps_by(step, first_row_);
}

void Module::normalise_with(Group& group) {
  group_ = &group;
  for (const auto& [name, child] : children_) child->normalise_with(group);
}

std::vector<StateEntry> Module::state() const {
  std::vector<StateEntry> all;
  collect("", all);
  return all;
}

std::vector<StateEntry> Module::parameters() const {
  std::vector<StateEntry> all = state();
  std::erase_if(all, [](const StateEntry& entry) { return !entry.trainable; });
  return all;
}

std::int64_t Module::parameter_count() const {
  std::int64_t count = 0;
  for (const StateEntry& entry : parameters()) count += entry.tensor.numel();
  return count;
}

void Module::initialise(std::uint64_t seed) {
  require(!frozen_, "initialise: the weights of a frozen model cannot change: build it anew");
  set_keys("", seed);
  for (const StateEntry& entry : state()) {
    if (entry.init.kind == Init::Kind::constant) {
      Tensor target = entry.tensor;
      backend(target.device()).fill(target, static_cast<double>(entry.init.value));
    } else {
      fill_random(entry, seed);
    }
  }
}

Tensor Module::add_parameter(std::string_view name, const Shape& shape, Init init, DiskLayout layout) {
  Tensor tensor = Tensor::empty(shape);
  tensor.require_grad();
  entries_.push_back({std::string(name), tensor, true, init, layout});
  return tensor;
}

Tensor Module::add_buffer(std::string_view name, const Shape& shape, DType dtype, Init init) {
  Tensor tensor = Tensor::empty(shape, dtype);
  entries_.push_back({std::string(name), tensor, false, init, DiskLayout::same()});
  return tensor;
}

void Module::collect(const std::string& prefix, std::vector<StateEntry>& out) const {
  for (const StateEntry& entry : entries_) {
    out.push_back(entry);
    out.back().name = prefix + entry.name;
  }
  for (const auto& [name, child] : children_) child->collect(prefix + name + ".", out);
}

void Module::set_keys(const std::string& prefix, std::uint64_t seed) {
  key_ = random_key(seed, "module/" + prefix);
  for (const auto& [name, child] : children_) child->set_keys(prefix + name + ".", seed);
}

}  // namespace generous
