#include "apps/tensorboard/records.h"

#include <array>
#include <bit>

namespace generous {

namespace {

constexpr std::size_t length_bytes = 8;
constexpr std::size_t checksum_bytes = 4;

/// The remainder of each byte: bits in reversed order, as is the polynomial.
constexpr std::array<std::uint32_t, 256> remainders() {
  constexpr std::uint32_t polynomial = 0x82F63B78;
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) rest = rest >> 1 ^ ((rest & 1) != 0 ? polynomial : 0);
    table[byte] = rest;
  }
  return table;
}

std::string little_endian(std::uint64_t number, std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i) text.push_back(static_cast<char>(number >> 8 * i & 0xFF));
  return text;
}

/// Checksums of data that hold checksums would be weak: so they are changed.
std::string checksum(std::string_view bytes) {
  return little_endian(std::rotr(crc32c(bytes), 15) + 0xA282EAD8, checksum_bytes);
}

std::uint64_t number_of(std::string_view bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) number = number << 8 | static_cast<unsigned char>(bytes[i]);
  return number;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> table = remainders();
  std::uint32_t rest = ~0U;
  for (const char byte : bytes) rest = rest >> 8 ^ table[(rest ^ static_cast<unsigned char>(byte)) & 0xFF];
  return ~rest;
}

std::string record_of(std::string_view data) {
  const std::string length = little_endian(data.size(), length_bytes);
  return (length + checksum(length)).append(data) + checksum(data);
}

Records read_records(std::string_view content) {
  constexpr std::size_t header_bytes = length_bytes + checksum_bytes;
  Records records;
  while (content.size() >= header_bytes + checksum_bytes) {
    const std::string_view length = content.substr(0, length_bytes);
    if (content.substr(length_bytes, checksum_bytes) != checksum(length)) break;
    const std::uint64_t bytes = number_of(length);
    if (bytes > content.size() - header_bytes - checksum_bytes) break;
    const std::string_view data = content.substr(header_bytes, bytes);
    if (content.substr(header_bytes + bytes, checksum_bytes) != checksum(data)) break;
    records.data.push_back(data);
    content.remove_prefix(header_bytes + bytes + checksum_bytes);
  }
  records.whole = content.empty();
  return records;
}

}  // namespace generous
