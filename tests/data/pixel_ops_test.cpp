#include "data/pixel_ops.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/temporary_folder.h"

namespace generous {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes from_hex(const std::string& text) {
  Bytes bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    std::from_chars(text.data() + 2 * i, text.data() + 2 * i + 2, bytes[i], 16);
  return bytes;
}

PixelOp op_named(const std::string& name) {
  for (std::size_t i = 0; i < pixel_op_count; ++i)
    if (name_of(static_cast<PixelOp>(i)) == name) return static_cast<PixelOp>(i);
  FAIL("no operation ", name);
  return PixelOp::identity;
}

TEST_CASE("every operation gives Pillow's bytes, on images of odd sizes, in colour and grey") {
  std::ifstream stream(GENEROUS_SOURCE_DIR "/tests/golden/pixel_ops.json");
  const nlohmann::json golden = nlohmann::json::parse(stream);
  std::set<std::string> seen;
  for (const auto& image : golden["images"]) {
    const auto& size = image["shape"];
    const ImageShape shape{size[0], size[1], size[2]};
    CAPTURE(size.dump());
    const Bytes source = from_hex(image["bytes"].get<std::string>());
    for (const auto& result : image["results"]) {
      const auto name = result["op"].get<std::string>();
      const auto value = result["value"].get<double>();
      CAPTURE(name);
      CAPTURE(value);
      Bytes bytes = source;
      operate({.op = op_named(name), .value = value}, {.shape = shape, .bytes = bytes});
      const Bytes expected = from_hex(result["bytes"].get<std::string>());
      REQUIRE(bytes.size() == expected.size());
      const auto [found, wanted] = std::ranges::mismatch(bytes, expected);
      CHECK(found - bytes.begin() == std::ssize(bytes));  // the first byte that differs
      seen.insert(name);
    }
    Bytes bytes = source;
    fill({.top = 1, .left = 1, .height = 2, .width = 1}, {125, 123, 114}, {.shape = shape, .bytes = bytes});
    CHECK(bytes == from_hex(image["filled"].get<std::string>()));
  }
  CHECK(seen.size() == pixel_op_count);
}

TEST_CASE("operations that only grey pictures leave alone, or none") {
  Bytes grey = {3, 200, 77, 14, 90, 255};
  const Bytes before = grey;
  operate({.op = PixelOp::color, .value = 0.1}, {.shape = {2, 3, 1}, .bytes = grey});
  CHECK(grey == before);
  operate({.op = PixelOp::color, .value = 0.0}, {.shape = {1, 2, 3}, .bytes = grey});
  CHECK(grey == Bytes{127, 127, 127, 86, 86, 86});
}

TEST_CASE("two channels, and bytes that are not the shape's, are errors") {
  Bytes bytes(24);
  CHECK(error_of([&] {
          operate({.op = PixelOp::shear_x}, {.shape = {3, 4, 2}, .bytes = bytes});
        }) == "ShearX: images of 2 channels, expected 1 or 3");
  CHECK(error_of([&] {
          operate({.op = PixelOp::equalize}, {.shape = {3, 3, 3}, .bytes = bytes});
        }) == "Equalize: 24 bytes for 3 x 3 x 3 pixels");
}

}  // namespace
}  // namespace generous
