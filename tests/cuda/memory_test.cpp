// Memory, copies and recorded work of the CUDA backend.

#include <doctest/doctest.h>

#include <functional>
#include <numeric>

#include "core/backend.h"
#include "core/ops.h"

namespace generous {
namespace {

Backend& gpu() { return backend(Device::cuda); }

std::vector<float> ramp(std::size_t count, float first = 0.0F) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

Tensor on_gpu(const std::vector<float>& values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())}).to(Device::cuda);
}

std::vector<float> read(const Tensor& x) {
  const Tensor host = x.to(Device::cpu);
  return {host.data<float>().begin(), host.data<float>().end()};
}

}  // namespace

TEST_CASE(
    "copies to the GPU and back, of nothing, of little, and of more than all staging buffers together") {
  for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{262144},
                                  std::size_t{262145}, std::size_t{5000001}}) {
    CAPTURE(count);
    const std::vector<float> values = ramp(count);
    CHECK(read(on_gpu(values)) == values);
  }
}

TEST_CASE("what was copied to the GPU may change as soon as the call returns") {
  std::vector<Tensor> copies;
  std::vector<float> values(1000);
  for (int i = 0; i < 50; ++i) {  // more copies than there are staging buffers
    values.assign(values.size(), static_cast<float>(i));
    copies.push_back(Tensor::empty({1000}, DType::f32, Device::cuda));
    gpu().copy_from_host(values.data(), copies.back());
  }
  values.assign(values.size(), -1.0F);
  for (std::size_t i = 0; i < copies.size(); ++i) {
    CAPTURE(i);
    CHECK(read(copies[i]) == std::vector<float>(1000, static_cast<float>(i)));
  }
}

TEST_CASE("a clone on the GPU is a copy, of any type and of nothing") {
  const Tensor x = on_gpu(ramp(777));
  Tensor y = x.clone();
  gpu().fill(y, 3.0);
  CHECK(read(x) == ramp(777));
  CHECK(read(y) == std::vector<float>(777, 3.0F));
  const Tensor labels = Tensor::from(std::vector<std::int64_t>{4, -2, 9}, {3}).to(Device::cuda).clone();
  CHECK(labels.to(Device::cpu).data<std::int64_t>()[2] == 9);
  CHECK(read(on_gpu({}).clone()).empty());
}

TEST_CASE("a block that is freed while kernels that use it still wait can be handed out at once") {
  const std::vector<float> values = ramp(4096);
  for (int round = 0; round < 20; ++round) {
    Tensor x = on_gpu(values);
    const Tensor doubled = x + x;
    x = Tensor();
    const Tensor other = Tensor::full({4096}, -7.0F, Device::cuda);
    CHECK(read(doubled)[4095] == 8190.0F);
    CHECK(read(other)[0] == -7.0F);
  }
}

TEST_CASE("steps after the first take nothing from the driver") {
  const auto step = [] {
    const Tensor x = on_gpu(ramp(3000));
    return sum(relu(x * x)).item();
  };
  step();
  const std::size_t before = gpu().allocator()->statistics().system_allocations;
  for (int i = 0; i < 5; ++i) step();
  CHECK(gpu().allocator()->statistics().system_allocations == before);
}

TEST_CASE(
    "recorded work runs once when it is recorded, and again at every replay, on what its tensors hold then") {
  Tensor x = on_gpu(ramp(1000));
  Tensor sum_of_all = Tensor::zeros({1000}, DType::f32, Device::cuda);
  const auto work = [&] {
    const Tensor doubled = x + x;  // a temporary
    gpu().accumulate(doubled, sum_of_all);
  };
  work();
  CHECK(read(sum_of_all)[999] == 1998.0F);
  const std::unique_ptr<RecordedWork> recorded = gpu().record(work);
  CHECK(read(sum_of_all)[999] == 3996.0F);
  recorded->replay();
  CHECK(read(sum_of_all)[999] == 5994.0F);
  const std::vector<float> ones(1000, 1.0F);
  gpu().copy_from_host(ones.data(), x);
  for (int i = 0; i < 10; ++i) recorded->replay();
  CHECK(read(sum_of_all)[999] == 6014.0F);
  gpu().synchronize();
}

TEST_CASE("nobody else gets the memory of recorded work while it lives") {
  const Tensor x = on_gpu(ramp(5000));
  Tensor result = Tensor::empty({5000}, DType::f32, Device::cuda);
  const auto in_use = [] { return gpu().allocator()->statistics().in_use_bytes; };
  const std::size_t before = in_use();
  {
    const auto recorded = gpu().record([&] {
      const Tensor squared = x * x;
      gpu().copy(squared + 1.0F, result);
    });
    CHECK(in_use() > before);
    std::vector<Tensor> others;
    for (int i = 0; i < 8; ++i) others.push_back(Tensor::full({5000}, static_cast<float>(i), Device::cuda));
    recorded->replay();
    CHECK(read(result)[4] == 17.0F);
    for (std::size_t i = 0; i < others.size(); ++i)
      CHECK(read(others[i]) == std::vector<float>(5000, static_cast<float>(i)));
  }
  CHECK(in_use() == before);
}

TEST_CASE("a tensor that was made by recorded work outlives it") {
  const auto in_use = [] { return gpu().allocator()->statistics().in_use_bytes; };
  const std::size_t before = in_use();
  {
    Tensor made;
    {
      const Tensor x = on_gpu(ramp(300));
      auto recorded = gpu().record([&] { made = x + x; });
      recorded->replay();
      CHECK(read(made)[299] == 598.0F);
    }
    std::vector<Tensor> others;
    for (int i = 0; i < 8; ++i) others.push_back(Tensor::full({300}, -1.0F, Device::cuda));
    CHECK(read(made)[299] == 598.0F);
  }
  CHECK(in_use() == before);
}

TEST_CASE("recorded work may do nothing") {
  const auto recorded = gpu().record([] {});
  recorded->replay();
  gpu().synchronize();
}

TEST_CASE("work that waits or reads host memory can't be recorded, and leaves everything as before") {
  Tensor x = on_gpu(ramp(64));
  const std::vector<float> values(64, 1.0F);
  const auto in_use = [] { return gpu().allocator()->statistics().in_use_bytes; };
  const std::size_t before = in_use();
  std::vector<float> out(64);
  const std::vector<std::function<void()>> impossible{
      [&] { gpu().synchronize(); }, [&] { gpu().copy_to_host(x, out.data()); },
      [&] { gpu().copy_from_host(values.data(), x); }, [&] { gpu().record([] {}); },
      [&] { fail("recorded work may not: because of a test"); }};
  for (const auto& work : impossible) {
    const auto after_a_kernel = [&] {
      gpu().fill(x, 5.0);
      work();
    };
    CHECK_THROWS_WITH_AS(gpu().record(after_a_kernel), doctest::Contains("recorded work may not"), Error);
    CHECK(in_use() == before);
    CHECK(read(x) == ramp(64));  // what was captured before has not run
  }
  CHECK(read(x + x)[63] == 126.0F);
  gpu().record([&] { gpu().fill(x, 2.0); })->replay();
  CHECK(read(x)[0] == 2.0F);
}

}  // namespace generous
