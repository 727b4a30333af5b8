// Decoding of single images. The files in tests/images were written by Pillow 13 or, what it cannot write, by
// a script of a page; their pixels are those of Pillow's Image.open(file).convert("RGB").
#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>

#include "core/files.h"
#include "data/image_file.h"
#include "data/png.h"
#include "tests/data/data_files.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

using Pixels = std::vector<std::uint8_t>;

std::string image_file(const std::string& name) {
  return read_file(fs::path(GENEROUS_SOURCE_DIR) / "tests" / "images" / name);
}

Pixels decode(const std::string& encoded, const JpegDecoder& decoder = jpeg_decoders().front()) {
  const ImageSize size = encoded_image_size(encoded, "image");
  Pixels pixels(static_cast<std::size_t>(3 * size.height * size.width));
  decode_rgb(encoded, "image", size, pixels, decoder);
  return pixels;
}

// Without "image: ", which every error begins with.
std::string error_with(const std::string& encoded, const JpegDecoder& decoder = jpeg_decoders().front()) {
  const std::string error = error_of([&] { decode(encoded, decoder); });
  if (error.empty()) return error;
  REQUIRE(error.starts_with("image: "));
  REQUIRE(error.find('\n') == std::string::npos);
  return error.substr(7);
}

std::uint32_t crc_of(const Pixels& pixels) {
  return static_cast<std::uint32_t>(crc32(0, pixels.data(), static_cast<uInt>(pixels.size())));
}

bool is_turbo(const JpegDecoder& decoder) { return decoder.name == "libjpeg-turbo"; }

struct Expected {
  const char* file;
  std::uint32_t crc;
};
// 21 rows, 35 columns. Progressive coding and restart markers change no pixel.
const Expected jpegs[] = {
    {"colour_420.jpg", 0x1e4d96fc},  {"colour_422.jpg", 0xacf442c3},       {"colour_444.jpg", 0x0c9f98e8},
    {"progressive.jpg", 0x1e4d96fc}, {"colour_restarts.jpg", 0x1e4d96fc},  {"rgb.jpg", 0xe52348f3},
    {"grey.jpg", 0x90a2e0d2},        {"grey_progressive.jpg", 0x90a2e0d2}, {"cmyk.jpg", 0x90bb7bb2},
    {"ycck.jpg", 0xcfe2c63d},
};
// 11 rows, 19 columns.
const Expected pngs[] = {
    {"rgb_interlaced.png", 0x6c0c8260},          {"rgb_16_bits.png", 0x6c0c8260},
    {"rgba_interlaced_16_bits.png", 0x6c0c8260}, {"grey_1_bit.png", 0xe60e2183},
    {"grey_2_bits_interlaced.png", 0x142290e2},  {"grey_alpha.png", 0xc8ba1253},
    {"palette_4_bits.png", 0xae94cbcb},          {"palette_8_bits.png", 0xae94cbcb},
    {"palette_too_short.png", 0x7f61798e},
};

std::string segment(char marker, const std::string& content) {
  const std::size_t length = content.size() + 2;
  return std::string{'\xff', marker, static_cast<char>(length >> 8), static_cast<char>(length)} + content;
}

std::string huffman_table(char kind_and_id, const std::string& counts, const std::string& symbols) {
  return segment('\xc4', kind_and_id + counts + symbols);
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  require(at != std::string::npos, "not found");
  return text.replace(at, from.size(), to);
}

TEST_CASE("JPEG: pixel for pixel what Pillow gives, by libjpeg-turbo; by stb_image nearly so") {
  for (const Expected& expected : jpegs) {
    CAPTURE(expected.file);
    const std::string encoded = image_file(expected.file);
    CHECK(encoded_image_size(encoded, "") == ImageSize{21, 35});
    for (const JpegDecoder& decoder : jpeg_decoders()) {
      const Pixels pixels = decode(encoded, decoder);
      if (is_turbo(decoder)) {
        CHECK(crc_of(pixels) == expected.crc);
        continue;
      }
      const Pixels right = decode(encoded);
      std::int64_t differences = 0;
      for (std::size_t i = 0; i < pixels.size(); ++i) differences += std::abs(pixels[i] - right[i]);
      CHECK(differences < std::ssize(pixels));  // less than one grey level on average
    }
  }
}

