// The zip file format, as far as archives of numbers use it: stored and deflated files, zip64, no encryption.
// (Format definition: PKWARE's APPNOTE.)
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace generous {

/// The files of an archive in memory, which has to outlive this.
class ZipFile {
 public:
  /// Reads the list of files. Throws Error that begins with `where` for a damaged archive: sizes and places
  /// are checked against the archive before anything is believed.
  ZipFile(std::string_view archive, const std::string& where);

  struct Entry {
    std::uint64_t header;  ///< where its own header begins in the archive
    std::uint64_t stored_size;
    std::uint64_t size;
    std::uint32_t checksum;  ///< CRC-32
    std::uint16_t method;    ///< 0: stored, 8: deflated
    bool encrypted;
  };
  const std::map<std::string, Entry, std::less<>>& entries() const { return entries_; }
  /// The content of a file. Throws Error for one that is not there, encrypted, packed in another way, or
  /// whose size or checksum is not as listed.
  std::string read(std::string_view name) const;

 private:
  std::string_view archive_;
  std::string where_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace generous
