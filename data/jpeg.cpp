#include "data/jpeg.h"

#include <algorithm>

namespace generous {

namespace {

// Markers inside entropy-coded data, which do not end it.
bool is_restart(std::uint8_t marker) { return marker >= 0xD0 && marker <= 0xD7; }

}  // namespace

JpegSegments::JpegSegments(Bytes bytes) : reader_(bytes) {
  if (!is_jpeg(bytes)) fail("it does not begin like a JPEG");
  reader_.take(2);
}

JpegSegment JpegSegments::next() {
  if (reader_.u8() != 0xFF) fail("there are stray bytes between its segments");
  std::uint8_t marker = 0xFF;
  while (marker == 0xFF) marker = reader_.u8();  // any number of fill bytes
  if (marker == end_of_image) return {marker, {}};
  if (marker <= 0x01 || is_restart(marker) || marker == start_of_image) {
    fail("marker {:#04x} is out of place", marker);
  }
  const std::uint16_t length = reader_.u16();  // counts itself
  if (length < 2) fail("a segment of length {}", length);
  return {marker, reader_.take(length - 2U)};
}

std::int64_t JpegSegments::skip_scan_data() {
  std::int64_t restarts = 0;
  while (true) {
    const Bytes rest = reader_.rest();
    const auto* const found = std::ranges::find(rest.data(), rest.data() + rest.size(), 0xFF);
    const auto offset = static_cast<std::size_t>(found - rest.data());
    if (offset + 1 >= rest.size()) fail("the file breaks off");
    const std::uint8_t marker = rest[offset + 1];
    const bool data = marker == 0x00;  // a 0xFF of the data has a zero byte behind it
    if (!data && !is_restart(marker) && marker != 0xFF) {
      reader_.take(offset);
      return restarts;
    }
    if (is_restart(marker)) ++restarts;
    reader_.take(marker == 0xFF ? offset + 1 : offset + 2);
  }
}

bool is_jpeg(Bytes bytes) {
  return bytes.size() >= 2 && bytes[0] == 0xFF && bytes[1] == JpegSegments::start_of_image;
}

bool is_frame_header(std::uint8_t marker) {
  const bool other = marker == JpegSegments::huffman_tables || marker == 0xC8 || marker == 0xCC;
  return marker >= 0xC0 && marker <= 0xCF && !other;
}

JpegFrame parse_frame_header(const JpegSegment& segment) {
  ByteReader reader(segment.content);
  JpegFrame frame;
  frame.marker = segment.marker;
  frame.precision = reader.u8();
  frame.size.height = reader.u16();
  frame.size.width = reader.u16();
  const std::uint8_t count = reader.u8();
  if (count != 1 && count != 3 && count != 4) fail("it has {} components, expected 1, 3 or 4", count);
  for (int i = 0; i < count; ++i) {
    JpegComponent component{.id = reader.u8()};
    const std::uint8_t sampling = reader.u8();
    component.horizontal = sampling >> 4;
    component.vertical = sampling & 15;
    component.quantisation_table = reader.u8();
    const auto sound = [](int factor) { return factor >= 1 && factor <= 4; };
    if (!sound(component.horizontal) || !sound(component.vertical))
      fail("sampling factors other than 1 to 4");
    frame.components.push_back(component);
  }
  if (!reader.rest().empty()) fail("its frame header is too long");
  return frame;
}

JpegFrame read_jpeg_frame(Bytes encoded) {
  JpegSegments segments(encoded);
  while (true) {
    const JpegSegment segment = segments.next();
    if (is_frame_header(segment.marker)) return parse_frame_header(segment);
    if (segment.marker == JpegSegments::start_of_scan || segment.marker == JpegSegments::end_of_image) {
      fail("it has no frame header");
    }
  }
}

std::span<const JpegDecoder> jpeg_decoders() {
  static constexpr JpegDecoder decoders[] = {
#ifdef GENEROUS_WITH_TURBOJPEG
      {"libjpeg-turbo", decode_jpeg_turbo},
#endif
      {"stb_image", decode_jpeg_stb},
  };
  return decoders;
}

}  // namespace generous
