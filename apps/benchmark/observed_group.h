// A group whose sums are seen, and can be left out: what a step takes without them.
#pragma once

#include <vector>

#include "nn/parallel/group.h"

namespace generous {

/// The shapes of what was summed at once, sum by sum.
using Sums = std::vector<std::vector<Shape>>;

class ObservedGroup : public Group {
 public:
  /// `group` must outlive it.
  explicit ObservedGroup(Group& group) : group_(group) {}

  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }
  std::string name() const override { return group_.name(); }
  int threads(int asked) const override { return group_.threads(asked); }
  std::string complaint() const override { return group_.complaint(); }
  HostPlace on_host() const override { return group_.on_host(); }
  void connect(Device device) override { group_.connect(device); }
  std::unique_ptr<Transfer> start_sum(std::vector<Tensor> values, bool in_order) override;
  void sum(std::span<double> values) override { group_.sum(values); }
  void broadcast(std::span<std::byte> bytes) override { group_.broadcast(bytes); }
  int most(int value) override { return group_.most(value); }
  std::vector<std::string> gather(const std::string& text) override { return group_.gather(text); }
  void abort(int exit_code) override { group_.abort(exit_code); }

  /// Those that `start_sum` was asked for since this was last called.
  Sums take_sums() { return std::exchange(sums_, {}); }
  /// From here on `start_sum` does nothing: values stay those of each process.
  void leave_out_sums() { leaves_out_ = true; }

 private:
  Group& group_;
  Sums sums_;
  bool leaves_out_ = false;
};

/// How long such sums on a device, all under way at once, take where nothing else is done meanwhile: the
/// median of some times. Called by every process.
double seconds_alone(Group& group, const Sums& sums, Device device, bool in_order);

}  // namespace generous
