#include "data/rand_augment.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace generous {
namespace {

struct Values {
  int count = 0;
  double low = std::numeric_limits<double>::max();
  double high = std::numeric_limits<double>::lowest();
  double sum = 0.0;

  void add(double value) {
    ++count;
    low = std::min(low, value);
    high = std::max(high, value);
    sum += value;
  }
};

/// Of so many draws, evenly spread over [low, high): the ends are reached but for 1 %, the mean is in the
/// middle.
void check_covers(const Values& values, double low, double high) {
  const double margin = 0.01 * (high - low);
  CHECK(values.low >= low);
  CHECK(values.low < low + margin);
  CHECK(values.high > high - margin);
  CHECK(values.high < high);
  CHECK(std::abs(values.sum / values.count - (low + high) / 2) < 0.03 * (high - low));
}

TEST_CASE("the strong view's operations are equally likely, their values cover the ranges") {
  const ImageShape shape{20, 30, 3};
  const Random stream(3, "strong view");
  const double width = 30;
  const double height = 20;
  const std::map<std::string, std::pair<double, double>> ranges = {
      {"Brightness", {0.05, 0.95}},
      {"Color", {0.05, 0.95}},
      {"Contrast", {0.05, 0.95}},
      {"Sharpness", {0.05, 0.95}},
      {"Posterize", {4, 8}},
      {"Rotate", {-30, 30}},
      {"ShearX", {-0.3, 0.3}},
      {"ShearY", {-0.3, 0.3}},
      {"Solarize", {0, 256}},
      {"TranslateX", {-0.3 * width, 0.3 * width}},
      {"TranslateY", {-0.3 * height, 0.3 * height}}};
  std::map<std::string, Values> seen;
  std::map<std::pair<PixelOp, PixelOp>, int> pairs;
  constexpr std::uint32_t samples = 14 * 14 * 100;
  for (std::uint32_t sample = 0; sample < samples; ++sample) {
    const ImageRandom random{stream, 4, sample};
    const PixelOperation first = draw_strong_operation(shape, random, 0);
    const PixelOperation second = draw_strong_operation(shape, random, 1);
    ++pairs[{first.op, second.op}];
    for (const PixelOperation& drawn : {first, second}) seen[std::string(name_of(drawn.op))].add(drawn.value);
  }
  // With replacement, and independent of each other: all 196 pairs equally often.
  CHECK(pairs.size() == 14 * 14);
  double chi_squared = 0.0;
  for (const auto& [pair, count] : pairs) chi_squared += (count - 100.0) * (count - 100.0) / 100.0;
  CHECK(chi_squared < 261.0);  // 195 degrees of freedom: exceeded with probability 0.001
  for (const auto& expected : ranges) {
    CAPTURE(expected.first);
    check_covers(seen[expected.first], expected.second.first, expected.second.second);
  }
  for (const char* without : {"Identity", "AutoContrast", "Equalize"}) CHECK(seen[without].count > 0);
}

TEST_CASE(
    "RandAugment(n, m) has torchvision's values, of either sign, and draws every operation equally often") {
  struct Expected {
    std::int64_t magnitude;
    double shear, translate_x, translate_y, degrees, factor, bits, threshold;
  };
  // What torchvision 0.20 has for images of 20 x 30 pixels.
  for (const Expected& expected :
       {Expected{0, 0, 0, 0, 0, 0, 8, 255}, Expected{9, 0.09, 4, 2, 9, 0.27, 7, 178.5},
        Expected{15, 0.15, 6, 4, 15, 0.45, 6, 127.5}, Expected{30, 0.3, 13, 9, 30, 0.9, 4, 0}}) {
    CAPTURE(expected.magnitude);
    const Random stream(3, "randaugment");
    std::map<std::string, Values> seen;
    constexpr int draws = 28000;
    for (std::uint32_t sample = 0; sample < draws / 2; ++sample)
      for (const int index : {0, 1}) {
        const PixelOperation drawn = draw_operation({.operations = 2, .magnitude = expected.magnitude},
                                                    {20, 30, 3}, {stream, 1, sample}, index);
        seen[std::string(name_of(drawn.op))].add(drawn.value);
      }
    REQUIRE(seen.size() == 14);
    for (const auto& operation : seen) {
      CAPTURE(operation.first);
      CHECK(std::abs(operation.second.count - draws / 14) < 4 * std::sqrt(draws / 14));
    }
    const auto check = [&](const char* name, double middle, double deviation) {
      CAPTURE(name);
      const Values& values = seen[name];
      CHECK(values.low == doctest::Approx(middle - deviation));
      CHECK(values.high == doctest::Approx(middle + deviation));
      CHECK(std::abs(values.sum / values.count - middle) <= 4 * deviation / std::sqrt(values.count));
    };
    for (const char* name : {"Identity", "AutoContrast", "Equalize"}) check(name, 0, 0);
    for (const char* name : {"Brightness", "Color", "Contrast", "Sharpness"}) check(name, 1, expected.factor);
    for (const char* name : {"ShearX", "ShearY"}) check(name, 0, expected.shear);
    check("TranslateX", 0, expected.translate_x);
    check("TranslateY", 0, expected.translate_y);
    check("Rotate", 0, expected.degrees);
    check("Posterize", expected.bits, 0);
    check("Solarize", expected.threshold, 0);
  }
}

TEST_CASE("random erasing: as often as asked for, inside the image, of 2 to 33 % of it, from flat to tall") {
  const ImageShape shape{64, 48, 3};
  const Random stream(5, "erasing");
  Values areas;
  Values logarithms;  // of height over width
  int erased = 0;
  bool at_top = false;
  bool at_bottom = false;
  constexpr std::uint32_t samples = 20000;
  for (std::uint32_t sample = 0; sample < samples; ++sample) {
    const Rectangle drawn = draw_erasing(0.25, shape, {stream, 3, sample});
    if (drawn.height == 0 && drawn.width == 0) continue;
    ++erased;
    REQUIRE(drawn.top >= 0);
    REQUIRE(drawn.left >= 0);
    REQUIRE(drawn.top + drawn.height <= 64);
    REQUIRE(drawn.left + drawn.width <= 48);
    at_top = at_top || drawn.top == 0;
    at_bottom = at_bottom || drawn.top + drawn.height == 64;
    areas.add(static_cast<double>(drawn.height * drawn.width) / (64.0 * 48.0));
    logarithms.add(std::log(static_cast<double>(drawn.height) / static_cast<double>(drawn.width)));
  }
  CHECK(std::abs(erased - samples / 4.0) < 4 * std::sqrt(samples * 0.25 * 0.75));
  CHECK(areas.low == doctest::Approx(0.02).epsilon(0.15));
  CHECK(areas.high == doctest::Approx(0.33).epsilon(0.03));
  CHECK(logarithms.low == doctest::Approx(std::log(0.3)).epsilon(0.15));
  CHECK(logarithms.high == doctest::Approx(std::log(3.3)).epsilon(0.15));
  CHECK(at_top);
  CHECK(at_bottom);
  // Never and always; a row of pixels has no place for a rectangle that is smaller than it.
  for (std::uint32_t sample = 0; sample < 100; ++sample) {
    CHECK(draw_erasing(0, shape, {stream, 3, sample}).height == 0);
    CHECK(draw_erasing(1, shape, {stream, 3, sample}).height > 0);
    CHECK(draw_erasing(1, {1, 48, 3}, {stream, 3, sample}).height == 0);
  }
}

TEST_CASE("the draws are functions of (epoch, sample)") {
  const Random stream(3, "strong view");
  const auto draws = [&](std::uint32_t epoch, std::uint32_t sample) {
    const ImageRandom random{stream, epoch, sample};
    const Rectangle cutout = draw_cutout({32, 32, 3}, random);
    std::vector<double> values = {static_cast<double>(cutout.top), static_cast<double>(cutout.width)};
    for (int i = 0; i < strong_operations; ++i) {
      const PixelOperation drawn = draw_strong_operation({32, 32, 3}, random, i);
      values.push_back(static_cast<double>(drawn.op));
      values.push_back(drawn.value);
    }
    return values;
  };
  CHECK(draws(5, 9) == draws(5, 9));
  CHECK(draws(5, 9) != draws(6, 9));
  CHECK(draws(5, 9) != draws(5, 10));
}

TEST_CASE("cutouts lie inside the image, reach every pixel, and have sides up to half of the width") {
  const ImageShape shape{20, 32, 1};
  const Random stream(1, "strong view");
  std::vector<int> covered(20 * 32);
  Values widths;
  constexpr std::uint32_t samples = 20000;
  for (std::uint32_t sample = 0; sample < samples; ++sample) {
    const Rectangle cutout = draw_cutout(shape, {stream, 2, sample});
    REQUIRE(cutout.top >= 0);
    REQUIRE(cutout.left >= 0);
    REQUIRE(cutout.height >= 1);
    REQUIRE(cutout.width >= 1);
    REQUIRE(cutout.top + cutout.height <= shape.height);
    REQUIRE(cutout.left + cutout.width <= shape.width);
    if (cutout.left > 0 && cutout.left + cutout.width < shape.width)
      widths.add(static_cast<double>(cutout.width));
    for (std::int64_t y = cutout.top; y < cutout.top + cutout.height; ++y)
      for (std::int64_t x = cutout.left; x < cutout.left + cutout.width; ++x)
        ++covered[static_cast<std::size_t>(y * shape.width + x)];
  }
  CHECK(std::ranges::min(covered) > 0);
  CHECK(widths.low == 1.0);    // of side 0, and the pixel that is counted beyond
  CHECK(widths.high == 16.0);  // of a side just below 16
  // Where the middle of the image is covered: sides are uniform, so that of the area their square's mean is.
  const double middle = covered[10 * 32 + 16] / static_cast<double>(samples);
  double mean_square = 0.0;
  for (int side = 0; side < 16; ++side) mean_square += (side + 1.0) * (side + 1.0) / 16.0;
  CHECK(middle == doctest::Approx(mean_square / (20 * 32)).epsilon(0.1));
}

}  // namespace
}  // namespace generous
