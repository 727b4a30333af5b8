// Dataset files made by hand: writers, and small images encoded by Pillow.
#pragma once

#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace generous {

/// Writes a file and the folders it lies in.
inline void write_file(const std::filesystem::path& path, std::string_view content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  require(file.good(), "cannot write {}", path.string());
}

/// The smallest PNG file of these RGB pixels: signature, IHDR, one IDAT, IEND.
inline std::string encode_png(std::uint32_t height, std::uint32_t width, const std::string& pixels) {
  const auto big_endian = [](std::uint32_t value) {
    std::string bytes;
    for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<char>(value >> shift & 0xFFU));
    return bytes;
  };
  const auto chunk = [&](const std::string& type, const std::string& content) {
    const std::string checked = type + content;
    const uLong sum =
        crc32(0, reinterpret_cast<const Bytef*>(checked.data()), static_cast<uInt>(checked.size()));
    return big_endian(static_cast<std::uint32_t>(content.size())) + checked +
           big_endian(static_cast<std::uint32_t>(sum));
  };
  std::string rows;
  for (std::uint32_t row = 0; row < height; ++row) rows += '\0' + pixels.substr(row * width * 3, width * 3);
  uLongf size = compressBound(rows.size());
  std::string packed(size, '\0');
  const int code = compress(reinterpret_cast<Bytef*>(packed.data()), &size,
                            reinterpret_cast<const Bytef*>(rows.data()), rows.size());
  require(code == Z_OK, "compress failed");
  packed.resize(size);
  const std::string eight_bit_rgb = {8, 2, 0, 0, 0};
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", big_endian(width) + big_endian(height) + eight_bit_rgb) +
         chunk("IDAT", packed) + chunk("IEND", "");
}

/// What gzip makes of `content`.
inline std::string gzip(std::string_view content) {
  z_stream stream{};
  constexpr int window_bits_gzip = 15 + 16;
  deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, window_bits_gzip, 8, Z_DEFAULT_STRATEGY);
  std::vector<Bytef> in(content.begin(), content.end());
  std::string out(deflateBound(&stream, static_cast<uLong>(in.size())) + 32, '\0');
  stream.next_in = in.data();
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  require(deflate(&stream, Z_FINISH) == Z_STREAM_END, "deflate");
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

inline std::string big_endian(std::size_t value) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<char>(value >> shift));
  return bytes;
}

/// What zlib makes of `content`.
inline std::string deflated(std::string_view content) {
  std::string out(compressBound(content.size()), '\0');
  uLongf bytes = out.size();
  require(compress(reinterpret_cast<Bytef*>(out.data()), &bytes,
                   reinterpret_cast<const Bytef*>(content.data()), content.size()) == Z_OK,
          "compress");
  out.resize(bytes);
  return out;
}

inline const std::string png_signature = "\x89PNG\r\n\x1a\n";

inline std::string png_chunk(const std::string& type, const std::string& content) {
  const std::string checked = type + content;
  const auto sum =
      crc32(0, reinterpret_cast<const Bytef*>(checked.data()), static_cast<uInt>(checked.size()));
  return big_endian(content.size()) + checked + big_endian(sum);
}

/// Greyscale, a byte a pixel: `rows` is what deflates to the filter's byte and the pixels of each row.
inline std::string grey_png(std::size_t height, std::size_t width, const std::string& rows) {
  const std::string header = big_endian(width) + big_endian(height) + std::string("\x08\0\0\0\0", 5);
  return png_signature + png_chunk("IHDR", header) + png_chunk("IDAT", rows) + png_chunk("IEND", "");
}

/// 2 rows, 3 columns of RGB: byte i of the pixels is 5 + 13 i.
inline const std::string png_rgb_2x3 = from_hex(
    "89504e470d0a1a0a0000000d49484452000000030000000208020000001216f14d000000184944415478da6364159257"
    "575757575767ac6a9f026101001ffc03a2cc2510320000000049454e44ae426082");
/// Greyscale: 0, 50, 100; 150, 200, 255.
inline const std::string png_grey_2x3 = from_hex(
    "89504e470d0a1a0a0000000d4948445200000003000000020800000000b81f39c6000000104944415478da6364303262"
    "9876e23f00068702c305b5bc230000000049454e44ae426082");