TEST_CASE("PNG: every kind gives the pixels that Pillow gives") {
  for (const Expected& expected : pngs) {
    CAPTURE(expected.file);
    const std::string encoded = image_file(expected.file);
    CHECK(encoded_image_size(encoded, "") == ImageSize{11, 19});
    CHECK(crc_of(decode(encoded)) == expected.crc);
  }
}

TEST_CASE("a JPEG or PNG that breaks off is an error at every length") {
  for (const JpegDecoder& decoder : jpeg_decoders()) {
    for (const Expected& expected : jpegs) {
      const std::string encoded = image_file(expected.file);
      for (std::size_t length = 0; length < encoded.size(); ++length) {
        CAPTURE(length);
        CHECK_FALSE(error_with(encoded.substr(0, length), decoder).empty());
      }
    }
  }
  for (const Expected& expected : pngs) {
    const std::string encoded = image_file(expected.file);
    for (std::size_t length = 0; length < encoded.size(); ++length) {
      CAPTURE(length);
      CHECK_FALSE(error_with(encoded.substr(0, length)).empty());
    }
  }
}

TEST_CASE("markers in an embedded thumbnail and bytes behind the end do not matter") {
  const std::string encoded = image_file("colour_420.jpg");
  const std::string with_thumbnail =
      encoded.substr(0, 2) + segment('\xe1', "\xff\xd8\xff\xda\xff\xd9") + encoded.substr(2);
  for (const JpegDecoder& decoder : jpeg_decoders()) {
    CHECK(decode(with_thumbnail, decoder) == decode(encoded, decoder));
    CHECK(decode(encoded + std::string("\xff\xda") + "trailing bytes", decoder) == decode(encoded, decoder));
    const std::string broken = with_thumbnail.substr(0, with_thumbnail.size() - 2);
    CHECK_FALSE(error_with(broken, decoder).empty());
  }
}

TEST_CASE("whatever byte is wrong: an error or an image, and never a stray access") {
  for (const JpegDecoder& decoder : jpeg_decoders()) {
    for (const char* file : {"progressive.jpg", "colour_restarts.jpg", "ycck.jpg"}) {
      const std::string encoded = image_file(file);
      for (std::size_t i = 0; i < encoded.size(); ++i) {
        for (const char flip : {'\x01', '\x80', '\xff'}) {
          std::string damaged = encoded;
          damaged[i] = static_cast<char>(damaged[i] ^ flip);
          error_with(damaged, decoder);
        }
      }
    }
  }
}

TEST_CASE("a damaged byte of a PNG is always noticed") {
  for (const char* file : {"rgb_interlaced.png", "palette_4_bits.png"}) {
    const std::string encoded = image_file(file);
    for (std::size_t i = 0; i < encoded.size(); ++i) {
      CAPTURE(i);
      std::string damaged = encoded;
      damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
      CHECK_FALSE(error_with(damaged).empty());
    }
  }
}

TEST_CASE("libjpeg-turbo notices a scan with a hole; grey is never put in its place") {
  for (const JpegDecoder& decoder : jpeg_decoders()) {
    if (!is_turbo(decoder)) continue;
    for (const char* file : {"colour_420.jpg", "colour_restarts.jpg", "grey.jpg"}) {
      std::string encoded = image_file(file);
      const std::size_t end = encoded.size() - 2;  // the end of image stays
      CHECK(error_with(encoded.erase(end - 60, 60), decoder) ==
            "does not decode: Corrupt JPEG data: premature end of data segment");
    }
  }
}

// Two files that got past an earlier check and made the programs crash: tables of 2040 Huffman codes, where
// there is room for 256, reached stb_image, which wrote them over the tables behind and then decoded with
// those.
std::string oversized_table(char kind_and_id) {
  return huffman_table(kind_and_id, std::string(8, '\0') + std::string(8, '\xff'), std::string(2040, '\x7f'));
}

