#pragma once

#include <cstdint>

namespace generous {

/// Of an image, in pixels.
struct ImageSize {
  std::int64_t height = 0;
  std::int64_t width = 0;
  bool operator==(const ImageSize&) const = default;
};

}  // namespace generous
