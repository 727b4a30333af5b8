#include "data/png.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <string_view>
#include <vector>

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image.h>
#pragma GCC diagnostic pop

namespace generous {

namespace {

using Buffer = std::vector<std::uint8_t>;

constexpr std::array<std::uint8_t, 8> signature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

struct Chunk {
  std::string_view type;  // four letters; a small first one: what decoders may step over
  Bytes content;
};

std::string_view text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

std::uint32_t checksum(Bytes bytes) {
  return static_cast<std::uint32_t>(crc32(0, bytes.data(), static_cast<uInt>(bytes.size())));
}

Chunk read_chunk(ByteReader& reader) {
  const std::uint32_t length = reader.u32();
  const Bytes checked = ByteReader(reader.rest()).take(std::size_t{length} + 4);
  reader.take(checked.size());
  const std::string_view type = text_of(checked.first(4));
  if (reader.u32() != checksum(checked)) fail("damaged: a checksum does not fit its chunk");
  return {type, checked.subspan(4)};
}

struct Header {
  ImageSize size;
  int depth = 0;  // bits a sample
  int colour = 0;
  bool interlaced = false;

  std::int64_t bits_per_pixel() const {
    switch (colour) {
      case 2:  // RGB
        return 3 * depth;
      case 4:  // greyscale and alpha
        return 2 * depth;
      case 6:  // RGB and alpha
        return 4 * depth;
      default:  // greyscale; 3: palette
        return depth;
    }
  }
};

Header parse_header(const Chunk& chunk) {
  if (chunk.type != "IHDR" || chunk.content.size() != 13) fail("it does not begin with a PNG header");
  ByteReader reader(chunk.content);
  Header header;
  header.size.width = reader.u32();
  header.size.height = reader.u32();
  header.depth = reader.u8();
  header.colour = reader.u8();
  const std::uint8_t compression = reader.u8();
  const std::uint8_t filter = reader.u8();
  const std::uint8_t interlace = reader.u8();
  const std::string_view depths = header.colour == 0   ? std::string_view("\1\2\4\10\20", 5)
                                  : header.colour == 3 ? std::string_view("\1\2\4\10", 4)
                                  : header.colour == 2 || header.colour == 4 || header.colour == 6
                                      ? std::string_view("\10\20", 2)
                                      : std::string_view();
  if (depths.find(static_cast<char>(header.depth)) == std::string_view::npos) {
    fail("its header has colour type {} with {} bits, which there is not", header.colour, header.depth);
  }
  if (compression != 0 || filter != 0 || interlace > 1) fail("its header has an unknown method");
  header.interlaced = interlace == 1;
  return header;
}

// Of the inflated data: every row is a byte for its filter and its pixels.
std::size_t inflated_bytes(const Header& header) {
  const auto pass = [&](std::int64_t x, std::int64_t y, std::int64_t step_x, std::int64_t step_y) {
    const std::int64_t columns = (header.size.width - x + step_x - 1) / step_x;
    const std::int64_t rows = (header.size.height - y + step_y - 1) / step_y;
    if (columns <= 0 || rows <= 0) return std::int64_t{0};
    return rows * (1 + (columns * header.bits_per_pixel() + 7) / 8);
  };
  if (!header.interlaced) return static_cast<std::size_t>(pass(0, 0, 1, 1));
  return static_cast<std::size_t>(pass(0, 0, 8, 8) + pass(4, 0, 8, 8) + pass(0, 4, 4, 8) + pass(2, 0, 4, 4) +
                                  pass(0, 2, 2, 4) + pass(1, 0, 2, 2) + pass(0, 1, 1, 2));
}

// What of a file makes the pixels.
struct Content {
  Header header;
  Bytes palette;
  Buffer deflated;
};

Content read_content(Bytes encoded) {
  ByteReader reader(encoded);
  reader.take(signature.size());
  Content content;
  content.header = parse_header(read_chunk(reader));
  while (true) {
    const Chunk chunk = read_chunk(reader);
    if (chunk.type == "IEND") break;
    if (chunk.type == "IDAT") {
      content.deflated.insert(content.deflated.end(), chunk.content.begin(), chunk.content.end());
    } else if (chunk.type == "PLTE") {
      if (chunk.content.size() % 3 != 0 || chunk.content.size() > 768) fail("a damaged palette");
      content.palette = chunk.content;
    } else if (chunk.type[0] >= 'A' && chunk.type[0] <= 'Z') {
      fail("a chunk of an unknown type");
    }
  }
  if (content.header.colour == 3 && content.palette.empty()) fail("it has no palette");
  return content;
}

// Grows with what is really there, to `expected` bytes and no further.
Buffer inflate_exactly(const Buffer& deflated, std::size_t expected) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  stream.next_in = const_cast<Bytef*>(deflated.data());
  stream.avail_in = static_cast<uInt>(deflated.size());
  constexpr std::size_t first_step = std::size_t{1} << 16;
  Buffer inflated;
  int status = Z_OK;
  while (status == Z_OK) {
    const std::size_t done = inflated.size();
    // One byte more than expected: what is too long shows.
    inflated.resize(std::min(expected + 1, std::max(first_step, 2 * done)));
    stream.next_out = inflated.data() + done;
    stream.avail_out = static_cast<uInt>(inflated.size() - done);
    status = inflate(&stream, Z_NO_FLUSH);
    inflated.resize(inflated.size() - stream.avail_out);
    if (inflated.size() > expected) fail("it holds more pixels than its header announces");
  }
  if (status == Z_BUF_ERROR) fail("the file breaks off");
  if (status != Z_STREAM_END) fail("damaged: {}", stream.msg != nullptr ? stream.msg : "it does not inflate");
  if (inflated.size() != expected) fail("it holds fewer pixels than its header announces");
  return inflated;
}

void append_u32(Buffer& out, std::size_t value) {
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<std::uint8_t>(value >> shift));
}

