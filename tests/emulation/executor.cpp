#include "executor.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "fiber.h"
#include "memory.h"
#include "tests/emulation/include/device_code.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace generous::emulation {
namespace {

constexpr unsigned lanes = 32;
constexpr std::uint64_t poison = ~std::uint64_t{0};

enum class Kind { barrier, shuffle, vote };

/// Where a thread waits for others.
struct Meeting {
  const char* function = nullptr;  ///< null where it does not
  Source source;
  Kind kind = Kind::barrier;
  unsigned mask = 0;  ///< of lanes, unless it is a barrier
  std::uint64_t value = 0;
  int from = 0;  ///< the lane whose value is wanted

  /// By the place in the source: the code for one place may be there more than once.
  bool is_same_as(const Meeting& other) const {
    const auto same = [](const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; };
    return mask == other.mask && source.line() == other.source.line() &&
           source.column() == other.source.column() && same(function, other.function) &&
           same(source.file_name(), other.source.file_name());
  }
};

struct Thread {
  Fiber* fiber = nullptr;  ///< null before it begins and after its end
  Meeting meeting;
  std::uint64_t result = 0;
  bool fenced = false;      ///< since the last barrier
  bool owes_fence = false;  ///< since it exchanged something with other blocks
  bool has_waited = false;  ///< for the kernels before
};

class Block {
 public:
  /// Runs the threads of a block. `order` is room for numbers.
  void run(bool overlaps, const std::function<void()>& thread, Random& random);
  void abandon();

  // Called by the thread that runs
  std::uint64_t meet(const Meeting& meeting);
  unsigned lane() const { return current_ % lanes; }
  void fence();
  void exchange_with_blocks(const Meeting& place);
  /// Ends the kernel with a fault: the thread that runs did what it must not.
  void refuse(const Meeting& place, const std::string& why);
  void exchanged();
  void wait_for_kernels_before() { threads_[current_].has_waited = true; }

 private:
  static void fiber_body();
  void run_new_threads();
  void resume(unsigned thread);
  void select(unsigned thread);
  void shuffle_order();
  unsigned first_lane() const { return current_ / lanes * lanes; }
  void meet_in_block(const Meeting& meeting);
  void meet_in_warp(const Meeting& meeting);
  void release(unsigned thread, std::uint64_t result);
  std::string describe_waiting() const;

