#include "data/augment.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "core/cpu/augment.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

using Pixels = std::vector<std::uint8_t>;

// A table that leaves bytes as they are: mean 0, std 1/255.
NormaliseTable bytes_as_floats() {
  NormaliseTable table{};
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 256);
  return table;
}

void augment_and_normalise(const Pixels& pixels, const ImageShape& shape, const Augmentation& augmentation,
                           const NormaliseTable& table, std::vector<float>& out) {
  augment_image(placement_of(augmentation, shape, 0), shape, pixels, table, out);
}

Pixels apply(const Pixels& pixels, const ImageShape& shape, const Augmentation& augmentation) {
  std::vector<float> out(pixels.size(), -1.0F);
  augment_and_normalise(pixels, shape, augmentation, bytes_as_floats(), out);
  return {out.begin(), out.end()};
}

Pixels counting(std::size_t count) {
  Pixels pixels(count);
  std::iota(pixels.begin(), pixels.end(), std::uint8_t{1});
  return pixels;
}

// 4 rows, 5 columns:  1  2  3  4  5 /  6  7  8  9 10 / 11 12 13 14 15 / 16 17 18 19 20
const ImageShape shape45{4, 5, 1};

TEST_CASE("crop and flip on a small image, by hand") {
  CHECK(apply(counting(20), shape45, {}) == counting(20));
  CHECK(apply(counting(20), shape45, {.flip = true}) ==
        Pixels{5, 4, 3, 2, 1, 10, 9, 8, 7, 6, 15, 14, 13, 12, 11, 20, 19, 18, 17, 16});
  CHECK(apply(counting(20), shape45, {.shift_y = 1, .shift_x = -2}) ==
        Pixels{0, 0, 6, 7, 8, 0, 0, 11, 12, 13, 0, 0, 16, 17, 18, 0, 0, 0, 0, 0});
  CHECK(apply(counting(20), shape45, {.shift_y = -1, .shift_x = 2}) ==
        Pixels{0, 0, 0, 0, 0, 3, 4, 5, 0, 0, 8, 9, 10, 0, 0, 13, 14, 15, 0, 0});
  // The flip comes after the crop.
  CHECK(apply(counting(20), shape45, {.shift_y = -1, .shift_x = 2, .flip = true}) ==
        Pixels{0, 0, 0, 0, 0, 0, 0, 5, 4, 3, 0, 0, 10, 9, 8, 0, 0, 15, 14, 13});
}

TEST_CASE("rotation picks the pixels that Pillow's Image.rotate(angle, NEAREST) picks") {
  CHECK(apply(counting(20), shape45, {.rotation_degrees = 20.0}) ==
        Pixels{0, 3, 4, 4, 10, 1, 7, 8, 9, 15, 6, 12, 13, 14, 20, 11, 17, 17, 18, 0});
  CHECK(apply(counting(20), shape45, {.rotation_degrees = -20.0}) ==
        Pixels{6, 2, 2, 3, 0, 11, 7, 8, 9, 5, 16, 12, 13, 14, 10, 0, 18, 19, 19, 15});
  CHECK(apply(counting(20), shape45, {.rotation_degrees = 90.0}) ==
        Pixels{5, 10, 15, 20, 0, 4, 9, 14, 19, 0, 3, 8, 13, 18, 0, 2, 7, 12, 17, 0});
  CHECK(apply(counting(20), shape45, {.rotation_degrees = -45.0}) ==
        Pixels{11, 6, 2, 3, 0, 16, 12, 8, 3, 4, 17, 18, 13, 9, 5, 0, 18, 19, 15, 10});
  // Rotated, then cropped, then flipped: the result for 20 degrees, moved one row down and one column right.
  CHECK(
      apply(counting(20), shape45, {.rotation_degrees = 20.0, .shift_y = -1, .shift_x = -1, .flip = true}) ==
      Pixels{0, 0, 0, 0, 0, 4, 4, 3, 0, 0, 9, 8, 7, 1, 0, 14, 13, 12, 6, 0});
}

