// Background threads that prepare batches ahead of their use and deliver them in order.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "data/prepared.h"

namespace generous {

class Prefetcher {
 public:
  /// Makes batch `index`; called from several threads at once.
  using Produce = std::function<Prepared(std::int64_t index)>;

  /// At most `ahead` batches are prepared or in preparation at a time. Without workers `next` itself
  /// produces.
  Prefetcher(int workers, std::int64_t ahead);
  /// Stops the threads; waits for at most one batch of each.
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// From now on delivers batches first, first + 1, ..., end - 1 of `produce`; what was prepared before is
  /// dropped.
  void start(std::int64_t first, std::int64_t end, Produce produce);
  /// The next batch, or nothing after the last. If producing this batch threw, throws the same.
  std::optional<Prepared> next();

 private:
  struct Job {
    Produce produce;
    std::int64_t end = 0;
  };
  struct Result {
    Prepared batch;
    std::exception_ptr error;
  };

  void work(const std::stop_token& stop);

  const std::int64_t ahead_;
  std::mutex mutex_;
  std::condition_variable_any claimable_;  // work became available
  std::condition_variable_any ready_changed_;
  std::shared_ptr<const Job> job_;
  std::int64_t next_claim_ = 0;     // the next batch a worker takes up
  std::int64_t next_delivery_ = 0;  // the next batch `next` returns
  std::map<std::int64_t, Result> ready_;
  std::vector<std::jthread> threads_;
};

}  // namespace generous