void append_chunk(Buffer& out, std::string_view type, Bytes content) {
  append_u32(out, content.size());
  out.insert(out.end(), type.begin(), type.end());
  out.insert(out.end(), content.begin(), content.end());
  append_u32(out, 0);  // instead of a checksum, which nobody compares again
}

// The same image as the simplest possible file: no chunk that does not matter, a palette of all 256 colours
// (an index beyond the original's is black), the inflated data in stored blocks. It is all that stb_image
// sees.
Buffer plain_png(const Content& content, Bytes inflated) {
  Buffer header;
  append_u32(header, static_cast<std::size_t>(content.header.size.width));
  append_u32(header, static_cast<std::size_t>(content.header.size.height));
  for (const int value :
       {content.header.depth, content.header.colour, 0, 0, content.header.interlaced ? 1 : 0}) {
    header.push_back(static_cast<std::uint8_t>(value));
  }
  Buffer out(signature.begin(), signature.end());
  append_chunk(out, "IHDR", header);
  if (content.header.colour == 3) {
    Buffer palette(content.palette.begin(), content.palette.end());
    palette.resize(768);
    append_chunk(out, "PLTE", palette);
  }
  Buffer stored = {0x78, 0x01};  // zlib's header
  constexpr std::size_t max_block = 65535;
  for (std::size_t begin = 0; begin < inflated.size(); begin += max_block) {
    const Bytes block = inflated.subspan(begin, std::min(max_block, inflated.size() - begin));
    const bool last = begin + block.size() == inflated.size();
    const auto low = static_cast<std::uint8_t>(block.size());
    const auto high = static_cast<std::uint8_t>(block.size() >> 8);
    stored.insert(stored.end(), {static_cast<std::uint8_t>(last), low, high, static_cast<std::uint8_t>(~low),
                                 static_cast<std::uint8_t>(~high)});
    stored.insert(stored.end(), block.begin(), block.end());
  }
  append_chunk(out, "IDAT", stored);
  append_chunk(out, "IEND", {});
  return out;
}

}  // namespace

bool is_png(Bytes bytes) {
  return bytes.size() >= signature.size() && std::ranges::equal(bytes.first(signature.size()), signature);
}

ImageSize read_png_size(Bytes encoded) {
  ByteReader reader(encoded);
  reader.take(signature.size());
  return parse_header(read_chunk(reader)).size;
}

void decode_png(Bytes encoded, ImageSize size, std::span<std::uint8_t> rgb) {
  require(rgb.size() == static_cast<std::size_t>(3 * size.height * size.width),
          "decode_png: {} bytes do not hold {} x {} x 3", rgb.size(), size.height, size.width);
  const Content content = read_content(encoded);
  if (content.header.size != size) {
    fail("it has {} x {} pixels, expected {} x {}", content.header.size.height, content.header.size.width,
         size.height, size.width);
  }
  const Buffer png = plain_png(content, inflate_exactly(content.deflated, inflated_bytes(content.header)));
  int width = 0;
  int height = 0;
  int channels = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> decoded(
      stbi_load_from_memory(png.data(), static_cast<int>(png.size()), &width, &height, &channels, 3),
      stbi_image_free);
  if (!decoded) fail("{}", stbi_failure_reason());
  std::copy_n(decoded.get(), rgb.size(), rgb.begin());
}

}  // namespace generous
