#include "data/image_file.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <memory>
#include <numeric>

#include "core/error.h"
#include "core/files.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image.h>
#pragma GCC diagnostic pop

namespace generous {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t max_file_bytes = std::size_t{1} << 26;
constexpr int max_side = 4096;

const stbi_uc* bytes_of(const std::string& encoded) {
  return reinterpret_cast<const stbi_uc*>(encoded.data());
}

// Whether a Huffman table segment's tables hold at most 256 codes each: older versions of stb_image write
// beyond their own tables otherwise.
bool huffman_tables_fit(std::span<const stbi_uc> tables) {
  constexpr std::size_t header_bytes = 17;  // class and id; the number of codes of each length 1 to 16
  while (tables.size() >= header_bytes) {
    const auto counts = tables.subspan(1, header_bytes - 1);
    const auto codes = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
    if (codes > 256 || header_bytes + codes > tables.size()) return false;
    tables = tables.subspan(header_bytes + codes);
  }
  return tables.empty();
}

// Throws unless the segments of a JPEG end with an end-of-image marker (stb_image may take a file that breaks
// off, for a grey rest) and its Huffman tables are sound. Segments are stepped over by their lengths, because
// a thumbnail inside one has markers of its own.
void check_jpeg(std::span<const stbi_uc> bytes, const fs::path& path) {
  constexpr stbi_uc huffman_tables = 0xC4;
  constexpr stbi_uc end_of_image = 0xD9;
  constexpr stbi_uc start_of_scan = 0xDA;
  std::size_t i = 2;
  while (i + 1 < bytes.size()) {
    const stbi_uc marker = bytes[i + 1];
    if (bytes[i] != 0xFF || marker == 0x00 || marker == 0xFF || (marker >= 0xD0 && marker <= 0xD7)) {
      ++i;  // inside a scan: data, a stuffed 0xFF, a fill byte or a restart marker
      continue;
    }
    if (marker == end_of_image) return;
    if (i + 3 >= bytes.size()) break;
    const std::size_t length = std::size_t{bytes[i + 2]} << 8 | bytes[i + 3];
    if (length < 2 || i + 2 + length > bytes.size()) break;
    if (marker == huffman_tables && !huffman_tables_fit(bytes.subspan(i + 4, length - 2))) {
      fail("{}: does not decode: a damaged Huffman table", path.string());
    }
    i += marker == start_of_scan ? 2 : 2 + length;
  }
  fail("{}: does not decode: the JPEG data breaks off", path.string());
}

}  // namespace

ImageSize encoded_image_size(const std::string& encoded, const fs::path& path) {
  if (encoded.starts_with("\xFF\xD8")) check_jpeg({bytes_of(encoded), encoded.size()}, path);
  int width = 0;
  int height = 0;
  int channels = 0;
  if (stbi_info_from_memory(bytes_of(encoded), static_cast<int>(encoded.size()), &width, &height,
                            &channels) == 0) {
    fail("{}: is not a JPEG or PNG image that can be read ({})", path.string(), stbi_failure_reason());
  }
  if (width < 1 || height < 1 || width > max_side || height > max_side) {
    fail("{}: found an image of {} x {} pixels, expected at most {} x {}", path.string(), height, width,
         max_side, max_side);
  }
  return {height, width};
}

void decode_rgb(const std::string& encoded, const fs::path& path, ImageSize size,
                std::span<std::uint8_t> pixels) {
  const ImageSize found = encoded_image_size(encoded, path);
  if (found != size) {
    fail("{}: found an image of {} x {} pixels, expected {} x {} like the others", path.string(),
         found.height, found.width, size.height, size.width);
  }
  require(pixels.size() == static_cast<std::size_t>(3 * size.height * size.width),
          "decode_rgb: {} bytes do not hold {} x {} x 3", pixels.size(), size.height, size.width);
  int width = 0;
  int height = 0;
  int channels = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> decoded(
      stbi_load_from_memory(bytes_of(encoded), static_cast<int>(encoded.size()), &width, &height, &channels,
                            3),
      stbi_image_free);
  if (!decoded) fail("{}: does not decode: {}", path.string(), stbi_failure_reason());
  std::copy_n(decoded.get(), pixels.size(), pixels.begin());
}

ImageSize image_file_size(const fs::path& path) {
  return encoded_image_size(read_file(path, max_file_bytes), path);
}

void decode_images(const std::vector<LabelledFile>& files, ImageSize size, std::span<std::uint8_t> pixels) {
  const auto count = static_cast<std::int64_t>(files.size());
  const auto image_bytes = static_cast<std::size_t>(3 * size.height * size.width);
  require(pixels.size() == files.size() * image_bytes, "decode_images: {} bytes do not hold {} x {} x {} x 3",
          pixels.size(), files.size(), size.height, size.width);
  std::atomic<std::int64_t> first_bad = std::numeric_limits<std::int64_t>::max();
  std::exception_ptr error;
#pragma omp parallel for schedule(dynamic, 64)
  for (std::int64_t i = 0; i < count; ++i) {
    if (i > first_bad) continue;
    const auto index = static_cast<std::size_t>(i);
    try {  // an exception must not leave the parallel loop
      const fs::path& path = files[index].path;
      decode_rgb(read_file(path, max_file_bytes), path, size,
                 pixels.subspan(index * image_bytes, image_bytes));
    } catch (...) {
#pragma omp critical
      if (i < first_bad) {
        first_bad = i;
        error = std::current_exception();
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace generous
