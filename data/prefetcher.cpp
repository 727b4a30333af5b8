#include "data/prefetcher.h"

#include <utility>

#include "core/error.h"

namespace generous {

Prefetcher::Prefetcher(int workers, std::int64_t ahead) : ahead_(ahead) {
  for (int i = 0; i < workers; ++i) {
    threads_.emplace_back([this](const std::stop_token& stop) { work(stop); });
  }
}

Prefetcher::~Prefetcher() {
  for (std::jthread& thread : threads_) thread.request_stop();
}

void Prefetcher::start(std::int64_t first, std::int64_t end, Produce produce) {
  std::map<std::int64_t, Result> dropped;
  {
    const std::lock_guard lock(mutex_);
    job_ = std::make_shared<const Job>(Job{std::move(produce), end});
    next_claim_ = first;
    next_delivery_ = first;
    dropped.swap(ready_);
  }
  claimable_.notify_all();
}

std::optional<Prepared> Prefetcher::next() {
  std::unique_lock lock(mutex_);
  require(job_ != nullptr, "prefetcher: next before start");
  if (next_delivery_ >= job_->end) return std::nullopt;
  const std::int64_t index = next_delivery_++;
  if (threads_.empty()) return job_->produce(index);

  ready_changed_.wait(lock, [&] { return ready_.contains(index); });
  Result result = std::move(ready_.extract(index).mapped());
  lock.unlock();
  claimable_.notify_one();
  if (result.error) std::rethrow_exception(result.error);
  return std::move(result.batch);
}

void Prefetcher::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  const auto can_claim = [this] {
    return job_ != nullptr && next_claim_ < job_->end && next_claim_ < next_delivery_ + ahead_;
  };
  while (claimable_.wait(lock, stop, can_claim) && !stop.stop_requested()) {
    const std::shared_ptr<const Job> job = job_;
    const std::int64_t index = next_claim_++;
    lock.unlock();
    Result result;
    try {
      result.batch = job->produce(index);
    } catch (...) {
      result.error = std::current_exception();
    }
    lock.lock();
    if (job != job_) continue;  // started anew meanwhile
    ready_.emplace(index, std::move(result));
    ready_changed_.notify_one();
  }
}

}  // namespace generous
