#include "apps/benchmark/observed_group.h"

#include <algorithm>

#include "apps/training/log.h"
#include "core/backend.h"

namespace generous {

namespace {

constexpr std::size_t times_alone = 11;

}  // namespace

std::unique_ptr<Transfer> ObservedGroup::start_sum(std::vector<Tensor> values, bool in_order) {
  if (leaves_out_) return no_transfer();
  sums_.emplace_back();
  for (const Tensor& value : values) sums_.back().push_back(value.shape());
  return group_.start_sum(std::move(values), in_order);
}

double seconds_alone(Group& group, const Sums& sums, Device device, bool in_order) {
  std::vector<std::vector<Tensor>> values;
  for (const std::vector<Shape>& shapes : sums) {
    values.emplace_back();
    for (const Shape& shape : shapes) values.back().push_back(Tensor::full(shape, 1.0F, device));
  }
  std::vector<double> seconds;
  for (std::size_t time = 0; time < times_alone; ++time) {
    backend(device).synchronize();
    group.most(0);  // nobody waits for one who comes later
    const double begin = now_seconds();
    std::vector<std::unique_ptr<Transfer>> transfers;
    for (const std::vector<Tensor>& each : values) transfers.push_back(group.start_sum(each, in_order));
    for (const auto& transfer : transfers) transfer->wait();
    backend(device).synchronize();
    seconds.push_back(now_seconds() - begin);
  }
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

}  // namespace generous
