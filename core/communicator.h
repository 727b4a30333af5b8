// Sums over the devices of several processes, while each of them goes on computing.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "core/tensor.h"

namespace generous {

/// A sum that is under way.
class Transfer {
 public:
  virtual ~Transfer() = default;
  /// Lets it go on without waiting for it, where no thread and no device does so by itself.
  virtual void progress() = 0;
  /// What reads the values from here on finds the sum. To be called once; all processes wait for their sums
  /// in the same order.
  virtual void wait() = 0;
};

/// Joins the devices of several processes. Every process makes the same calls in the same order.
class Communicator {
 public:
  Communicator() = default;
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  /// Begins to replace each of `values`, f32 on the device, by its sum over all processes, behind all that
  /// the device was asked for so far and beside what it is asked for next. The sums are taken in the order of
  /// ranks if `in_order`, and otherwise in any; of two processes these are the same bits. Can be recorded.
  virtual std::unique_ptr<Transfer> start_sum(std::vector<Tensor> values, bool in_order) = 0;
};

/// What one process makes and hands to all, which find each other by it.
using CommunicatorId = std::vector<std::byte>;

}  // namespace generous
