// JPEG by libjpeg-turbo.
#include <turbojpeg.h>

#include <memory>

#include "data/jpeg.h"

namespace generous {

namespace {

// 255 - a times 255 - b of inverted inks, as a fraction of 255, rounded.
std::uint8_t product(std::uint8_t a, std::uint8_t b) {
  return static_cast<std::uint8_t>((a * b + 127) / 255);
}

}  // namespace

void decode_jpeg_turbo(Bytes encoded, const JpegFrame& frame, std::span<std::uint8_t> rgb) {
  const std::unique_ptr<void, int (*)(tjhandle)> decompressor(tjInitDecompress(), tjDestroy);
  if (!decompressor) fail("libjpeg-turbo cannot start: {}", tjGetErrorStr2(nullptr));
  const auto width = static_cast<int>(frame.size.width);
  const auto height = static_cast<int>(frame.size.height);
  const auto decode_to = [&](TJPF format, std::span<std::uint8_t> pixels) {
    require(pixels.size() == static_cast<std::size_t>(frame.size.height * frame.size.width) *
                                 static_cast<std::size_t>(tjPixelSize[format]),
            "decode_jpeg: {} bytes do not hold {} x {} pixels", pixels.size(), height, width);
    // Warnings are what it has for data that breaks off or is damaged; it would go on, with grey for the
    // rest.
    constexpr int flags = TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
    if (tjDecompress2(decompressor.get(), encoded.data(), encoded.size(), pixels.data(), width, 0, height,
                      format, flags) != 0) {
      fail("{}", tjGetErrorStr2(decompressor.get()));
    }
  };
  if (frame.components.size() != 4) return decode_to(TJPF_RGB, rgb);

  // Four inks are stored inverted, as Adobe's programs do and everyone after them: 255 is none.
  std::vector<std::uint8_t> inks(rgb.size() / 3 * 4);
  decode_to(TJPF_CMYK, inks);
  for (std::size_t i = 0; i < rgb.size() / 3; ++i) {
    for (std::size_t c = 0; c < 3; ++c) rgb[3 * i + c] = product(inks[4 * i + c], inks[4 * i + 3]);
  }
}

}  // namespace generous
