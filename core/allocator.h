// A caching allocator per device: released blocks are kept and handed out again, so that a training step
// after the first takes nothing from the system and pays no page faults.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "core/free_ranges.h"

namespace generous {

enum class Device : std::uint8_t { cpu, cuda };

/// Where an allocator's blocks come from: the system's or a driver's own calls.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  virtual Device device() const = 0;
  /// At least `bytes` bytes aligned to 64, or nullptr when there are none.
  virtual void* acquire(std::size_t bytes) = 0;
  virtual void release(void* block, std::size_t bytes) = 0;
  /// Not 0: multiples of so many bytes, at least one, are acquired aligned to as many, may come to lie side
  /// by side, and are released in any parts of such a size. 0: each block is released as it was acquired.
  virtual std::size_t page_bytes() const { return 0; }
  /// For people: how many bytes `acquire` could still give, where somebody knows.
  virtual std::optional<std::size_t> free_bytes() const { return std::nullopt; }
};

/// Thread-safe. Blocks are rounded up to one of eight sizes per power of two, so at most an eighth is wasted.
/// One that was released, its memory still warm, is handed out for the next request of its size. Where there
/// is none, requests of at least a page are cut from what lies free side by side: layers of many sizes then
/// share memory.
class CachingAllocator {
 public:
  explicit CachingAllocator(std::unique_ptr<MemorySource> source) : source_(std::move(source)) {}
  ~CachingAllocator();
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  /// A block of at least `bytes` bytes. When the source is exhausted, cached blocks go back to it and the
  /// request is tried once more; then throws Error with the bytes requested, in use, cached and free.
  void* allocate(std::size_t bytes);
  /// Takes back a block that `allocate(bytes)` returned.
  void free(void* block, std::size_t bytes);
  /// Returns every cached block to the source.
  void release_cached();

  struct Statistics {
    std::size_t in_use_bytes = 0;
    std::size_t cached_bytes = 0;
    std::size_t peak_in_use_bytes = 0;   ///< the most since `restart_peak`
    std::size_t system_allocations = 0;  ///< blocks taken from the source so far
  };
  Statistics statistics() const;
  void restart_peak();
  /// What the source could still give, where it knows.
  std::optional<std::size_t> free_bytes() const { return source_->free_bytes(); }
  Device device() const { return source_->device(); }

 private:
  bool paged(std::size_t size) const;
  /// A cached block of this size, or cut from cached ones; nullptr if there is none.
  void* take_cached(std::size_t size);
  /// Cached blocks of at least a page become ranges.
  void join_cached();
  /// From the source; nullptr if it has none.
  void* acquire(std::size_t size);
  void release_cached_locked();
  [[noreturn]] void complain(std::size_t requested, std::size_t cached) const;

  std::unique_ptr<MemorySource> source_;
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> cached_;  ///< by size
  FreeRanges ranges_;                                 ///< of whole pages and their parts
  Statistics statistics_;
};

/// An allocator of its own, whose blocks come from `parent` and go back there when it is destroyed, not
/// before. Work that was recorded on a device writes to the same addresses at every replay. Whoever keeps the
/// work keeps the pool that it allocated from: within the pool a block is handed out again when it is free,
/// but nobody else gets it. A tensor that outlives the work keeps the whole pool.
std::shared_ptr<CachingAllocator> make_private_pool(std::shared_ptr<CachingAllocator> parent);

/// Base of what a backend keeps beside a block for as long as the block is there.
struct Companion {
  Companion() = default;
  virtual ~Companion() = default;
  Companion(const Companion&) = delete;
  Companion& operator=(const Companion&) = delete;
};

/// A block that returns to its allocator when the last Tensor sharing it goes.
class Storage {
 public:
  Storage(std::shared_ptr<CachingAllocator> allocator, std::size_t bytes)
      : allocator_(std::move(allocator)), bytes_(bytes), block_(allocator_->allocate(bytes)) {}
  ~Storage() { allocator_->free(block_, bytes_); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* block() const { return block_; }
  Device device() const { return allocator_->device(); }
  /// The backend's own; empty at first.
  std::shared_ptr<Companion>& companion() { return companion_; }
  /// Exchanges the blocks, under everything that refers to either. What was kept beside them goes.
  void swap(Storage& other) {
    companion_ = other.companion_ = nullptr;
    std::swap(allocator_, other.allocator_);
    std::swap(bytes_, other.bytes_);
    std::swap(block_, other.block_);
  }

 private:
  std::shared_ptr<CachingAllocator> allocator_;
  std::size_t bytes_;
  void* block_;
  std::shared_ptr<Companion> companion_;
};

/// The process-wide allocator of host memory.
const std::shared_ptr<CachingAllocator>& host_allocator();

}  // namespace generous
