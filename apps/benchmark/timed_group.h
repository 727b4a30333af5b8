// A group whose sums are timed: how long a step is kept by communication.
#pragma once

#include <vector>

#include "nn/parallel/group.h"

namespace generous {

class TimedGroup : public Group {
 public:
  /// `group` must outlive it.
  explicit TimedGroup(Group& group) : group_(group) {}

  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }
  std::string name() const override { return group_.name(); }
  int threads(int asked) const override { return group_.threads(asked); }
  std::string complaint() const override { return group_.complaint(); }
  std::unique_ptr<Transfer> start_sum(std::span<float> values, bool in_order) override;
  void sum(std::span<double> values) override { group_.sum(values); }
  void broadcast(std::span<std::byte> bytes) override { group_.broadcast(bytes); }
  int most(int value) override { return group_.most(value); }
  std::vector<std::string> gather(const std::string& text) override { return group_.gather(text); }
  void abort(int exit_code) override { group_.abort(exit_code); }

  /// Forgets the sums so far.
  void restart();
  /// In calls of sums that were started with `start_sum`, since `restart`: what the step is kept by, be it
  /// the sending or the waiting for slower processes.
  double seconds() const { return seconds_; }
  /// How many values each sum since `restart` was of, in their order.
  const std::vector<std::size_t>& counts() const { return counts_; }

 private:
  Group& group_;
  double seconds_ = 0.0;
  std::vector<std::size_t> counts_;
};

/// How long sums of so many values, all under way at once, take where nothing else is done meanwhile: the
/// median of some times. Called by every process.
double seconds_alone(Group& group, const std::vector<std::size_t>& counts, bool in_order);

}  // namespace generous
