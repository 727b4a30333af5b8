// Encoded images through data/image_file.h.
#pragma once

#include <string>
#include <vector>

#include "data/image_file.h"
#include "tests/fuzz/fuzz.h"

namespace generous::fuzz {

/// Decodes `encoded` unless it is larger than most datasets' images, which would only be slow. Every pixel is
/// written, and decoding twice gives the same.
inline void decode_image(const std::string& encoded, const JpegDecoder& jpeg_decoder) {
  constexpr std::int64_t most_pixels = 1 << 18;
  ImageSize size;
  if (!accepted([&] { size = encoded_image_size(encoded, "input"); })) return;
  if (size.height * size.width > most_pixels) return;
  const auto bytes = static_cast<std::size_t>(3 * size.height * size.width);
  std::vector<std::uint8_t> pixels(bytes, 0x55);
  if (!accepted([&] { decode_rgb(encoded, "input", size, pixels, jpeg_decoder); })) return;
  std::vector<std::uint8_t> again(bytes, 0xAA);
  decode_rgb(encoded, "input", size, again, jpeg_decoder);
  check(pixels == again, "every pixel is written, and decoding twice gives the same");
}

/// For a target of one of the JPEG decoders.
inline int decode_jpeg(std::string_view input, const JpegDecoder& decoder) {
  if (!input.starts_with("\xFF")) return -1;  // not for the corpus
  decode_image(std::string(input), decoder);
  return 0;
}

}  // namespace generous::fuzz
