#include "data/png_writer.h"

#include <new>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image_write.h>
#pragma GCC diagnostic pop

namespace generous {

namespace {

void append(void* encoded, void* bytes, int size) {
  static_cast<std::string*>(encoded)->append(static_cast<const char*>(bytes), static_cast<std::size_t>(size));
}

}  // namespace

std::string encode_png(const Tensor& image) {
  const Shape& shape = image.shape();
  require(shape.rank() == 3 && image.numel() > 0 && (shape[2] == 1 || shape[2] == 3),
          "encode_png: expected an image {{H, W, 1 or 3}}, found {}", shape.str());
  const auto height = static_cast<int>(shape[0]);
  const auto width = static_cast<int>(shape[1]);
  const auto channels = static_cast<int>(shape[2]);
  std::string encoded;
  const int done = stbi_write_png_to_func(append, &encoded, width, height, channels,
                                          image.data<std::uint8_t>().data(), width * channels);
  if (done == 0) throw std::bad_alloc();  // the only thing that it reports
  return encoded;
}

}  // namespace generous
