// Pictures made to fit, against what Pillow 13 makes of the same pixels.
#include "data/resize.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <numeric>

#include "core/error.h"

namespace generous {
namespace {

using Pixels = std::vector<std::uint8_t>;

Pixels picture(ImageSize size) {
  Pixels pixels;
  for (std::int64_t y = 0; y < size.height; ++y)
    for (std::int64_t x = 0; x < size.width; ++x)
      for (std::int64_t c = 0; c < 3; ++c)
        pixels.push_back(static_cast<std::uint8_t>((y * 37 + x * 11 + c * 53 + (x * y) % 7 * 19) % 256));
  return pixels;
}

TEST_CASE("shrunk, grown and squeezed along one axis: to the byte what Pillow makes by BILINEAR") {
  CHECK(resize_rgb(picture({5, 7}), {5, 7}, {3, 4}) ==
        Pixels{26,  79,  132, 56,  109, 162, 91,  144, 118, 120, 116, 117, 100, 150, 172, 168, 151, 103,
               177, 161, 117, 211, 127, 68,  170, 155, 154, 178, 145, 70,  172, 92,  92,  122, 105, 111});
  CHECK(resize_rgb(picture({3, 2}), {3, 2}, {4, 5}) ==
        Pixels{0,  53,  106, 1,  54,  107, 6,  59,  112, 10,  63,  116, 11,  64,  117,
               23, 76,  129, 25, 78,  131, 35, 88,  141, 44,  97,  150, 46,  99,  152,
               51, 104, 157, 55, 108, 161, 70, 123, 176, 84,  137, 190, 88,  141, 194,
               74, 127, 180, 79, 132, 185, 99, 152, 205, 118, 171, 224, 123, 176, 229});
  CHECK(resize_rgb(picture({6, 6}), {6, 6}, {6, 2}) ==
        Pixels{14,  67,  120, 41,  94,  147, 75,  128, 181, 150, 203, 96,  135, 156, 145, 175, 164, 121,
               179, 168, 93,  216, 141, 66,  175, 132, 121, 130, 87,  108, 91,  112, 101, 108, 97,  150});
}

TEST_CASE("fitted: the sides keep their proportion, and the middle is taken") {
  CHECK(fit_rgb(picture({5, 7}), {5, 7}, {4, 4}) ==
        Pixels{15,  68,  121, 34,  87,  140, 57,  110, 151, 79,  132, 121, 65,  118, 171, 112,
               165, 158, 156, 141, 147, 165, 218, 75,  116, 169, 172, 189, 159, 87,  202, 133,
               71,  195, 165, 104, 166, 156, 187, 211, 144, 61,  118, 113, 91,  172, 83,  107});
  // Of tall pictures Pillow 13 resizes the columns first, which rounds in another order.
  const Pixels tall = fit_rgb(picture({9, 4}), {9, 4}, {3, 3});
  const Pixels expected{79, 132, 177, 133, 172, 140, 176, 121, 112, 141, 168, 179, 205, 145,
                        70, 158, 149, 68,  156, 164, 117, 93,  103, 113, 126, 79,  106};
  REQUIRE(tall.size() == expected.size());
  for (std::size_t i = 0; i < tall.size(); ++i) CHECK(std::abs(tall[i] - expected[i]) <= 1);
  CHECK(fit_rgb(picture({5, 7}), {5, 7}, {5, 7}) == picture({5, 7}));
  // As large and as thin as files come.
  CHECK(fit_rgb(picture({1, 900}), {1, 900}, {2, 3}).size() == 18);
  CHECK(fit_rgb(picture({900, 1}), {900, 1}, {2, 3}).size() == 18);
}

TEST_CASE("grey by Pillow's weights, and grey stays what it is") {
  CHECK(grey_of(picture({5, 7})) == Pixels{43,  54,  65,  76,  87,  98, 109, 80,  110, 140, 170, 171,
                                           201, 81,  117, 166, 186, 85, 180, 200, 99,  154, 193, 111,
                                           196, 114, 199, 117, 191, 99, 203, 63,  94,  104, 58});
  Pixels all(256);
  std::iota(all.begin(), all.end(), std::uint8_t{0});
  Pixels repeated;
  for (const std::uint8_t value : all) repeated.insert(repeated.end(), 3, value);
  CHECK(grey_of(repeated) == all);
}

TEST_CASE("pixels of another size than is said are refused") {
  CHECK_THROWS_WITH_AS(resize_rgb(picture({2, 2}), {2, 3}, {4, 4}), "resize: 12 bytes as 2 x 3 x 3 to 4 x 4",
                       Error);
  CHECK_THROWS_AS(resize_rgb({}, {0, 3}, {4, 4}), Error);
}

}  // namespace
}  // namespace generous
