// Files of images, JPEG (data/jpeg.h) or PNG (data/png.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "data/image_size.h"
#include "data/jpeg.h"
#include "data/png.h"

namespace generous {

/// JPEG, PNG, BMP, WebP, GIF or TIFF, by the first bytes; "" for what is none of these. Only JPEG and PNG are
/// read.
std::string_view image_format(std::string_view encoded);

/// The size in the header of an encoded image; nothing is decoded. Throws Error that names `path` unless it
/// is a JPEG or PNG of at most 4096 x 4096 pixels, and of no more than its bytes can hold.
ImageSize encoded_image_size(const std::string& encoded, const std::filesystem::path& path);

/// Thrown for an image of another size than it was to have.
class OtherSize : public Error {
 public:
  using Error::Error;
};

/// Decodes to {height, width, 3} bytes of RGB: greyscale is repeated, alpha dropped, 16 bits become 8. Throws
/// OtherSize if it has another size than `size`, and Error if it is truncated or does not decode; both name
/// `path`.
void decode_rgb(const std::string& encoded, const std::filesystem::path& path, ImageSize size,
                std::span<std::uint8_t> pixels, const JpegDecoder& jpeg_decoder = jpeg_decoders().front());

/// The same for an image of any size up to 4096 x 4096, which is made to fit `size` (fit_rgb).
std::vector<std::uint8_t> decode_fitted(const std::string& encoded, const std::filesystem::path& path,
                                        ImageSize size);

/// The bytes of RGB that a byte of an image file can become at most.
inline constexpr std::int64_t max_expansion = std::max(max_jpeg_expansion, max_png_expansion);

struct LabelledFile {
  std::filesystem::path path;
  std::int64_t label = 0;
};

/// What sizes images may have: all the same one, or any, from which they are made to fit (decode_fitted).
enum class Sizes : std::uint8_t { equal, any };

/// Decodes all `files`, in that order, on all OpenMP threads, into `pixels`: RGB images of `size`, one after
/// the other. Of several bad files the error names the first.
void decode_images(const std::vector<LabelledFile>& files, ImageSize size, std::span<std::uint8_t> pixels,
                   Sizes sizes = Sizes::equal);

/// The size of the image in one file.
ImageSize image_file_size(const std::filesystem::path& path);

}  // namespace generous