TEST_CASE("a fill byte before the start of image does not hide a JPEG from the check") {
  const std::string good = image_file("grey.jpg");
  const std::size_t scan = good.find("\xff\xda");
  const std::string bad = good.substr(0, scan) + oversized_table('\x10') + good.substr(scan);
  const std::string fill(1, '\xff');
  for (const JpegDecoder& decoder : jpeg_decoders()) {
    CHECK(error_with(fill + bad, decoder) == "is not a JPEG or PNG image");
    CHECK(error_with(fill + good, decoder) == "is not a JPEG or PNG image");
    CHECK_FALSE(error_with(bad, decoder).empty());
  }
}

TEST_CASE("a component id of 0xFF in a scan's header does not hide what comes behind") {
  // 8 x 8 pixels of grey; all codes are one bit. In the scan header FF 11 looks like a marker, and 00 FF
  // behind it like the length of a segment, which would end inside the oversized table.
  const std::string one_code = '\x01' + std::string(15, '\0');
  std::string header("\xff\xd8");
  header += segment('\xdb', '\0' + std::string(64, '\x10'));
  header += segment('\xc0', std::string("\x08\x00\x08\x00\x08\x01\xff\x11\x00", 9));
  header += huffman_table('\x01', one_code, std::string(1, '\0'));
  header += huffman_table('\x11', one_code, std::string(1, '\0'));
  const auto scan = [](char last_coefficient) {
    return segment('\xda', std::string("\x01\xff\x11\x00", 4) + last_coefficient + '\0');
  };
  const std::string end("\xff\xd9");
  for (const JpegDecoder& decoder : jpeg_decoders()) {
    CHECK(decode(header + scan('\x3f') + "\x3f" + end, decoder) == Pixels(3 * 64, 128));
    for (const char last_coefficient : {'\x3f', '\xff'}) {
      const std::string bad = header + scan(last_coefficient) + "\x3f" + oversized_table('\x11') +
                              scan(last_coefficient) + std::string(300, '\x7e') + end;
      CHECK_FALSE(error_with(bad, decoder).empty());
    }
  }
}

TEST_CASE("stb_image gets no JPEG whose structure it cannot be trusted with") {
  const JpegDecoder& stb = jpeg_decoders().back();
  REQUIRE(stb.name == "stb_image");
  const auto error = [&](const std::string& encoded) {
    const std::string text = error_with(encoded, stb);
    REQUIRE(text.starts_with("does not decode: "));
    return text.substr(17);
  };
  const std::string grey = image_file("grey.jpg");
  const std::string colour = image_file("colour_restarts.jpg");
  const std::string with_tables = grey.substr(0, 2) + oversized_table('\x10') + grey.substr(2);
  CHECK(error(with_tables) == "a damaged Huffman table");
  CHECK(error(replaced(grey, std::string("\xff\xc4\x00", 3), std::string("\xff\xe5\x00", 3))) ==
        "a scan needs a table that is not there");
  CHECK(error(replaced(grey, std::string("\xff\xdb\x00", 3), std::string("\xff\xe5\x00", 3))) ==
        "a scan needs a table that is not there");
  CHECK(error(replaced(colour, "\xff\xd1", "\x12\x34")) == "a scan has 1 restart markers, expected 2");
  CHECK(error(replaced(colour, std::string("\xff\xda\x00\x0c\x03", 5),
                       std::string("\xff\xda\x00\x0c\x02", 5))) == "a scan header is too long");
  CHECK(
      error(replaced(grey, "\xff\xc0", "\xff\xc9")).starts_with("JPEG of the kind 0xc9 needs libjpeg-turbo"));
  const std::string frame = grey.substr(grey.find("\xff\xc0"), 13);
  CHECK(error(replaced(grey, frame, frame + frame)) == "it has two frame headers");
  const std::size_t scan = colour.find("\xff\xda");
  const std::string one_component_scanned =
      colour.substr(0, scan) + segment('\xda', std::string("\x01\x01\x00\x00\x3f\x00", 6)) +
      "\x01\xff\xd0\x01\xff\xd1\x01\xff\xd2\x01\xff\xd3\x01\xff\xd4\x01\xff\xd5"
      "\x01\xff\xd6\x01\xff\xd9";
  CHECK(error(one_component_scanned) == "a component has no scan");
  const std::string progressive = image_file("progressive.jpg");
  const std::size_t first = progressive.find("\xff\xda");
  const std::size_t second = progressive.find("\xff\xda", first + 2);
  CHECK(error(progressive.substr(0, first) + progressive.substr(progressive.rfind("\xff\xc4", second))) ==
        "a scan refines what is not there yet");
  std::string many_scans = progressive.substr(0, progressive.size() - 2);
  for (int i = 0; i < 500; ++i) many_scans += progressive.substr(first, second - first);
  CHECK_FALSE(error(many_scans + "\xff\xd9").empty());
}

