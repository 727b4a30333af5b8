// PNG: the structure of a file is checked here, zlib inflates, stb_image undoes filters and formats.
#pragma once

#include <cstdint>
#include <span>

#include "data/byte_reader.h"
#include "data/image_size.h"

namespace generous {

bool is_png(Bytes bytes);

/// The size in the header; throws Error for a damaged header.
ImageSize read_png_size(Bytes encoded);

/// Decodes to {height, width, 3} bytes of RGB: greyscale is repeated, alpha dropped, 16 bits become 8. Every
/// checksum is compared, and never more inflated than the header announces. Throws Error for data of another
/// size than `size`, that breaks off or is damaged.
void decode_png(Bytes encoded, ImageSize size, std::span<std::uint8_t> rgb);

/// The bytes of RGB that a byte of a PNG can become: deflate makes at most 1032 bytes of one, and each bit of
/// those may be a pixel.
inline constexpr std::int64_t max_png_expansion = 1032 * 8 * 3;

}  // namespace generous
