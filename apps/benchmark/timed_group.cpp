#include "apps/benchmark/timed_group.h"

#include <algorithm>

#include "apps/training/log.h"

namespace generous {

namespace {

constexpr std::size_t times_alone = 11;

/// Adds the time that `call` takes.
template <class Call>
auto timed(double& seconds, const Call& call) {
  const double begin = now_seconds();
  auto result = call();
  seconds += now_seconds() - begin;
  return result;
}

class TimedTransfer : public Transfer {
 public:
  TimedTransfer(std::unique_ptr<Transfer> transfer, double& seconds)
      : transfer_(std::move(transfer)), seconds_(seconds) {}
  void progress() override {
    timed(seconds_, [this] { return transfer_->progress(), 0; });
  }
  void wait() override {
    timed(seconds_, [this] { return transfer_->wait(), 0; });
  }

 private:
  std::unique_ptr<Transfer> transfer_;
  double& seconds_;
};

}  // namespace

std::unique_ptr<Transfer> TimedGroup::start_sum(std::span<float> values, bool in_order) {
  counts_.push_back(values.size());
  auto transfer = timed(seconds_, [&] { return group_.start_sum(values, in_order); });
  return std::make_unique<TimedTransfer>(std::move(transfer), seconds_);
}

void TimedGroup::restart() {
  seconds_ = 0.0;
  counts_.clear();
}

double seconds_alone(Group& group, const std::vector<std::size_t>& counts, bool in_order) {
  std::vector<std::vector<float>> values;
  for (const std::size_t count : counts) values.emplace_back(count, 1.0F);
  std::vector<double> seconds;
  for (std::size_t time = 0; time < times_alone; ++time) {
    group.most(0);  // nobody waits for one who comes later
    const double begin = now_seconds();
    std::vector<std::unique_ptr<Transfer>> transfers;
    for (std::vector<float>& each : values) transfers.push_back(group.start_sum(each, in_order));
    for (const auto& transfer : transfers) transfer->wait();
    seconds.push_back(now_seconds() - begin);
  }
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

}  // namespace generous