  const std::function<void()>* code_ = nullptr;
  bool overlaps_ = false;
  Random* random_ = nullptr;
  unsigned size_ = 0;
  unsigned ended_ = 0;
  unsigned begun_ = 0;       ///< of order_
  unsigned waiting_ = 0;     ///< threads that wait, wherever
  unsigned at_barrier_ = 0;  ///< those that wait for the whole block
  unsigned current_ = 0;
  std::array<unsigned, 1024 / lanes> arrived_{};  ///< by warp: the lanes that wait for lanes of it
  bool depth_first_ = false;                      ///< let those run on that met last
  std::vector<Thread> threads_;
  std::vector<unsigned> order_;
  std::vector<unsigned> runnable_;  ///< that have met
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Fiber* running_ = nullptr;
  std::string divergence_;
};

Block& the_block() {
  static Block* const instance = new Block;
  return *instance;
}

std::string place_of(const Meeting& meeting) {
  std::string file = meeting.source.file_name();
  file.erase(0, file.find_last_of('/') + 1);
  return std::string(meeting.function) + " at " + file + ":" + std::to_string(meeting.source.line());
}

/// One half of the blocks lets all threads advance alike, the other lets one warp run ahead as far as it can.
void Block::shuffle_order() {
  order_.resize(size_);
  std::iota(order_.begin(), order_.end(), 0U);
  depth_first_ = random_->below(2) == 0;
  if (!depth_first_) {
    random_->shuffle(order_.data(), size_);
    return;
  }
  const unsigned warps = (size_ + lanes - 1) / lanes;
  std::array<unsigned, 1024 / lanes> warp_order{};
  std::iota(warp_order.begin(), warp_order.end(), 0U);
  random_->shuffle(warp_order.data(), warps);
  unsigned filled = 0;
  for (unsigned i = 0; i < warps; ++i) {
    const unsigned begin = warp_order[i] * lanes;
    const unsigned count = std::min(lanes, size_ - begin);
    std::iota(&order_[filled], &order_[filled] + count, begin);
    random_->shuffle(&order_[filled], count);
    filled += count;
  }
}

void Block::select(unsigned thread) {
  current_ = thread;
  if (blockDim.y == 1 && blockDim.z == 1) {
    threadIdx = {thread, 0, 0};
    return;
  }
  const unsigned row = thread / blockDim.x;
  threadIdx = {thread % blockDim.x, row % blockDim.y, row / blockDim.y};
}

void Block::run(bool overlaps, const std::function<void()>& thread, Random& random) {
  code_ = &thread;
  overlaps_ = overlaps;
  random_ = &random;
  size_ = blockDim.x * blockDim.y * blockDim.z;
  ended_ = begun_ = waiting_ = at_barrier_ = 0;
  arrived_ = {};
  threads_.resize(size_);
  runnable_.clear();
  shuffle_order();
  while (ended_ < size_) {
    const std::size_t ready = runnable_.size();
    const std::size_t choices = ready + (size_ - begun_);
    if (choices == 0) divergence_ = describe_waiting();
    if (!divergence_.empty()) throw DivergentThreads(std::exchange(divergence_, ""));
    if (ready > 0 && (depth_first_ || random.below(choices) < ready)) {
      // Depth first: of those that met last.
      const std::size_t last = depth_first_ ? std::min<std::size_t>(ready, lanes) : ready;
      std::swap(runnable_[ready - 1 - random.below(last)], runnable_.back());
      const unsigned next = runnable_.back();
      runnable_.pop_back();
      resume(next);
    } else {
      if (idle_.empty()) {
        fibers_.push_back(std::make_unique<Fiber>(fiber_body));
        idle_.push_back(fibers_.back().get());
      }
      running_ = idle_.back();
      idle_.pop_back();
      running_->enter();
    }
  }
  memory().unlock();
  if (!divergence_.empty()) throw DivergentThreads(std::exchange(divergence_, ""));
}

void Block::resume(unsigned thread) {
  select(thread);
  running_ = threads_[thread].fiber;
  running_->enter();
}

void Block::fiber_body() {
  Block& block = the_block();
  for (;;) {
    block.run_new_threads();
    block.idle_.push_back(block.running_);
    Fiber::leave();
  }
}

/// On a fiber: a thread, and more of them while none has had to wait.
void Block::run_new_threads() {
  Fiber* const fiber = running_;
  do {
    const unsigned thread = order_[begun_++];
    threads_[thread].fiber = fiber;
    threads_[thread].fenced = threads_[thread].owes_fence = threads_[thread].has_waited = false;
    select(thread);
    (*code_)();
    if (overlaps_ && !threads_[thread].has_waited)
      divergence_ = "launched to overlap with the kernel before, a thread has ended without a wait for it";
    // Meanwhile others may have run, but it is this thread that comes back here.
    threads_[thread].fiber = nullptr;
    ++ended_;
  } while (waiting_ == 0 && runnable_.empty() && begun_ < size_);
}

std::uint64_t Block::meet(const Meeting& meeting) {
  const unsigned self = current_;
  threads_[self].meeting = meeting;
  ++waiting_;
  if (meeting.kind == Kind::barrier)
    meet_in_block(meeting);
  else
    meet_in_warp(meeting);
  Fiber::leave();
  return threads_[self].result;
}

void Block::fence() {
  threads_[current_].fenced = true;
  threads_[current_].owes_fence = false;
}

void Block::exchange_with_blocks(const Meeting& place) {
  threads_[current_].owes_fence = true;
  if (!threads_[current_].fenced) refuse(place, "without a __threadfence before it, since the last barrier");
}

void Block::refuse(const Meeting& place, const std::string& why) {
  divergence_ = place_of(place) + ": " + why;
  Fiber::leave();
}

/// Now and then, as it takes a while: there are many blocks.
void Block::exchanged() {
  constexpr std::uint64_t one_in = 8;
  if (random_->below(one_in) == 0) memory().lock();
}

void Block::release(unsigned thread, std::uint64_t result) {
  threads_[thread].result = result;
  threads_[thread].meeting.function = nullptr;
  runnable_.push_back(thread);
  --waiting_;
}

void Block::meet_in_block(const Meeting& meeting) {
  if (threads_[current_].owes_fence)
    divergence_ = place_of(meeting) + ": a thread exchanged something with other blocks, and has not fenced";
  threads_[current_].fenced = false;
  if (++at_barrier_ < size_) return;
  std::uint64_t count = 0;
  for (const Thread& thread : threads_) {
    count += thread.meeting.value;
    if (!thread.meeting.is_same_as(meeting)) divergence_ = describe_waiting();
  }
  at_barrier_ = 0;
  memory().unlock();
  for (unsigned i = 0; i < size_; ++i) release(i, count);
}

void Block::meet_in_warp(const Meeting& meeting) {
  const unsigned first = first_lane();
  const unsigned existing = std::min(lanes, size_ - first);
  if ((meeting.mask >> (current_ - first) & 1U) == 0)
    divergence_ = place_of(meeting) + ": a thread calls it that is not in its own mask";
  if (existing < lanes && meeting.mask >> existing != 0)
    divergence_ = place_of(meeting) + ": the mask names lanes that the block does not have";
  if (!divergence_.empty()) return;

  const auto each_lane = [&](auto&& f) {
    for (unsigned mask = meeting.mask; mask != 0; mask &= mask - 1)
      f(static_cast<unsigned>(std::countr_zero(mask)));
  };
  unsigned& arrived = arrived_[first / lanes];
  arrived |= 1U << (current_ - first);
  if ((arrived & meeting.mask) != meeting.mask) return;
  each_lane([&](unsigned other) {
    if (!threads_[first + other].meeting.is_same_as(meeting)) divergence_ = describe_waiting();
  });
  if (!divergence_.empty()) return;
  arrived &= ~meeting.mask;

  std::uint64_t votes = 0;
  std::array<std::uint64_t, lanes> results{};
  each_lane([&](unsigned other) { votes |= threads_[first + other].meeting.value << other; });
  each_lane([&](unsigned other) {
    const int from = threads_[first + other].meeting.from;
    const auto source = from < 0 || from >= static_cast<int>(lanes) ? other : static_cast<unsigned>(from);
    const bool brought = (meeting.mask >> source & 1U) != 0;
    results[other] = brought ? threads_[first + source].meeting.value : poison;
  });
  each_lane(
      [&](unsigned other) { release(first + other, meeting.kind == Kind::vote ? votes : results[other]); });
}

std::string Block::describe_waiting() const {
  std::map<std::string, unsigned> counts;
  for (const Thread& thread : threads_)
    if (thread.meeting.function != nullptr) ++counts[place_of(thread.meeting)];
  std::string text;
  for (const auto& [place, count] : counts)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " in " + place;
  if (ended_ > 0) text += ", " + std::to_string(ended_) + " have ended";
  return "of " + std::to_string(size_) + " threads wait " + text;
}

void Block::abandon() {
  memory().unlock();
  divergence_.clear();
  idle_.clear();
  for (Thread& thread : threads_) thread = {};
  for (const auto& fiber : fibers_) {
    fiber->restart();
    idle_.push_back(fiber.get());
  }
}

}  // namespace

