// Images held out and fewer images to learn from.
#include "data/subset.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "core/error.h"

namespace generous {
namespace {

using Indices = std::vector<std::int64_t>;

/// Five classes of 40, 7, 1, 0 and 12 images, in turns.
Indices uneven_labels() {
  Indices labels;
  Indices left{40, 7, 1, 0, 12};
  while (std::accumulate(left.begin(), left.end(), std::int64_t{0}) > 0)
    for (std::size_t c = 0; c < left.size(); ++c)
      if (left[c] > 0) labels.push_back(static_cast<std::int64_t>(c)), --left[c];
  return labels;
}

std::map<std::int64_t, std::int64_t> counts(const Indices& indices, const Indices& labels) {
  std::map<std::int64_t, std::int64_t> counts;
  for (const std::int64_t index : indices) ++counts[labels.at(static_cast<std::size_t>(index))];
  return counts;
}

void check_ascending(const Indices& indices) {
  CHECK(std::ranges::adjacent_find(indices, std::greater_equal()) == indices.end());
}

using Counted = std::map<std::int64_t, std::int64_t>;

}  // namespace

TEST_CASE("held out: so many as asked for, each class its share, and never its last image") {
  const Indices labels = uneven_labels();
  REQUIRE(labels.size() == 60);
  // 15 / 60 of 40, 7, 1 and 12 are 10, 1.75, 0.25 and 3: one more goes to the second class.
  const Indices some = held_out_images(labels, 5, 15, 1);
  check_ascending(some);
  CHECK(counts(some, labels) == Counted{{0, 10}, {1, 2}, {4, 3}});
  // 6.667, 1.167, 0.167 and 2 of 10: the largest remainder is the first one's.
  CHECK(counts(held_out_images(labels, 5, 10, 1), labels) == Counted{{0, 7}, {1, 1}, {4, 2}});
  CHECK(counts(held_out_images(labels, 5, 56, 1), labels) == Counted{{0, 39}, {1, 6}, {4, 11}});
  CHECK(held_out_images(labels, 5, 0, 1).empty());
  CHECK_THROWS_WITH_AS(held_out_images(labels, 5, 57, 1),
                       "validation: 57 of 60 training images cannot be held out, at most 56 can: one of each "
                       "class stays",
                       Error);
  for (std::int64_t count = 1; count <= 56; ++count)
    CHECK(std::ssize(held_out_images(labels, 5, count, 3)) == count);
}

TEST_CASE("a subset: so much of each class, rounded, at least one image") {
  const Indices labels = uneven_labels();
  const Indices quarter = subset_images(labels, 5, 25.0, 1);
  check_ascending(quarter);
  CHECK(counts(quarter, labels) == Counted{{0, 10}, {1, 2}, {2, 1}, {4, 3}});  // 1.75 is 2
  CHECK(counts(subset_images(labels, 5, 0.01, 1), labels) == Counted{{0, 1}, {1, 1}, {2, 1}, {4, 1}});
  CHECK(subset_images(labels, 5, 100.0, 1).size() == 60);
  CHECK_THROWS_AS(subset_images(labels, 5, 0.0, 1), Error);
}

TEST_CASE("which images: the seed's, any of a class") {
  const Indices labels(1000, 0);
  CHECK(subset_images(labels, 1, 10.0, 1) == subset_images(labels, 1, 10.0, 1));
  CHECK(subset_images(labels, 1, 10.0, 1) != subset_images(labels, 1, 10.0, 2));
  CHECK(held_out_images(labels, 1, 100, 1) != held_out_images(labels, 1, 100, 2));
  CHECK(held_out_images(labels, 1, 100, 1) != subset_images(labels, 1, 10.0, 1));
  // Over many seeds every image is chosen about equally often: 200 times 0.1, sigma 4.2.
  std::vector<int> chosen(labels.size(), 0);
  for (std::uint64_t seed = 0; seed < 200; ++seed)
    for (const std::int64_t index : subset_images(labels, 1, 10.0, seed))
      ++chosen[static_cast<std::size_t>(index)];
  const auto [least, most] = std::ranges::minmax(chosen);
  CHECK(least > 20 - 5 * 4.3);
  CHECK(most < 20 + 5 * 4.3);
}

TEST_CASE("the other images, and the dataset of some") {
  CHECK(other_images(Indices{0, 3, 4}, 7) == Indices{1, 2, 5, 6});
  CHECK(other_images({}, 2) == Indices{0, 1});
  Dataset dataset{
      .images = Tensor::empty({4, 2, 3, 1}, DType::u8), .labels = {2, 0, 1, 0}, .classes = {"a", "b", "c"}};
  const auto pixels = dataset.images.data<std::uint8_t>();
  std::iota(pixels.begin(), pixels.end(), std::uint8_t{0});
  const Dataset some = select_images(dataset, Indices{1, 3});
  CHECK(some.images.shape() == Shape{2, 2, 3, 1});
  CHECK(some.labels == Indices{0, 0});
  CHECK(some.classes == dataset.classes);
  const auto found = some.images.data<std::uint8_t>();
  CHECK(std::vector<int>(found.begin(), found.end()) ==
        std::vector<int>{6, 7, 8, 9, 10, 11, 18, 19, 20, 21, 22, 23});
}

}  // namespace generous
