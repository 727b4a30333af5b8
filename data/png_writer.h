// Pictures as PNG files, by stb_image_write.
#pragma once

#include <string>

#include "core/tensor.h"

namespace generous {

/// The file of an image u8 {H, W, C} on the host: grey for one channel, RGB for three. Throws Error for
/// others.
std::string encode_png(const Tensor& image);

}  // namespace generous