/// The pixels of png_rgb_2x3 with different alphas.
inline const std::string png_rgba_2x3 = from_hex(
    "89504e470d0a1a0a0000000d49484452000000030000000208060000009d74661a000000224944415478da6364159267"
    "5057576f505757af67ac6a9fc2a8aeaecea8aeaece08003b8b04a4ef9fcca20000000049454e44ae426082");
/// One row of 4097 pixels.
inline const std::string png_grey_1x4097 = from_hex(
    "89504e470d0a1a0a0000000d494844520000100100000001080000000094885f9e0000001a4944415478daedc1010d00"
    "0000c2a0f74f6d0f0714000000f06f10020001a58ca9bd0000000049454e44ae426082");
/// 8 rows, 24 columns: three squares of RGB (250, 10, 21), (16, 240, 30), (25, 35, 229).
inline const std::string jpeg_stripes_8x24 = from_hex(
    "ffd8ffe000104a46494600010100000100010000ffdb0043000201010101010201010102020202020403020202020504"
    "040304060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affdb0043010202"
    "02020202050303050a0706070a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
    "0a0a0a0a0a0a0a0a0a0a0a0a0a0affc00011080008001803011100021101031101ffc400150001010000000000000000"
    "0000000000000908ffc40014100100000000000000000000000000000000ffc400160100030000000000000000000000"
    "00000008090affc40014110100000000000000000000000000000000ffda000c03010002110311003f0092c399ee1080"
    "fe8a7106a983287fffd9");
/// 64 x 64, all (200, 30, 39).
inline const std::string jpeg_red_64x64 = from_hex(
    "ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a07"
    "0706080c0a0c0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffdb0043010304"
    "0405040509050509140d0b0d141414141414141414141414141414141414141414141414141414141414141414141414"
    "1414141414141414141414141414ffc00011080040004003012200021101031101ffc400150001010000000000000000"
    "0000000000000007ffc40014100100000000000000000000000000000000ffc400160101010100000000000000000000"
    "000000000708ffc40014110100000000000000000000000000000000ffda000c03010002110311003f0082009fb70000"
    "0000000000000000000000000000000000000000003fffd9");
/// 64 x 64, all (20, 180, 60).
inline const std::string jpeg_green_64x64 = from_hex(
    "ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a07"
    "0706080c0a0c0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffdb0043010304"
    "0405040509050509140d0b0d141414141414141414141414141414141414141414141414141414141414141414141414"
    "1414141414141414141414141414ffc00011080040004003012200021101031101ffc400150001010000000000000000"
    "0000000000000005ffc40014100100000000000000000000000000000000ffc400160101010100000000000000000000"
    "000000000708ffc40014110100000000000000000000000000000000ffda000c03010002110311003f0088024ec88000"
    "000000000000000000000000000000000000000000ffd9");
/// 64 x 64, greyscale, all 77.
inline const std::string jpeg_grey_64x64 = from_hex(
    "ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a07"
    "0706080c0a0c0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffc0000b080040"
    "004001011100ffc4001500010100000000000000000000000000000008ffc40014100100000000000000000000000000"
    "000000ffda0008010100003f009dc00000000000000000000000000000007fffd9");
/// jpeg_red_64x64 as a progressive JPEG.
inline const std::string jpeg_progressive_64x64 = from_hex(
    "ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a07"
    "0706080c0a0c0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffdb0043010304"
    "0405040509050509140d0b0d141414141414141414141414141414141414141414141414141414141414141414141414"
    "1414141414141414141414141414ffc20011080040004003012200021101031101ffc400150001010000000000000000"
    "0000000000000006ffc400160101010100000000000000000000000000000607ffda000c030100021003100000018113"
    "fb800000000000000000000001ffc40014100100000000000000000000000000000060ffda000801010001050201ffc4"
    "0014110100000000000000000000000000000040ffda0008010301013f0107ffc4001411010000000000000000000000"
    "0000000040ffda0008010201013f0107ffc40014100100000000000000000000000000000060ffda0008010100063f02"
    "01ffc40014100100000000000000000000000000000060ffda0008010100013f2101ffda000c03010002000300000010"
    "f3cf3cf3cf3cf3cf3cf3cf3cffc40014110100000000000000000000000000000040ffda0008010301013f1007ffc400"
    "14110100000000000000000000000000000040ffda0008010201013f1007ffc400141001000000000000000000000000"
    "00000060ffda0008010100013f1001ffd9");

}  // namespace generous