// The definition, one pixel at a time.
Pixels slowly(const Pixels& pixels, const ImageShape& shape, const Augmentation& augmentation) {
  Pixels out(pixels.size(), 0);
  for (std::int64_t y = 0; y < shape.height; ++y) {
    for (std::int64_t x = 0; x < shape.width; ++x) {
      const std::int64_t from_y = y + augmentation.shift_y;
      const std::int64_t from_x = (augmentation.flip ? shape.width - 1 - x : x) + augmentation.shift_x;
      if (from_y < 0 || from_y >= shape.height || from_x < 0 || from_x >= shape.width) continue;
      for (std::int64_t c = 0; c < shape.channels; ++c) {
        out[static_cast<std::size_t>((y * shape.width + x) * shape.channels + c)] =
            pixels[static_cast<std::size_t>((from_y * shape.width + from_x) * shape.channels + c)];
      }
    }
  }
  return out;
}

TEST_CASE("every shift, even beyond the image, and every number of channels") {
  for (const std::int64_t channels : {1, 2, 3}) {
    const ImageShape shape{3, 4, channels};
    const Pixels pixels = counting(static_cast<std::size_t>(shape.numel()));
    for (std::int64_t shift_y = -4; shift_y <= 4; ++shift_y) {
      for (std::int64_t shift_x = -5; shift_x <= 5; ++shift_x) {
        for (const bool flip : {false, true}) {
          const Augmentation augmentation{.shift_y = shift_y, .shift_x = shift_x, .flip = flip};
          CHECK(apply(pixels, shape, augmentation) == slowly(pixels, shape, augmentation));
        }
      }
    }
  }
}

TEST_CASE(
    "normalisation gives torchvision's ToTensor and Normalize, bit for bit; black outside is a byte of 0") {
  const NormaliseTable table = make_normalise_table(dataset_info("cifar10").normalisation);
  const std::map<std::size_t, std::array<float, 3>> expected{
      {0, {-0x1.fd4e26p+0F, -0x1.fbff28p+0F, -0x1.b5f244p+0F}},
      {1, {-0x1.f93da6p+0F, -0x1.f7dd86p+0F, -0x1.b21994p+0F}},
      {127, {0x1.b86464p-6F, 0x1.0afc40p-4F, 0x1.946a3ap-3F}},
      {200, {0x1.2f9632p+0F, 0x1.3e46b6p+0F, 0x1.4b579ap+0F}},
      {255, {0x1.0790e6p+1F, 0x1.10c028p+1F, 0x1.0f72c2p+1F}}};
  for (const auto& [byte, values] : expected) {
    for (std::size_t c = 0; c < 3; ++c) CHECK(table[256 * c + byte] == values[c]);
  }

  const Pixels pixels{200, 127, 255, 1, 200, 127};  // two pixels in one row
  std::vector<float> out(6);
  augment_and_normalise(pixels, {1, 2, 3}, {.shift_x = 1}, table, out);
  CHECK(out ==
        std::vector<float>{table[1], table[256 + 200], table[512 + 127], table[0], table[256], table[512]});
}

TEST_CASE("what is erased is 0 behind the normalisation, wherever its pixels came from; so is nothing else") {
  const NormaliseTable table = make_normalise_table(dataset_info("cifar10").normalisation);
  const ImageShape shape{4, 5, 3};
  const Pixels pixels = counting(60);
  Placement placement = placement_of({.shift_x = 2, .flip = true}, shape, 0);
  std::vector<float> whole(60);
  augment_image(placement, shape, pixels, table, whole);
  placement.erased = {.top = 1, .left = 2, .height = 2, .width = 9};  // beyond the border
  std::vector<float> erased(60);
  augment_image(placement, shape, pixels, table, erased);
  for (std::size_t i = 0; i < 60; ++i) {
    const std::size_t y = i / 15;
    const std::size_t x = i / 3 % 5;
    const bool inside = (y == 1 || y == 2) && x >= 2;
    CHECK(whole[i] != 0.0F);
    CHECK(erased[i] == (inside ? 0.0F : whole[i]));
  }
}

