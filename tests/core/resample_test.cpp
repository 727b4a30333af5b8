// Which pixels and rows resampling and gathering pick, and what they refuse.

#include "tests/core/op_cases.h"

namespace generous {
namespace {

using Values = std::vector<float>;
Values values(const Tensor& x) { return {x.data<float>().begin(), x.data<float>().end()}; }

Tensor row_of(std::int64_t count) {
  Tensor x = Tensor::empty({1, 1, count, 1});
  for (std::int64_t i = 0; i < count; ++i)
    x.data<float>()[static_cast<std::size_t>(i)] = static_cast<float>(i);
  return x;
}

// By PyTorch 2: interpolate(..., mode="nearest").
TEST_CASE("nearest neighbours are PyTorch's") {
  on_every_cpu_implementation([] {
    CHECK(values(upsample_nearest(row_of(3), 1, 7)) == Values{0, 0, 0, 1, 1, 2, 2});
    CHECK(values(upsample_nearest(row_of(4), 1, 6)) == Values{0, 0, 1, 2, 2, 3});
    CHECK(values(upsample_nearest(row_of(5), 1, 2)) == Values{0, 2});
    CHECK(values(upsample_nearest(row_of(2), 2, 4)) == Values{0, 0, 1, 1, 0, 0, 1, 1});
  });
}

TEST_CASE("equal windows that cover an image are averaged") {
  CHECK(values(adaptive_avg_pool2d(row_of(6), 1, 3)) == Values{0.5F, 2.5F, 4.5F});
  CHECK(values(adaptive_avg_pool2d(row_of(6), 1, 4)) == Values{0.5F, 1.5F, 3.5F, 4.5F});
  CHECK(values(adaptive_avg_pool2d(row_of(2), 1, 3)) == Values{0.0F, 0.5F, 1.0F});
}

TEST_CASE("what does not fit is said with the op's name and the shapes") {
  const auto says = [](const char* text) { return doctest::Contains(text); };
  const Tensor rows = Tensor::zeros({3, 2});
  const auto indices = [](std::vector<std::int64_t> wanted) {
    const auto count = static_cast<std::int64_t>(wanted.size());
    return Tensor::from(wanted, {count});
  };
  CHECK_THROWS_WITH_AS(gather_rows(rows, indices({0, 3})), "gather_rows: there is no row 3 in x {3, 2}",
                       Error);
  CHECK_THROWS_WITH_AS(gather_rows(rows, indices({-1})), says("no row -1"), Error);
  CHECK_THROWS_WITH_AS(gather_rows(rows, rows), says("indices {B} or {B, K} of i64, not {3, 2} and f32"),
                       Error);
  CHECK_THROWS_WITH_AS(upsample_nearest(rows, 4, 4), says("upsample_nearest: no image of 4x4 from x {3, 2}"),
                       Error);
  CHECK_THROWS_WITH_AS(adaptive_avg_pool2d(row_of(6), 1, 0), says("no 1x0 windows of x {1, 1, 6, 1}"), Error);
  CHECK_THROWS_WITH_AS(batched_matmul(Tensor::zeros({2, 3, 4}), Tensor::zeros({3, 4, 5})),
                       says("batched_matmul: {2, 3, 4} and {3, 4, 5} have to be equally many"), Error);
  CHECK_THROWS_WITH_AS(batched_matmul(Tensor::zeros({2, 3, 4}), Tensor::zeros({2, 5, 4})),
                       says("batched_matmul: {2, 3, 4} times {2, 5, 4}: the inner extents differ"), Error);
}

}  // namespace
}  // namespace generous
