// JPEG files by the decoder that the datasets' readers use: libjpeg-turbo where it was found.
#include "tests/fuzz/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace generous;
  return fuzz::decode_jpeg(fuzz::text_of(data, size), jpeg_decoders().front());
}
