// Tensors, shapes, the allocator and random numbers.

#include "core/tensor.h"

#include <doctest/doctest.h>

#include <set>

#include "core/backend.h"
#include "core/random.h"

namespace generous {
namespace {

TEST_CASE("shapes") {
  const Shape shape{2, 3, 5};
  CHECK(shape.numel() == 30);
  CHECK(shape[-1] == 5);
  CHECK(shape.str() == "{2, 3, 5}");
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{}.str() == "{}");
  CHECK_THROWS_AS(shape[3], Error);
  CHECK_THROWS_AS((Shape{2, -1}), Error);
  CHECK_THROWS_AS((Shape{1, 1, 1, 1, 1, 1}), Error);
  CHECK_THROWS_AS((Shape{INT64_MAX, 2}), Error);
}

TEST_CASE("tensors are handles; clones are not") {
  Tensor a = Tensor::full({2, 3}, 1.5F);
  Tensor b = a;
  const Tensor c = a.clone();
  b.data<float>()[4] = 9.0F;
  CHECK(a.data<float>()[4] == 9.0F);
  CHECK(c.data<float>()[4] == 1.5F);
  CHECK(a.view({6}).data<float>()[4] == 9.0F);
  CHECK_THROWS_AS(a.view({5}), Error);
  CHECK_THROWS_WITH_AS(a.data<std::int64_t>(), doctest::Contains("f32"), Error);
  CHECK_THROWS_AS(Tensor().data<float>(), Error);
  CHECK_THROWS_AS(Tensor::from(std::vector<float>{1, 2}, {3}), Error);
  CHECK_THROWS_AS(a.item(), Error);
  CHECK(Tensor::full({}, 4.0F).item() == 4.0F);
}

TEST_CASE("fill covers every dtype") {
  Tensor integers = Tensor::zeros({7}, DType::i64);  // which a loop over its elements does not keep alive
  for (const std::int64_t value : integers.data<std::int64_t>()) CHECK(value == 0);
  Tensor bytes = Tensor::zeros({7}, DType::u8);
  for (const std::uint8_t value : bytes.data<std::uint8_t>()) CHECK(value == 0);
  Tensor half = Tensor::empty({3}, DType::bf16);
  backend(Device::cpu).fill(half, -2.5);
  CHECK(static_cast<float>(half.data<bfloat16>()[2]) == -2.5F);
}

TEST_CASE("asking for a device that is not there says what is missing") {
  if (has_backend(Device::cuda)) return;  // nothing is missing: a GPU, or its emulation
  CHECK_THROWS_WITH_AS(backend(Device::cuda), doctest::Contains("no CUDA backend"), Error);
  CHECK_THROWS_AS(Tensor::zeros({2}, DType::f32, Device::cuda), Error);
}

/// A source with a budget, to see what an exhausted device does.
class Budget : public MemorySource {
 public:
  explicit Budget(std::size_t& left) : left_(left) {}
  Device device() const override { return Device::cpu; }
  void* acquire(std::size_t bytes) override {
    if (bytes > left_) return nullptr;
    left_ -= bytes;
    return ::operator new(bytes);
  }
  void release(void* block, std::size_t bytes) override {
    left_ += bytes;
    ::operator delete(block);
  }

 private:
  std::size_t& left_;
};

TEST_CASE(
    "the allocator reuses blocks, gives cached ones back when it must, and says when there are no more") {
  std::size_t left = 10'000;
  {
    CachingAllocator allocator(std::make_unique<Budget>(left));
    void* a = allocator.allocate(3000);
    allocator.free(a, 3000);
    CHECK(allocator.allocate(2990) == a);  // the same size class
    CHECK(allocator.statistics().system_allocations == 1);
    allocator.free(a, 2990);
    CHECK(allocator.statistics().cached_bytes >= 3000);
    void* b = allocator.allocate(8000);  // fits only once `a` has gone back
    CHECK(allocator.statistics().cached_bytes == 0);
    CHECK_THROWS_WITH_AS(allocator.allocate(9000), doctest::Contains("out of memory"), Error);
    allocator.free(b, 8000);
  }
  CHECK(left == 10'000);
}

TEST_CASE("Philox gives the published numbers") {
  // Known-answer vectors of the Random123 library.
  const auto f = 0xffffffffU;
  CHECK(philox(0, {0, 0, 0, 0}) == PhiloxBlock{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U});
  CHECK(philox(~0ULL, {f, f, f, f}) == PhiloxBlock{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU});
  CHECK(philox(0x299f31d0a4093822ULL, {0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U}) ==
        PhiloxBlock{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U});
}

TEST_CASE("random streams: by seed and purpose, in range, normal") {
  const Random a(1, "shuffle");
  const Random b(1, "augment");
  const Random c(2, "shuffle");
  CHECK(a.key() != b.key());
  CHECK(a.key() != c.key());
  CHECK(a.key() == Random(1, "shuffle").key());
  CHECK(a.bits(1, 2, 3) != a.bits(2, 1, 3));
  double sum = 0.0;
  double squares = 0.0;
  std::set<std::uint32_t> seen;
  const int count = 20'000;
  for (std::uint64_t i = 0; i < count; ++i) {
    const double value = static_cast<double>(a.normal(0, 0, i));
    sum += value;
    squares += value * value;
    const float u = a.uniform(1, 0, i);
    CHECK((u >= 0.0F && u < 1.0F));
    seen.insert(a.below(9, 2, 0, i));
  }
  CHECK(std::abs(sum / count) < 0.03);
  CHECK(squares / count == doctest::Approx(1.0).epsilon(0.03));
  CHECK(seen == std::set<std::uint32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8});
}

}  // namespace
}  // namespace generous
