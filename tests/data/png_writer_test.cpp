// Pictures written as PNG are read again, pixel for pixel.
#include "data/png_writer.h"

#include <doctest/doctest.h>

#include "core/random.h"
#include "data/png.h"
#include "tests/temporary_folder.h"

using namespace generous;

namespace {

Tensor random_image(const Shape& shape) {
  const Random random(3, "picture");
  Tensor image = Tensor::empty(shape, DType::u8);
  std::uint64_t element = 0;
  for (std::uint8_t& value : image.data<std::uint8_t>())
    value = static_cast<std::uint8_t>(random.below(256, 0, 0, element++));
  return image;
}

Bytes bytes_of(const std::string& encoded) {
  return {reinterpret_cast<const std::uint8_t*>(encoded.data()), encoded.size()};
}

}  // namespace

TEST_CASE("grey and colour, of odd sizes, noise and a plain area") {
  for (const std::int64_t channels : {1, 3}) {
    for (const auto& [height, width] : {std::pair{1, 1}, {28, 28}, {7, 301}, {64, 5}}) {
      for (const bool plain : {false, true}) {
        const Shape shape{height, width, channels};
        CAPTURE(shape.str());
        const Tensor image = plain ? Tensor::zeros(shape, DType::u8) : random_image(shape);
        const std::string encoded = encode_png(image);
        const ImageSize size = read_png_size(bytes_of(encoded));
        CHECK(size.height == height);
        CHECK(size.width == width);
        CHECK(encoded[24] == 8);                        // bits a sample
        CHECK(encoded[25] == (channels == 3 ? 2 : 0));  // PNG's colour type
        std::vector<std::uint8_t> rgb(static_cast<std::size_t>(height * width * 3));
        decode_png(bytes_of(encoded), size, rgb);  // grey is repeated
        std::vector<std::uint8_t> expected;
        for (const std::uint8_t value : image.data<std::uint8_t>())
          expected.insert(expected.end(), channels == 3 ? 1 : 3, value);
        CHECK(rgb == expected);
      }
    }
  }
}

TEST_CASE("other tensors are refused with their shape") {
  for (const Shape& shape : {Shape{4, 5}, Shape{4, 5, 2}, Shape{4, 5, 4}, Shape{0, 5, 3}, Shape{1, 4, 5, 3}})
    CHECK(error_of([&] { encode_png(Tensor::zeros(shape, DType::u8)); }).find(shape.str()) !=
          std::string::npos);
  CHECK_FALSE(error_of([] { encode_png(Tensor::zeros({4, 5, 3})); }).empty());  // f32
}
