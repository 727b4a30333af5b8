// The caching allocator: what it says when memory runs out, how blocks share memory, and pools for recorded
// work.

#include "core/allocator.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"

using namespace generous;

namespace {

/// Memory with a limit, that counts.
class LimitedMemory final : public MemorySource {
 public:
  LimitedMemory(std::size_t limit, int& blocks) : limit_(limit), blocks_(blocks) {}
  Device device() const override { return Device::cpu; }
  void* acquire(std::size_t bytes) override {
    if (used_ + bytes > limit_) return nullptr;
    used_ += bytes;
    ++blocks_;
    return std::aligned_alloc(64, bytes);
  }
  void release(void* block, std::size_t bytes) override {
    used_ -= bytes;
    --blocks_;
    std::free(block);
  }
  std::optional<std::size_t> free_bytes() const override { return limit_ - used_; }

 private:
  std::size_t limit_;
  std::size_t used_ = 0;
  int& blocks_;
};

constexpr std::size_t page = 4096;

/// Pages of one piece of memory, the lowest that are free.
class PagedMemory final : public MemorySource {
 public:
  explicit PagedMemory(std::size_t pages)
      : memory_(static_cast<std::byte*>(std::aligned_alloc(page, pages * page)), std::free), used_(pages) {}
  Device device() const override { return Device::cpu; }
  std::size_t page_bytes() const override { return page; }
  void* acquire(std::size_t bytes) override {
    if (bytes < page) return std::aligned_alloc(64, bytes);
    REQUIRE(bytes % page == 0);
    const std::size_t wanted = bytes / page;
    for (std::size_t first = 0; first + wanted <= used_.size(); ++first) {
      if (count(first, wanted) > 0) continue;
      mark(first, wanted, true);
      return memory_.get() + first * page;
    }
    return nullptr;
  }
  void release(void* block, std::size_t bytes) override {
    if (bytes < page) return std::free(block);
    const auto place = static_cast<std::size_t>(static_cast<std::byte*>(block) - memory_.get());
    REQUIRE(place % page == 0);
    REQUIRE(bytes % page == 0);
    REQUIRE(count(place / page, bytes / page) == bytes / page);
    mark(place / page, bytes / page, false);
  }
  std::size_t used() const { return count(0, used_.size()); }

 private:
  std::size_t count(std::size_t first, std::size_t pages) const {
    std::size_t found = 0;
    for (std::size_t i = first; i < first + pages; ++i) found += used_[i] ? 1 : 0;
    return found;
  }
  void mark(std::size_t first, std::size_t pages, bool used) {
    for (std::size_t i = first; i < first + pages; ++i) used_[i] = used;
  }

