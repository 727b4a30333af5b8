// PNG files. The first byte says how much is made right before the reader sees it, because mutations hardly
// get through its checks: nothing, the checksums, or the compression as well (then image data is written
// uncompressed here).
#include <zlib.h>

#include <algorithm>

#include "tests/fuzz/image.h"

using namespace generous;

namespace {

std::string big_endian(std::size_t value) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<char>(value >> shift & 0xFFU));
  return bytes;
}

const Bytef* bytes_of(const std::string& text) { return reinterpret_cast<const Bytef*>(text.data()); }

/// A zlib stream that holds `content` as it is.
std::string stored(const std::string& content) {
  uLongf size = compressBound(content.size());
  std::string stream(size, '\0');
  compress2(reinterpret_cast<Bytef*>(stream.data()), &size, bytes_of(content), content.size(),
            Z_NO_COMPRESSION);
  stream.resize(size);
  return stream;
}

/// The PNG with a right checksum in every chunk.
std::string repaired(std::string_view png, bool compress_data) {
  const auto take = [&png](std::size_t bytes) {
    const std::string_view taken = png.substr(0, bytes);
    png.remove_prefix(taken.size());
    return std::string(taken);
  };
  std::string file = take(8);
  while (png.size() > 8) {
    std::size_t length = 0;
    for (const char byte : take(4)) length = length << 8 | static_cast<std::uint8_t>(byte);
    const std::string type = take(4);
    std::string content = take(length);
    take(4);  // the checksum that was there
    if (compress_data && type == "IDAT") content = stored(content);
    const std::string checked = type + content;
    file += big_endian(content.size()) + checked;
    file += big_endian(crc32(0, bytes_of(checked), static_cast<uInt>(checked.size())));
  }
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input = fuzz::text_of(data, size);
  const int mode = fuzz::take_byte(input) % 3;
  if (!input.starts_with("\x89")) return -1;  // not for the corpus
  fuzz::decode_image(mode == 0 ? std::string(input) : repaired(input, mode == 2), jpeg_decoders().front());
  return 0;
}
