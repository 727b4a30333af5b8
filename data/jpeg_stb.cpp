// JPEG by stb_image, for builds without libjpeg-turbo.
//
// stb_image believes its input: version 2.27 writes beyond its Huffman tables, decodes with tables that were
// never filled, and leaves planes as it found them in memory. So it is given only files whose structure has
// been checked, and memory that is zeroed.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <numeric>

#include "data/jpeg.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_ASSERT(condition) ((void)0)  // damaged data is an error, not the end of the program
#define STBI_MALLOC(bytes) std::calloc(1, bytes)
#define STBI_REALLOC(pointer, bytes) std::realloc(pointer, bytes)
#define STBI_FREE(pointer) std::free(pointer)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image.h>
#pragma GCC diagnostic pop

namespace generous {

namespace {

// Follows the segments as stb_image does, and throws Error for what it cannot be trusted with.
class StructureCheck {
 public:
  explicit StructureCheck(const JpegFrame& frame) : frame_(frame), scanned_(frame.components.size()) {
    if (frame.marker > 0xC2) fail("JPEG of the kind {:#04x} needs libjpeg-turbo", frame.marker);
    if (frame.precision != 8) fail("it has {} bits a sample, expected 8", frame.precision);
    for (const JpegComponent& component : frame.components) {
      max_horizontal_ = std::max(max_horizontal_, component.horizontal);
      max_vertical_ = std::max(max_vertical_, component.vertical);
    }
  }

  void check(Bytes encoded) {
    JpegSegments segments(encoded);
    bool in_frame = false;
    for (JpegSegment segment = segments.next(); segment.marker != JpegSegments::end_of_image;
         segment = segments.next()) {
      if (is_frame_header(segment.marker)) {
        if (in_frame) fail("it has two frame headers");
        in_frame = true;
      } else if (segment.marker == JpegSegments::huffman_tables) {
        read_huffman_tables(segment.content);
      } else if (segment.marker == JpegSegments::quantisation_tables) {
        read_quantisation_tables(segment.content);
      } else if (segment.marker == JpegSegments::restart_interval) {
        restart_interval_ = ByteReader(segment.content).u16();
      } else if (segment.marker == JpegSegments::start_of_scan) {
        if (!in_frame) fail("a scan comes before the frame header");
        check_restarts(read_scan_header(segment.content), segments.skip_scan_data());
      }
    }
    if (std::ranges::find(scanned_, false) != scanned_.end()) fail("a component has no scan");
  }

 private:
  using Components = std::vector<std::size_t>;  // indices into the frame's

  void read_huffman_tables(Bytes content) {
    ByteReader reader(content);
    while (!reader.rest().empty()) {
      const std::uint8_t kind_and_id = reader.u8();
      const Bytes counts = reader.take(16);  // of the codes of each length from 1 to 16 bits
      const auto codes = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
      // 256 are its room, but it also has 255 as the mark of no code.
      if (kind_and_id >> 4 > 1 || (kind_and_id & 15) > 3 || codes > 255) fail("a damaged Huffman table");
      reader.take(codes);
      huffman_[kind_and_id >> 4][kind_and_id & 15] = true;
    }
  }

  void read_quantisation_tables(Bytes content) {
    ByteReader reader(content);
    while (!reader.rest().empty()) {
      const std::uint8_t precision_and_id = reader.u8();
      if (precision_and_id >> 4 > 1 || (precision_and_id & 15) > 3) fail("a damaged quantisation table");
      reader.take(precision_and_id >> 4 == 0 ? 64 : 128);
      quantisation_[precision_and_id & 15] = true;
    }
  }

  Components read_scan_header(Bytes content) {
    ByteReader reader(content);
    const std::uint8_t count = reader.u8();
    if (count < 1 || count > frame_.components.size()) fail("a scan of {} components", count);
    const Bytes selectors = reader.take(2U * count);
    const std::uint8_t begin = reader.u8();  // the first coefficient of each block that is in the scan
    reader.u8();
    const bool refinement = reader.u8() >> 4 != 0;
    if (!reader.rest().empty()) fail("a scan header is too long");
    Components components;
    for (std::size_t i = 0; i < count; ++i) {
      const auto found = std::ranges::find(frame_.components, selectors[2 * i], &JpegComponent::id);
      if (found == frame_.components.end()) fail("a scan of an unknown component");
      const auto index = static_cast<std::size_t>(found - frame_.components.begin());
      const std::uint8_t tables = selectors[2 * i + 1];
      const bool needs_dc = begin == 0 && !refinement;
      const bool needs_ac = frame_.marker != 0xC2 || begin > 0;
      const bool has_tables = (!needs_dc || defined(huffman_[0], tables >> 4)) &&
                              (!needs_ac || defined(huffman_[1], tables & 15)) &&
                              defined(quantisation_, found->quantisation_table);
      if (!has_tables) fail("a scan needs a table that is not there");
      if (!needs_dc && !scanned_[index]) fail("a scan refines what is not there yet");
      scanned_[index] = true;
      components.push_back(index);
    }
    if (++scans_ > max_scans) fail("it has more than {} scans", max_scans);
    return components;
  }

  // Where a restart marker is missing, stb_image ends the scan and leaves the rest as it is.
  void check_restarts(const Components& components, std::int64_t found) const {
    const auto blocks = [](std::int64_t pixels, std::int64_t pixels_a_block) {
      return (pixels + pixels_a_block - 1) / pixels_a_block;
    };
    std::int64_t horizontal = 8 * max_horizontal_;
    std::int64_t vertical = 8 * max_vertical_;
    std::int64_t units = blocks(frame_.size.width, horizontal) * blocks(frame_.size.height, vertical);
    if (components.size() == 1) {  // then its own blocks are the units, whatever its sampling
      const JpegComponent& component = frame_.components[components.front()];
      units = blocks(blocks(frame_.size.width * component.horizontal, max_horizontal_), 8) *
              blocks(blocks(frame_.size.height * component.vertical, max_vertical_), 8);
    }
    const std::int64_t expected = restart_interval_ == 0 ? 0 : blocks(units, restart_interval_) - 1;
    if (found != expected) fail("a scan has {} restart markers, expected {}", found, expected);
  }

  using Defined = std::array<bool, 4>;
  static bool defined(const Defined& tables, int id) {
    return id < 4 && tables[static_cast<std::size_t>(id)];
  }

  static constexpr int max_scans = 500;  // libjpeg-turbo's limit

  const JpegFrame& frame_;
  int max_horizontal_ = 1;
  int max_vertical_ = 1;
  std::array<Defined, 2> huffman_{};  // of DC, of AC coefficients
  Defined quantisation_{};
  std::int64_t restart_interval_ = 0;
  int scans_ = 0;
  std::vector<bool> scanned_;
};

}  // namespace

void decode_jpeg_stb(Bytes encoded, const JpegFrame& frame, std::span<std::uint8_t> rgb) {
  StructureCheck(frame).check(encoded);
  int width = 0;
  int height = 0;
  int channels = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> decoded(
      stbi_load_from_memory(encoded.data(), static_cast<int>(encoded.size()), &width, &height, &channels, 3),
      stbi_image_free);
  if (!decoded) fail("{}", stbi_failure_reason());
  require(ImageSize{height, width} == frame.size &&
              rgb.size() == static_cast<std::size_t>(3 * frame.size.height * frame.size.width),
          "decode_jpeg: {} bytes do not hold {} x {} x 3", rgb.size(), height, width);
  std::copy_n(decoded.get(), rgb.size(), rgb.begin());
}

}  // namespace generous
