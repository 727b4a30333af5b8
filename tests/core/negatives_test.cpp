// Draws of images of other classes, counted one by one.

#include <map>
#include <set>

#include "tests/core/gradcheck.h"

namespace generous {
namespace {

// Images 0 to 10 of classes 2 0 1 2 2 0 1 2 2 2 1; class 3 has none.
const std::vector<std::int64_t> classes_of{2, 0, 1, 2, 2, 0, 1, 2, 2, 2, 1};

NegativeDraws draws_of(std::int64_t count, std::uint64_t key, std::int64_t step) {
  return {.count = count,
          .key = key,
          .sorted = Tensor::from(std::vector<std::int64_t>{1, 5, 2, 6, 10, 0, 3, 4, 7, 8, 9}, {11}),
          .begin = Tensor::from(std::vector<std::int64_t>{0, 2, 5, 11, 11}, {5}),
          .step = Tensor::from(std::vector<std::int64_t>{step}, {})};
}

std::vector<float> draw(std::int64_t label, const NegativeDraws& draws) {
  const Tensor y = draw_negatives(Tensor::from(std::vector<std::int64_t>{label}, {1}), draws);
  REQUIRE(y.shape() == Shape{1, 11});
  return {y.data<float>().begin(), y.data<float>().end()};
}

}  // namespace

TEST_CASE("so many of other classes, each as often as the others or once more") {
  for (std::int64_t label = 0; label < 4; ++label)
    for (std::int64_t count = 0; count < 30; ++count)
      for (std::uint64_t key = 0; key < 5; ++key) {
        const std::vector<float> drawn = draw(label, draws_of(count, key, 7));
        const std::int64_t others = 11 - std::ranges::count(classes_of, label);
        double sum = 0.0;
        for (std::size_t i = 0; i < 11; ++i) {
          sum += drawn[i];
          const std::int64_t least = classes_of[i] == label ? 0 : count / others;
          const std::int64_t most = classes_of[i] == label ? 0 : (count + others - 1) / others;
          CHECK(drawn[i] >= static_cast<float>(least));
          CHECK(drawn[i] <= static_cast<float>(most));
        }
        CHECK(sum == static_cast<double>(count));
      }
}

TEST_CASE("every subset is as likely as another") {
  // 3 of the 5 images that are not of class 2: 10 subsets.
  std::map<std::vector<float>, int> seen;
  const int draws = 4000;
  for (int step = 0; step < draws; ++step) ++seen[draw(2, draws_of(3, 9, step))];
  CHECK(seen.size() == 10);
  for (const auto& [subset, count] : seen)
    CHECK(std::abs(count - draws / 10) < 100);  // 5 standard deviations
}

TEST_CASE("a row depends on key, step and place in the batch, and on nothing else") {
  const auto many = [](std::uint64_t key, std::int64_t step) {
    const Tensor y = draw_negatives(Tensor::from(std::vector<std::int64_t>{0, 0, 0, 0, 0, 0}, {6}),
                                    draws_of(4, key, step));
    return std::vector<float>(y.data<float>().begin(), y.data<float>().end());
  };
  CHECK(many(1, 2) == many(1, 2));
  CHECK(many(1, 2) != many(1, 3));
  CHECK(many(1, 2) != many(2, 2));
  std::set<std::vector<float>> rows;
  const std::vector<float> all = many(1, 2);
  for (auto row = all.begin(); row != all.end(); row += 11) rows.emplace(row, row + 11);
  CHECK(rows.size() > 3);
}

TEST_CASE("a class without others, and labels that are no class") {
  NegativeDraws one_class = draws_of(4, 1, 1);
  one_class.begin = Tensor::from(std::vector<std::int64_t>{0, 11}, {2});
  for (const float times : draw(0, one_class)) CHECK(times == 0.0F);
  CHECK_THROWS_WITH_AS(draw(4, draws_of(1, 1, 1)), "draw_negatives: there is no class 4 of 4", Error);
  CHECK_THROWS_AS(draw_negatives(Tensor::zeros({2}), draws_of(1, 1, 1)), Error);
}

}  // namespace generous
