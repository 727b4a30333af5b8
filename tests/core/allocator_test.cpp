// The caching allocator: what it says when memory runs out, and pools for recorded work.

#include "core/allocator.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <set>
#include <string>

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
