#include "data/image_file.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>

#include "core/error.h"
#include "core/files.h"
#include "data/resize.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t max_file_bytes = std::size_t{1} << 26;
constexpr int max_side = 4096;

Bytes bytes_of(const std::string& encoded) {
  return {reinterpret_cast<const std::uint8_t*>(encoded.data()), encoded.size()};
}

// Calls `read`, and puts the file's name before what it throws.
template <class Read>
auto with_name(const fs::path& path, Read read) {
  try {
    return read();
  } catch (const Error& error) {
    fail("{}: does not decode: {}", path.string(), error.what());
  }
}

}  // namespace

std::string_view image_format(std::string_view encoded) {
  using namespace std::string_view_literals;
  const Bytes bytes(reinterpret_cast<const std::uint8_t*>(encoded.data()), encoded.size());
  if (is_jpeg(bytes)) return "JPEG";
  if (is_png(bytes)) return "PNG";
  if (encoded.starts_with("BM")) return "BMP";
  if (encoded.starts_with("RIFF") && encoded.substr(0, 12).ends_with("WEBP")) return "WebP";
  if (encoded.starts_with("GIF8")) return "GIF";
  if (encoded.starts_with("II*\0"sv) || encoded.starts_with("MM\0*"sv)) return "TIFF";
  return {};
}

ImageSize encoded_image_size(const std::string& encoded, const fs::path& path) {
  const Bytes bytes = bytes_of(encoded);
  const bool jpeg = is_jpeg(bytes);
  if (!jpeg && !is_png(bytes)) {
    const std::string_view format = image_format(encoded);
    if (format.empty()) fail("{}: is not a JPEG or PNG image", path.string());
    fail("{}: is a {} image; JPEG and PNG are read: convert it to PNG, which loses nothing", path.string(),
         format);
  }
  const ImageSize size =
      with_name(path, [&] { return jpeg ? read_jpeg_frame(bytes).size : read_png_size(bytes); });
  if (size.width < 1 || size.height < 1 || size.width > max_side || size.height > max_side) {
    fail("{}: found an image of {} x {} pixels, expected at most {} x {}", path.string(), size.height,
         size.width, max_side, max_side);
  }
  const auto most = std::ssize(encoded) * (jpeg ? max_jpeg_expansion : max_png_expansion);
  if (3 * size.height * size.width > most) {
    fail("{}: its header announces {} x {} pixels, but a file of {} bytes cannot hold them", path.string(),
         size.height, size.width, encoded.size());
  }
  return size;
}

void decode_rgb(const std::string& encoded, const fs::path& path, ImageSize size,
                std::span<std::uint8_t> pixels, const JpegDecoder& jpeg_decoder) {
  const ImageSize found = encoded_image_size(encoded, path);
  if (found != size) {
    throw OtherSize(fmt::format("{}: found an image of {} x {} pixels, expected {} x {} like the others",
                                path.string(), found.height, found.width, size.height, size.width));
  }
  require(pixels.size() == static_cast<std::size_t>(3 * size.height * size.width),
          "decode_rgb: {} bytes do not hold {} x {} x 3", pixels.size(), size.height, size.width);
  const Bytes bytes = bytes_of(encoded);
  with_name(path, [&] {
    if (is_jpeg(bytes)) {
      jpeg_decoder.decode(bytes, read_jpeg_frame(bytes), pixels);
    } else {
      decode_png(bytes, size, pixels);
    }
  });
}

std::vector<std::uint8_t> decode_fitted(const std::string& encoded, const fs::path& path, ImageSize size) {
  const ImageSize found = encoded_image_size(encoded, path);
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(3 * found.height * found.width));
  decode_rgb(encoded, path, found, pixels);
  return fit_rgb(pixels, found, size);
}

ImageSize image_file_size(const fs::path& path) {
  return encoded_image_size(read_file(path, max_file_bytes), path);
}

void decode_images(const std::vector<LabelledFile>& files, ImageSize size, std::span<std::uint8_t> pixels,
                   Sizes sizes) {
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
      const std::string encoded = read_file(path, max_file_bytes);
      const std::span<std::uint8_t> out = pixels.subspan(index * image_bytes, image_bytes);
      if (sizes == Sizes::any)
        std::ranges::copy(decode_fitted(encoded, path, size), out.begin());
      else
        decode_rgb(encoded, path, size, out);
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
