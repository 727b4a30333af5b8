// JPEG: the structure of a file, and the decoders of this build. Errors say what is wrong with the data; the
// caller knows the file.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "data/byte_reader.h"
#include "data/image_size.h"

namespace generous {

/// A marker and, for those that have any, the content between it and the next segment.
struct JpegSegment {
  std::uint8_t marker = 0;
  Bytes content;
};

/// The segments of a file in their order. Each is stepped over by its length: what looks like a marker inside
/// one (in an embedded thumbnail, say) is never taken for one.
class JpegSegments {
 public:
  static constexpr std::uint8_t huffman_tables = 0xC4, start_of_image = 0xD8, end_of_image = 0xD9,
                                start_of_scan = 0xDA, quantisation_tables = 0xDB, restart_interval = 0xDD;

  /// Throws Error unless the bytes begin with a start of image.
  explicit JpegSegments(Bytes bytes);
  /// Throws Error where no segment begins, and for one that goes beyond the end of the file.
  JpegSegment next();
  /// Behind a start of scan: steps over its entropy-coded data, and returns the number of restart markers in
  /// it.
  std::int64_t skip_scan_data();

 private:
  ByteReader reader_;
};

struct JpegComponent {
  std::uint8_t id = 0;
  int horizontal = 0;  ///< sampling factors, 1 to 4
  int vertical = 0;
  std::uint8_t quantisation_table = 0;
};

/// What the frame header says.
struct JpegFrame {
  std::uint8_t marker = 0;  ///< the kind of coding: 0xC0 baseline, 0xC1 extended, 0xC2 progressive, ...
  int precision = 0;        ///< bits a sample
  ImageSize size;
  std::vector<JpegComponent> components;  ///< 1: grey, 3: colour, 4: CMYK or YCCK
};

bool is_jpeg(Bytes bytes);
bool is_frame_header(std::uint8_t marker);
JpegFrame parse_frame_header(const JpegSegment& segment);
/// Reads up to the frame header. Throws Error unless the file is sound up to there.
JpegFrame read_jpeg_frame(Bytes encoded);

/// The bytes of RGB that a byte of a JPEG can become: at least one bit for every 8 x 8 pixels of a component.
inline constexpr std::int64_t max_jpeg_expansion = 3 * 64 * 8;

struct JpegDecoder {
  std::string_view name;  ///< part of a decoded cache's manifest: decoders differ by rounding
  /// Decodes to {height, width, 3} bytes of RGB, greyscale repeated and CMYK converted as by Pillow. Throws
  /// Error for data that breaks off or is damaged, as far as the decoder notices.
  void (*decode)(Bytes encoded, const JpegFrame& frame, std::span<std::uint8_t> rgb);
};

/// All of this build: libjpeg-turbo where it was found, and stb_image. The first decodes the images. Damage
/// inside the entropy-coded data is noticed by libjpeg-turbo only.
std::span<const JpegDecoder> jpeg_decoders();

void decode_jpeg_turbo(Bytes encoded, const JpegFrame& frame, std::span<std::uint8_t> rgb);
void decode_jpeg_stb(Bytes encoded, const JpegFrame& frame, std::span<std::uint8_t> rgb);

}  // namespace generous
