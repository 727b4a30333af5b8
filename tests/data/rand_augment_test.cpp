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
  for (const auto& [name, range] : ranges) {
    CAPTURE(name);
    check_covers(seen[name], range.first, range.second);
  }
  for (const char* without : {"Identity", "AutoContrast", "Equalize"}) CHECK(seen[without].count > 0);
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
