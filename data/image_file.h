// JPEG and PNG files, decoded by stb_image.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace generous {

struct ImageSize {
  std::int64_t height = 0;
  std::int64_t width = 0;
  bool operator==(const ImageSize&) const = default;
};

/// The size in the header of an encoded image; nothing is decoded. Throws Error that names `path` unless it
/// is a JPEG or PNG of at most 4096 x 4096 pixels.
ImageSize encoded_image_size(const std::string& encoded, const std::filesystem::path& path);

/// Decodes to {height, width, 3} bytes of RGB: greyscale is repeated, alpha dropped, 16 bits become 8. Throws
/// Error that names `path` if it has another size than `size`, is truncated or does not decode.
void decode_rgb(const std::string& encoded, const std::filesystem::path& path, ImageSize size,
                std::span<std::uint8_t> pixels);

struct LabelledFile {
  std::filesystem::path path;
  std::int64_t label = 0;
};

/// Decodes all `files`, in that order, on all OpenMP threads, into `pixels`: RGB images of `size`, one after
/// the other. Of several bad files the error names the first.
void decode_images(const std::vector<LabelledFile>& files, ImageSize size, std::span<std::uint8_t> pixels);

/// The size of the image in one file.
ImageSize image_file_size(const std::filesystem::path& path);

}  // namespace generous
