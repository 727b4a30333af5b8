#include "core/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <string>

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
    if (bytes < huge_page)
      return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    // The system puts mappings one below the other: the topmost aligned part of this one ends where the last
    // began.
    void* mapped =
        mmap(nullptr, bytes + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    auto* const begin = static_cast<std::byte*>(mapped);
    const std::size_t lead = huge_page - reinterpret_cast<std::uintptr_t>(begin) % huge_page;
    munmap(begin, lead);
    if (lead < huge_page) munmap(begin + lead + bytes, huge_page - lead);
    // Fewer page faults and TLB misses; only advice, so its result does not matter.
    madvise(begin + lead, bytes, MADV_HUGEPAGE);
    return begin + lead;
  }

  void release(void* block, std::size_t bytes) override {
    if (bytes < huge_page)
      std::free(block);
    else
      munmap(block, bytes);
  }

  std::size_t page_bytes() const override { return huge_page; }
};

/// Another allocator's blocks. That one throws when there are none, so a pool gives nothing back on the way
/// to an error: its blocks belong to the recorded work.
class ParentMemory : public MemorySource {
 public:
  explicit ParentMemory(std::shared_ptr<CachingAllocator> parent) : parent_(std::move(parent)) {}
  Device device() const override { return parent_->device(); }
  void* acquire(std::size_t bytes) override { return parent_->allocate(bytes); }
  void release(void* block, std::size_t bytes) override { parent_->free(block, bytes); }
  std::optional<std::size_t> free_bytes() const override { return parent_->free_bytes(); }

 private:
  std::shared_ptr<CachingAllocator> parent_;
};

std::string in_units(std::size_t bytes) {
  const auto size = static_cast<double>(bytes);
  if (bytes >= std::size_t{1} << 30U) return fmt::format("{:.2f} GiB", size / (1U << 30U));
  if (bytes >= std::size_t{1} << 20U) return fmt::format("{:.2f} MiB", size / (1U << 20U));
  return fmt::format("{} bytes", bytes);
}

}  // namespace

CachingAllocator::~CachingAllocator() { release_cached_locked(); }

bool CachingAllocator::paged(std::size_t size) const {
  return source_->page_bytes() > 0 && size >= source_->page_bytes();
}

void* CachingAllocator::allocate(std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  const std::lock_guard lock(mutex_);
  void* block = take_cached(size);
  if (block == nullptr) block = acquire(size);
  if (block == nullptr) {
    const std::size_t cached = statistics_.cached_bytes;
    release_cached_locked();
    block = acquire(size);
    if (block == nullptr) complain(size, cached);
  }
  statistics_.in_use_bytes += size;
  statistics_.peak_in_use_bytes = std::max(statistics_.peak_in_use_bytes, statistics_.in_use_bytes);
  return block;
}

void* CachingAllocator::take_cached(std::size_t size) {
  void* block = nullptr;
  if (std::vector<void*>& same_size = cached_[size]; !same_size.empty()) {
    block = same_size.back();
    same_size.pop_back();
  } else if (paged(size)) {
    block = ranges_.take(size);
    if (block == nullptr) {
      join_cached();
      block = ranges_.take(size);
    }
  }
  if (block != nullptr) statistics_.cached_bytes -= size;
  return block;
}

void CachingAllocator::join_cached() {
  for (auto& [size, blocks] : cached_) {
    if (!paged(size)) continue;
    for (void* block : blocks) ranges_.add({static_cast<std::byte*>(block), size});
    blocks.clear();
  }
}

void* CachingAllocator::acquire(std::size_t size) {
  const std::size_t page = source_->page_bytes();
  const std::size_t acquired = paged(size) ? (size + page - 1) / page * page : size;
  void* block = source_->acquire(acquired);
  if (block == nullptr) return nullptr;
  ++statistics_.system_allocations;
  ranges_.add({static_cast<std::byte*>(block) + size, acquired - size});
  statistics_.cached_bytes += acquired - size;
  return block;
}

void CachingAllocator::complain(std::size_t requested, std::size_t cached) const {
  const std::optional<std::size_t> free = source_->free_bytes();
  fail("out of memory{}: {} requested, {} free, {} in use, {} were cached and given back first",
       device() == Device::cuda ? " of the GPU" : "", in_units(requested),
       free ? in_units(*free) : "unknown bytes", in_units(statistics_.in_use_bytes), in_units(cached));
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
  join_cached();
  const auto release = [this](void* block, std::size_t size) {
    source_->release(block, size);
    statistics_.cached_bytes -= size;
  };
  for (auto& [size, blocks] : cached_) {
    for (void* block : blocks) release(block, size);
    blocks.clear();
  }
  if (source_->page_bytes() == 0) return;
  for (const MemoryRange& pages : ranges_.take_pages(source_->page_bytes()))
    release(pages.begin, pages.bytes);
}

CachingAllocator::Statistics CachingAllocator::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

void CachingAllocator::restart_peak() {
  const std::lock_guard lock(mutex_);
  statistics_.peak_in_use_bytes = statistics_.in_use_bytes;
}

std::shared_ptr<CachingAllocator> make_private_pool(std::shared_ptr<CachingAllocator> parent) {
  return std::make_shared<CachingAllocator>(std::make_unique<ParentMemory>(std::move(parent)));
}

const std::shared_ptr<CachingAllocator>& host_allocator() {
  static const auto allocator = std::make_shared<CachingAllocator>(std::make_unique<HostMemory>());
  return allocator;
}

}  // namespace generous
