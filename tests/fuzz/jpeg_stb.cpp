// JPEG files by stb_image, the decoder where there is no other, and the last one of any build.
#include "tests/fuzz/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace generous;
  return fuzz::decode_jpeg(fuzz::text_of(data, size), jpeg_decoders().back());
}