unsigned meet_block(const char* function, bool predicate, const Source& source) {
  return static_cast<unsigned>(
      the_block().meet({.function = function, .source = source, .value = predicate ? 1U : 0U}));
}

std::uint64_t meet_warp(const char* function, unsigned mask, std::uint64_t value, int from,
                        const Source& source) {
  return the_block().meet({.function = function,
                           .source = source,
                           .kind = Kind::shuffle,
                           .mask = mask,
                           .value = value,
                           .from = from});
}

unsigned vote(const char* function, unsigned mask, bool predicate, const Source& source) {
  return static_cast<unsigned>(the_block().meet({.function = function,
                                                 .source = source,
                                                 .kind = Kind::vote,
                                                 .mask = mask,
                                                 .value = predicate ? 1U : 0U}));
}

void fence() { the_block().fence(); }

void wait_for_kernels_before() { the_block().wait_for_kernels_before(); }

void refuse(const char* function, const Source& source, const char* why) {
  the_block().refuse({.function = function, .source = source}, why);
}

void exchange_with_blocks(const char* function, const Source& source) {
  the_block().exchange_with_blocks({.function = function, .source = source});
}

void exchanged() { the_block().exchanged(); }

int lane() { return static_cast<int>(the_block().lane()); }

void run_grid(dim3 grid, dim3 block, bool overlaps, const std::function<void()>& thread, Random& random) {
  gridDim = grid;
  blockDim = block;
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  // All of them, in steps that have no factor in common with their number.
  std::uint64_t step = 1 + random.below(std::min(blocks, std::uint64_t{1} << 31));
  while (std::gcd(step, blocks) != 1) ++step;
  std::uint64_t at = step % blocks;
  for (std::uint64_t i = 0; i < blocks; ++i, at = (at + step) % blocks) {
    const std::uint64_t row = at / grid.x;
    blockIdx = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(row % grid.y),
                static_cast<unsigned>(row / grid.y)};
    the_block().run(overlaps, thread, random);
  }
}

void abandon_block() { the_block().abandon(); }

}  // namespace generous::emulation