TEST_CASE("the draws for a key are fixed values") {
  // From an independent implementation of Philox4x32-10 in Python.
  DatasetInfo info = dataset_info("cifar10");
  info.rotation_degrees = 20.0F;
  const Random random(7, "augment");
  const auto check = [&](std::uint32_t epoch, std::uint32_t sample, const Augmentation& expected) {
    const Augmentation drawn = draw_augmentation(info, random, epoch, sample);
    CHECK(drawn.shift_y == expected.shift_y);
    CHECK(drawn.shift_x == expected.shift_x);
    CHECK(drawn.flip == expected.flip);
    CHECK(drawn.rotation_degrees == expected.rotation_degrees);
  };
  check(0, 0, {.rotation_degrees = -12.81895399093628, .shift_y = -4, .shift_x = 0, .flip = false});
  check(3, 11, {.rotation_degrees = 8.693602085113525, .shift_y = -4, .shift_x = -1, .flip = false});
  check(3, 12, {.rotation_degrees = 9.237861633300781, .shift_y = 2, .shift_x = -2, .flip = false});
  check(250, 49999, {.rotation_degrees = -10.81606149673462, .shift_y = -4, .shift_x = -4, .flip = true});

  DatasetInfo nothing;
  nothing.flip = false;
  const Augmentation none = draw_augmentation(nothing, random, 250, 49999);
  CHECK(none.shift_y == 0);
  CHECK(none.shift_x == 0);
  CHECK_FALSE(none.flip);
  CHECK(none.rotation_degrees == 0.0);
}

TEST_CASE("draws are uniform and independent of each other") {
  DatasetInfo info;
  info.crop_padding = 2;
  info.rotation_degrees = 20.0F;
  const Random random(1, "augment");
  constexpr std::uint32_t samples = 50000;
  std::map<std::array<std::int64_t, 3>, int> counts;  // of (shift_y, shift_x, flip): 5 x 5 x 2 equally likely
  double angles = 0.0;
  double squares = 0.0;
  for (std::uint32_t sample = 0; sample < samples; ++sample) {
    const Augmentation drawn = draw_augmentation(info, random, 4, sample);
    ++counts[{drawn.shift_y, drawn.shift_x, drawn.flip ? 1 : 0}];
    CHECK(std::abs(drawn.rotation_degrees) <= 20.0);
    angles += drawn.rotation_degrees;
    squares += drawn.rotation_degrees * drawn.rotation_degrees;
  }
  CHECK(counts.size() == 50);
  double chi_squared = 0.0;
  for (const auto& [key, count] : counts) chi_squared += (count - 1000.0) * (count - 1000.0) / 1000.0;
  CHECK(chi_squared < 85.4);  // 49 degrees of freedom: exceeded with probability 0.001
  CHECK(std::abs(angles / samples) < 4 * 20.0 / std::sqrt(3.0 * samples));
  CHECK(squares / samples == doctest::Approx(400.0 / 3.0).epsilon(0.02));
}

TEST_CASE("spans of the wrong size and four channels are errors") {
  std::vector<float> out(48);
  const NormaliseTable table = bytes_as_floats();
  CHECK(error_of([&] {
          augment_and_normalise(counting(47), {4, 4, 3}, {}, table, out);
        }) == "augment: an image of 47 bytes and a result of 48 values for 4 x 4 x 3 pixels");
  CHECK(error_of([&] {
          augment_and_normalise(counting(48), {3, 4, 4}, {}, table, out);
        }) == "augment: images of 4 channels, expected 1 to 3");
}

}  // namespace
}  // namespace generous