  std::unique_ptr<std::byte, decltype(&std::free)> memory_;
  std::vector<bool> used_;
};

std::shared_ptr<CachingAllocator> limited(std::size_t limit, int& blocks) {
  return std::make_shared<CachingAllocator>(std::make_unique<LimitedMemory>(limit, blocks));
}

std::string message_of(CachingAllocator& allocator, std::size_t bytes) {
  try {
    allocator.free(allocator.allocate(bytes), bytes);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("out of memory: the requested, free, used and cached bytes") {
  int blocks = 0;
  const auto allocator = limited(4096, blocks);
  void* kept = allocator->allocate(1024);
  allocator->free(allocator->allocate(2048), 2048);
  CHECK(blocks == 2);
  CHECK(message_of(*allocator, 3584) ==
        "out of memory: 3584 bytes requested, 3072 bytes free, 1024 bytes in use, 2048 bytes were cached and "
        "given "
        "back first");
  CHECK(blocks == 1);
  CHECK(message_of(*allocator, 3072) == "");
  CHECK(message_of(*allocator, 3U << 20U).find("3.00 MiB requested") != std::string::npos);
  CHECK(message_of(*allocator, std::size_t{5} << 30U).find("5.00 GiB requested") != std::string::npos);
  allocator->free(allocator->allocate(3072), 3072);
  CHECK(allocator->free_bytes() == 0);
  allocator->release_cached();
  CHECK(allocator->free_bytes() == 3072);
  allocator->free(kept, 1024);
}

TEST_CASE("a source that does not know what it has free") {
  class Nothing final : public MemorySource {
    Device device() const override { return Device::cuda; }
    void* acquire(std::size_t) override { return nullptr; }
    void release(void*, std::size_t) override {}
  };
  CachingAllocator allocator(std::make_unique<Nothing>());
  CHECK(!allocator.free_bytes().has_value());
  CHECK(message_of(allocator, 64).find("out of memory of the GPU: 64 bytes requested, unknown bytes free") ==
        0);
}

TEST_CASE("large blocks of other sizes share the memory of those that were freed beside each other") {
  auto source = std::make_unique<PagedMemory>(20);
  const PagedMemory& memory = *source;
  CachingAllocator allocator(std::move(source));
  std::vector<void*> layers;
  for (int i = 0; i < 4; ++i) layers.push_back(allocator.allocate(3 * page));
  CHECK(memory.used() == 12);
  for (void* layer : layers) allocator.free(layer, 3 * page);
  CHECK(allocator.allocate(3 * page) == layers.back());  // the last one, still warm
  allocator.free(layers.back(), 3 * page);
  void* large = allocator.allocate(10 * page);
  void* rest = allocator.allocate(page + page / 8);
  CHECK(memory.used() == 12);
  CHECK(allocator.statistics().system_allocations == 4);
  CHECK(allocator.statistics().cached_bytes == page - page / 8);
  CHECK(allocator.statistics().in_use_bytes == 11 * page + page / 8);

  void* second = allocator.allocate(7 * page);
  CHECK(memory.used() == 19);
  allocator.free(large, 10 * page);
  CHECK_THROWS_WITH_AS(allocator.allocate(14 * page), doctest::Contains("out of memory"), Error);
  CHECK(memory.used() == 9);  // what is free went back first, but for a part of a page
  allocator.free(second, 7 * page);
  allocator.free(rest, page + page / 8);
  allocator.free(allocator.allocate(14 * page), 14 * page);
  allocator.release_cached();
  CHECK(memory.used() == 0);
  CHECK(allocator.statistics().cached_bytes == 0);
}

TEST_CASE("no two blocks overlap, whatever comes and goes, and at the end all of it is given back") {
  auto source = std::make_unique<PagedMemory>(600);
  const PagedMemory& memory = *source;
  CachingAllocator allocator(std::move(source));
  std::mt19937 random(7);
  std::vector<MemoryRange> blocks;
  std::size_t in_use = 0;
  const auto free_one = [&](std::size_t which) {
    allocator.free(blocks[which].begin, blocks[which].bytes);
    in_use -= blocks[which].bytes;
    blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(which));
  };
  for (int i = 0; i < 3000; ++i) {
    if (blocks.size() < 30 && random() % 3 != 0) {
      const std::size_t bytes = (1 + random() % 24) * page / 2;
      auto* const begin = static_cast<std::byte*>(allocator.allocate(bytes));
      REQUIRE(reinterpret_cast<std::uintptr_t>(begin) % 64 == 0);
      for (const MemoryRange& other : blocks)
        REQUIRE((begin + bytes <= other.begin || other.begin + other.bytes <= begin));
      blocks.push_back({begin, bytes});
      in_use += bytes;
    } else if (!blocks.empty()) {
      free_one(random() % blocks.size());
    }
    REQUIRE(allocator.statistics().in_use_bytes >= in_use);
    REQUIRE(allocator.statistics().in_use_bytes <= in_use * 9 / 8);
    if (i % 500 == 499) allocator.release_cached();
  }
  while (!blocks.empty()) free_one(0);
  allocator.release_cached();
  CHECK(memory.used() == 0);
  CHECK(allocator.statistics().in_use_bytes == 0);
  CHECK(allocator.statistics().cached_bytes == 0);
}

TEST_CASE("the host's large blocks: aligned, written to, and given back") {
  const std::size_t mib = std::size_t{1} << 20U;
  CachingAllocator& allocator = *host_allocator();
  allocator.release_cached();
  const std::size_t cached = allocator.statistics().cached_bytes;
  std::vector<void*> blocks;
  for (const std::size_t size : {3 * mib, 2 * mib, 7 * mib + 5}) {
    auto* const block = static_cast<std::byte*>(allocator.allocate(size));
    CHECK(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
    std::fill(block, block + size, std::byte{1});
    blocks.push_back(block);
  }
  allocator.free(blocks[0], 3 * mib);
  allocator.free(blocks[1], 2 * mib);
  allocator.free(blocks[2], 7 * mib + 5);
  CHECK(allocator.statistics().cached_bytes >= cached + 12 * mib);
  allocator.release_cached();
  CHECK(allocator.statistics().cached_bytes == cached);
}

TEST_CASE("a private pool") {
  int blocks = 0;
  const auto parent = limited(std::size_t{1} << 20U, blocks);
  void* cached = parent->allocate(1000);
  parent->free(cached, 1000);

  auto pool = make_private_pool(parent);
  CHECK(pool->device() == Device::cpu);

  SUBCASE("takes what its parent has cached, then what the source has") {
    void* first = pool->allocate(1000);
    CHECK(first == cached);
    CHECK(blocks == 1);
    void* second = pool->allocate(1000);
    CHECK(second != first);
    CHECK(blocks == 2);
    CHECK(parent->statistics().cached_bytes == 0);
    pool->free(first, 1000);
    pool->free(second, 1000);
  }
  SUBCASE("hands a free block out again, and nobody else gets it") {
    void* block = pool->allocate(1000);
    pool->free(block, 1000);
    CHECK(pool->allocate(1000) == block);
    pool->free(block, 1000);
    std::set<void*> others;
    for (int i = 0; i < 8; ++i) others.insert(parent->allocate(1000));
    CHECK(others.count(block) == 0);
    for (void* other : others) parent->free(other, 1000);
  }
  SUBCASE("gives everything back when it is destroyed") {
    void* block = pool->allocate(1000);
    pool->free(block, 1000);
    CHECK(parent->statistics().in_use_bytes > 0);
    pool.reset();
    CHECK(parent->statistics().in_use_bytes == 0);
    CHECK(parent->allocate(1000) == block);
    parent->free(block, 1000);
  }
  SUBCASE("lives as long as one of its blocks") {
    auto storage = std::make_unique<Storage>(pool, 1000);
    void* block = storage->block();
    pool.reset();
    CHECK(parent->statistics().in_use_bytes > 0);
    void* other = parent->allocate(1000);
    CHECK(other != block);
    parent->free(other, 1000);
    storage.reset();
    CHECK(parent->statistics().in_use_bytes == 0);
  }
  SUBCASE("keeps its blocks when memory runs out") {
    void* block = pool->allocate(1000);
    pool->free(block, 1000);
    CHECK(message_of(*pool, std::size_t{1} << 20U).find("out of memory") != std::string::npos);
    CHECK(pool->statistics().cached_bytes > 0);
    CHECK(pool->allocate(1000) == block);
    pool->free(block, 1000);
  }
}
