#include "core/io/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/printable.h"

namespace generous {
namespace {

constexpr std::string_view end_signature = "PK\5\6";
constexpr std::string_view end64_signature = "PK\6\6";
constexpr std::string_view locator_signature = "PK\6\7";
constexpr std::string_view listed_signature = "PK\1\2";
constexpr std::string_view local_signature = "PK\3\4";
constexpr std::uint64_t end_bytes = 22;
constexpr std::uint64_t locator_bytes = 20;
constexpr std::uint64_t end64_bytes = 56;
constexpr std::uint64_t listed_bytes = 46;
constexpr std::uint64_t local_bytes = 30;
constexpr std::uint32_t elsewhere = 0xffffffff;  // a number that the zip64 record has
/// Deflate packs no more than this into a byte.
constexpr std::uint64_t most_inflated = 1032;

[[noreturn]] void damaged(const std::string& where, std::string_view what) {
  fail("{}: damaged zip archive: {}", where, what);
}

/// A part of the archive; throws Error unless it is all there.
std::string_view part(std::string_view archive, std::uint64_t begin, std::uint64_t size,
                      const std::string& where) {
  if (begin > archive.size() || size > archive.size() - begin) damaged(where, "it ends early");
  return archive.substr(begin, size);
}

/// The little-endian number at `offset` of a record that is long enough.
template <class T>
T number(std::string_view record, std::size_t offset) {
  T value;
  std::memcpy(&value, record.substr(offset, sizeof(T)).data(), sizeof(T));
  return value;
}

struct Directory {
  std::uint64_t begin;
  std::uint64_t entries;
};

/// Where the list of files is, by the record at the archive's end, behind which there may be a comment.
Directory find_directory(std::string_view archive, const std::string& where) {
  const std::size_t end = archive.rfind(end_signature);
  if (end == std::string_view::npos || archive.size() - end < end_bytes) damaged(where, "its end is missing");
  const std::string_view record = archive.substr(end, end_bytes);
  const Directory directory{.begin = number<std::uint32_t>(record, 16),
                            .entries = number<std::uint16_t>(record, 10)};
  const bool zip64 =
      end >= locator_bytes && archive.substr(end - locator_bytes).starts_with(locator_signature);
  if (!zip64) return directory;
  const auto place = number<std::uint64_t>(archive.substr(end - locator_bytes, locator_bytes), 8);
  const std::string_view record64 = part(archive, place, end64_bytes, where);
  if (!record64.starts_with(end64_signature)) damaged(where, "its zip64 end is missing");
  return {.begin = number<std::uint64_t>(record64, 48), .entries = number<std::uint64_t>(record64, 32)};
}

/// Fills in what the entry's zip64 field has: in this order those numbers that do not fit their usual places.
void read_zip64(ZipFile::Entry& entry, std::string_view fields, const std::string& where) {
  std::string_view found;
  while (fields.size() >= 4 && found.empty()) {
    const auto kind = number<std::uint16_t>(fields, 0);
    const std::string_view field = part(fields, 4, number<std::uint16_t>(fields, 2), where);
    if (kind == 1) found = field;
    fields.remove_prefix(4 + field.size());
  }
  for (std::uint64_t* value : {&entry.size, &entry.stored_size, &entry.header}) {
    if (*value != elsewhere || found.size() < sizeof(*value)) continue;
    *value = number<std::uint64_t>(found, 0);
    found.remove_prefix(sizeof(*value));
  }
}

std::string inflate_all(std::string_view packed, std::uint64_t size, const std::string& where) {
  std::string content(size, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw std::bad_alloc();  // raw: without zlib's own header
  constexpr std::uint64_t most = std::numeric_limits<uInt>::max();
  int status = Z_OK;
  std::uint64_t read = 0;
  while (status == Z_OK) {
    const auto in = static_cast<uInt>(std::min<std::uint64_t>(packed.size() - read, most));
    const auto out = static_cast<uInt>(std::min<std::uint64_t>(size - stream.total_out, most));
    // zlib promises to read alone, but its type does not say so.
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + read));
    stream.next_out = reinterpret_cast<Bytef*>(content.data() + stream.total_out);
    stream.avail_in = in;
    stream.avail_out = out;
    status = ::inflate(&stream, Z_NO_FLUSH);
    read += in - stream.avail_in;
  }
  const bool whole = status == Z_STREAM_END && stream.total_out == size && read == packed.size();
  inflateEnd(&stream);
  if (!whole) damaged(where, "its packed bytes make no sense");
  return content;
}

}  // namespace

ZipFile::ZipFile(std::string_view archive, const std::string& where) : archive_(archive), where_(where) {
  const Directory directory = find_directory(archive, where);
  std::uint64_t position = directory.begin;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    const std::string_view record = part(archive, position, listed_bytes, where);
    if (!record.starts_with(listed_signature))
      damaged(where, "its list of files is shorter than its end says");
    const auto name_size = number<std::uint16_t>(record, 28);
    const auto fields_size = number<std::uint16_t>(record, 30);
    Entry entry{.header = number<std::uint32_t>(record, 42),
                .stored_size = number<std::uint32_t>(record, 20),
                .size = number<std::uint32_t>(record, 24),
                .checksum = number<std::uint32_t>(record, 16),
                .method = number<std::uint16_t>(record, 10),
                .encrypted = (number<std::uint16_t>(record, 8) & 1) != 0};
    const std::string_view name = part(archive, position + listed_bytes, name_size, where);
    read_zip64(entry, part(archive, position + listed_bytes + name_size, fields_size, where), where);
    if (!entries_.emplace(name, entry).second) damaged(where, "two of its files have the same name");
    position += listed_bytes + name_size + fields_size + number<std::uint16_t>(record, 32);
  }
}

std::string ZipFile::read(std::string_view name) const {
  const auto found = entries_.find(name);
  require(found != entries_.end(), "{}: the zip archive has no file {}", where_, printable(name));
  const Entry& entry = found->second;
  const std::string where = fmt::format("{}: {}", where_, printable(name));
  require(!entry.encrypted, "{}: encrypted", where);
  require(entry.method == 0 || entry.method == 8,
          "{}: packed by method {}; stored and deflated files are read", where, entry.method);
  const std::string_view local = part(archive_, entry.header, local_bytes, where);
  if (!local.starts_with(local_signature)) damaged(where, "it is not where the list of files says");
  const std::uint64_t begin =
      entry.header + local_bytes + number<std::uint16_t>(local, 26) + number<std::uint16_t>(local, 28);
  const std::string_view stored = part(archive_, begin, entry.stored_size, where);
  const bool possible =
      entry.method == 0 ? entry.size == entry.stored_size : entry.size / most_inflated <= entry.stored_size;
  if (!possible) damaged(where, "its sizes do not fit each other");
  std::string content = entry.method == 0 ? std::string(stored) : inflate_all(stored, entry.size, where);
  if (::crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()) != entry.checksum)
    damaged(where, "its checksum differs (or it was saved without checksums)");
  return content;
}

}  // namespace generous
