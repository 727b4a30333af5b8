// Reading a file's bytes front to back without ever passing their end.
#pragma once

#include <cstdint>
#include <span>

#include "core/error.h"

namespace generous {

using Bytes = std::span<const std::uint8_t>;

/// Numbers are big-endian. What goes beyond the last byte throws Error.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) : rest_(bytes) {}

  Bytes rest() const { return rest_; }
  Bytes take(std::size_t count) {
    if (count > rest_.size()) fail("the file breaks off");
    const Bytes taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  std::uint8_t u8() { return take(1)[0]; }
  std::uint16_t u16() {
    const Bytes b = take(2);
    return static_cast<std::uint16_t>(b[0] << 8 | b[1]);
  }
  std::uint32_t u32() {
    const std::uint32_t high = u16();
    return high << 16 | u16();
  }

 private:
  Bytes rest_;
};

}  // namespace generous
