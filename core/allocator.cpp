#include "core/allocator.h"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>

#include "core/error.h"

namespace generous {
namespace {

constexpr std::size_t alignment = 64;         // a cache line, and the widest vector register
constexpr std::size_t huge_page = 2U << 20U;  // on x86-64 and most of AArch64

/// Eight sizes per power of two, from `alignment` up.
std::size_t rounded(std::size_t bytes) {
  if (bytes <= 8 * alignment) return bytes == 0 ? alignment : (bytes + alignment - 1) / alignment * alignment;
  const std::size_t granule = std::bit_floor(bytes) / 8;
  return (bytes + granule - 1) / granule * granule;
}

class HostMemory : public MemorySource {
 public:
  Device device() const override { return Device::cpu; }

  void* acquire(std::size_t bytes) override {
    const bool large = bytes >= huge_page;
    const std::size_t unit = large ? huge_page : alignment;
    void* block = std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
    // Fewer page faults and TLB misses; only advice, so its result does not matter.
    if (block != nullptr && large) madvise(block, bytes, MADV_HUGEPAGE);
    return block;
  }

  void release(void* block, std::size_t) override { std::free(block); }
};

}  // namespace

CachingAllocator::~CachingAllocator() { release_cached_locked(); }

void* CachingAllocator::allocate(std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  const std::lock_guard lock(mutex_);
  std::vector<void*>& same_size = cached_[size];
  void* block = nullptr;
  if (!same_size.empty()) {
    block = same_size.back();
    same_size.pop_back();
    statistics_.cached_bytes -= size;
  } else {
    block = source_->acquire(size);
    if (block == nullptr) {
      release_cached_locked();
      block = source_->acquire(size);
    }
    require(block != nullptr, "out of memory: {} bytes requested, {} in use", size, statistics_.in_use_bytes);
    ++statistics_.system_allocations;
  }
  statistics_.in_use_bytes += size;
  return block;
}

void CachingAllocator::free(void* block, std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  const std::lock_guard lock(mutex_);
  cached_[size].push_back(block);
  statistics_.in_use_bytes -= size;
  statistics_.cached_bytes += size;
}

void CachingAllocator::release_cached() {
  const std::lock_guard lock(mutex_);
  release_cached_locked();
}

void CachingAllocator::release_cached_locked() {
  for (auto& [size, blocks] : cached_) {
    for (void* block : blocks) source_->release(block, size);
    statistics_.cached_bytes -= size * blocks.size();
    blocks.clear();
  }
}

CachingAllocator::Statistics CachingAllocator::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

const std::shared_ptr<CachingAllocator>& host_allocator() {
  static const auto allocator = std::make_shared<CachingAllocator>(std::make_unique<HostMemory>());
  return allocator;
}

}  // namespace generous