TEST_CASE("a PNG inflates to what its header announces and no further") {
  CHECK(decode(grey_png(2, 3, deflated(std::string(8, '\0')))) == Pixels(18, 0));
  CHECK(error_with(grey_png(2, 3, deflated(std::string(9, '\0')))) ==
        "does not decode: it holds more pixels than its header announces");
  CHECK(error_with(grey_png(2, 3, deflated(std::string(7, '\0')))) ==
        "does not decode: it holds fewer pixels than its header announces");
  const std::string bomb = grey_png(2, 3, deflated(std::string(std::size_t{1} << 28, '\0')));
  REQUIRE(bomb.size() < 300'000);
  CHECK(error_with(bomb) == "does not decode: it holds more pixels than its header announces");
}

TEST_CASE("what a PNG's chunks say is checked") {
  const std::string good = grey_png(2, 3, deflated(std::string(8, '\0')));
  const std::string end = png_chunk("IEND", "");
  const auto with = [&](const std::string& extra) {
    return good.substr(0, good.size() - end.size()) + extra + end;
  };
  CHECK(decode(with(png_chunk("tEXt", "what\0ever"))) == Pixels(18, 0));
  CHECK(error_with(with(png_chunk("CgBI", "1234"))) == "does not decode: a chunk of an unknown type");
  CHECK(error_with(with(std::string("\xff\xff\xff\xff", 4) + "tEXt")) ==
        "does not decode: the file breaks off");
  CHECK(error_with(with(png_chunk("PLTE", "12"))) == "does not decode: a damaged palette");
  CHECK(error_with(replaced(good, std::string("IDAT\x78", 5), std::string("IDAT\x79", 5))) ==
        "does not decode: damaged: a checksum does not fit its chunk");
  CHECK(error_with(grey_png(2, 3, deflated(std::string(4, '\0') + std::string(4, '\x09')))) ==
        "does not decode: invalid filter");
  CHECK(error_with(png_signature + png_chunk("IHDR", std::string{0, 0, 0, 3, 0, 0, 0, 2, 4, 2, 0, 0, 0})) ==
        "does not decode: its header has colour type 2 with 4 bits, which there is not");
}

TEST_CASE("a header cannot announce more than the file can hold") {
  const std::string header{0, 0, 16, 0, 0, 0, 16, 0, 8, 2, 0, 0, 0};
  const std::string png = png_signature + png_chunk("IHDR", header) + png_chunk("IEND", "");
  CHECK(error_with(png) == "its header announces 4096 x 4096 pixels, but a file of " +
                               std::to_string(png.size()) + " bytes cannot hold them");
  std::string jpeg = image_file("grey.jpg");
  jpeg.replace(jpeg.find("\xff\xc0") + 5, 4, std::string("\x10\x00\x10\x00", 4));
  CHECK(error_with(jpeg) ==
        "its header announces 4096 x 4096 pixels, but a file of 511 bytes cannot hold them");
}

}  // namespace
}  // namespace generous
