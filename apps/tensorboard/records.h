// The container of TensorBoard's event files: records, one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace generous {

/// CRC-32C, Castagnoli's polynomial (RFC 3720, appendix B.4): 0xE3069283 of "123456789".
std::uint32_t crc32c(std::string_view bytes);

/// `data` as a record, all numbers little-endian: its length (8 bytes), a checksum of these (4), `data`, a
/// checksum of that (4). Each checksum is a CRC-32C, turned right by 15 bits, plus 0xA282EAD8.
std::string record_of(std::string_view data);

/// What a file of records holds.
struct Records {
  std::vector<std::string_view> data;  ///< of each whole record; they point into the file's content
  bool whole = true;                   ///< false: behind them comes what is no record
};

/// Reads up to the first thing that is no record: a cut end, or damage. Never throws for any content.
Records read_records(std::string_view content);

}  // namespace generous
