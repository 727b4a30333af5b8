#include "data/decoded_cache.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <system_error>

#include "core/console.h"
#include "core/error.h"
#include "core/files.h"
#include "data/folder.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

// A cache file is a manifest, the pixels of all images, and a checksum of every block of pixels. The manifest
// names everything that the pixels were made of, so a cache fits exactly if it begins with the bytes of the
// manifest that would be written now: nothing in it is ever interpreted.

constexpr std::string_view manifest_start = "generous decoded images, version ";
constexpr std::size_t block_bytes = std::size_t{1} << 22;

using Checksum = std::uint32_t;

// What the system knows of each file. Throws Error that names the first that is not there or no regular file.
std::vector<struct stat> look_at(const std::vector<LabelledFile>& files) {
  std::vector<struct stat> states(files.size());
  const auto regular = [&](std::size_t i) {
    return ::stat(files[i].path.c_str(), &states[i]) == 0 && S_ISREG(states[i].st_mode);
  };
  bool all = true;
#pragma omp parallel for reduction(&& : all)
  for (std::size_t i = 0; i < files.size(); ++i) all = regular(i) && all;
  for (std::size_t i = 0; !all && i < files.size(); ++i) {
    errno = 0;
    if (regular(i)) continue;
    const int error = errno;
    const std::string path = files[i].path.string();
    if (error != 0) fail("cannot read {}: {}", path, std::system_category().message(error));
    fail("cannot read {}: it is not a regular file", path);
  }
  return states;
}

// Before memory is taken for the pixels.
void check_can_hold(const fs::path& root, const std::vector<struct stat>& states, ImageSize size) {
  std::int64_t bytes = 0;
  for (const struct stat& state : states) bytes += state.st_size;
  if (3 * size.height * size.width * std::ssize(states) > bytes * max_expansion) {
    fail("{}: {} images of {} x {} pixels cannot be in files of {} bytes", root.string(), states.size(),
         size.height, size.width, bytes);
  }
}

std::string make_manifest(const fs::path& root, const std::vector<LabelledFile>& files,
                          const std::vector<struct stat>& states, ImageSize size, Sizes sizes) {
  std::string manifest =
      fmt::format("{}2, JPEG by {}: {} of {} x {} x 3{}\n", manifest_start, jpeg_decoders().front().name,
                  files.size(), size.height, size.width, sizes == Sizes::any ? ", made to fit" : "");
  for (std::size_t i = 0; i < files.size(); ++i) {
    std::string_view name = std::string_view(files[i].path.native()).substr(root.native().size());
    name.remove_prefix(std::min(name.find_first_not_of('/'), name.size()));
    // A zero byte ends the name because a name may contain anything else.
    fmt::format_to(std::back_inserter(manifest), "{}{}{} {}.{:09}\n", name, '\0', states[i].st_size,
                   states[i].st_mtim.tv_sec, states[i].st_mtim.tv_nsec);
  }
  return manifest;
}

std::span<std::uint8_t> block(std::span<std::uint8_t> pixels, std::int64_t index) {
  const std::size_t begin = static_cast<std::size_t>(index) * block_bytes;
  return pixels.subspan(begin, std::min(block_bytes, pixels.size() - begin));
}

std::int64_t count_blocks(std::span<std::uint8_t> pixels) {
  return static_cast<std::int64_t>((pixels.size() + block_bytes - 1) / block_bytes);
}

Checksum checksum(std::span<const std::uint8_t> bytes) {
  return static_cast<Checksum>(crc32(0, bytes.data(), static_cast<uInt>(bytes.size())));
}

// Bytes [begin, begin + into.size()) of a file; false if they cannot be read.
template <class T>
bool read_part(const fs::path& path, std::size_t begin, std::span<T> into) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(begin));
  const auto bytes = static_cast<std::streamsize>(into.size_bytes());
  return file.read(reinterpret_cast<char*>(into.data()), bytes).gcount() == bytes;
}

// Fills `pixels`; false, with anything in them, unless the cache fits and is undamaged.
bool read_cache(const fs::path& path, const std::string& manifest, std::span<std::uint8_t> pixels) {
  const std::int64_t blocks = count_blocks(pixels);
  std::vector<Checksum> checksums(static_cast<std::size_t>(blocks));
  std::error_code error;
  const std::size_t expected_bytes =
      manifest.size() + pixels.size() + std::span<Checksum>(checksums).size_bytes();
  if (!fs::is_regular_file(path, error) || fs::file_size(path, error) != expected_bytes) return false;
  std::string found(manifest.size(), '\0');
  if (!read_part(path, 0, std::span<char>(found)) || found != manifest) return false;
  if (!read_part(path, manifest.size() + pixels.size(), std::span<Checksum>(checksums))) return false;
  bool sound = true;
#pragma omp parallel for reduction(&& : sound)
  for (std::int64_t i = 0; i < blocks; ++i) {
    const std::span<std::uint8_t> part = block(pixels, i);
    sound = sound && read_part(path, manifest.size() + static_cast<std::size_t>(i) * block_bytes, part) &&
            checksum(part) == checksums[static_cast<std::size_t>(i)];
  }
  return sound;
}

void write_cache(const fs::path& path, const std::string& manifest, std::span<std::uint8_t> pixels) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) fail("cannot create the folder {}: {}", path.parent_path().string(), error.message());
  const std::int64_t blocks = count_blocks(pixels);
  std::vector<Checksum> checksums(static_cast<std::size_t>(blocks));
#pragma omp parallel for
  for (std::int64_t i = 0; i < blocks; ++i)
    checksums[static_cast<std::size_t>(i)] = checksum(block(pixels, i));
  const auto text_of = [](const auto& bytes) {
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), std::span(bytes).size_bytes());
  };
  const std::string_view parts[] = {manifest, text_of(pixels), text_of(checksums)};
  write_file_atomically(path, parts, Durability::in_memory);
}

// The user's folder for caches; empty where the environment names none.
fs::path user_caches() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache != nullptr && *cache == '/') return fs::path(cache) / "generous";
  if (home != nullptr && *home == '/') return fs::path(home) / ".cache" / "generous";
  return {};
}

// Where the cache of a split may be: in the folder that was asked for, otherwise beside the images, then in
// the user's folder.
std::vector<fs::path> cache_paths(const fs::path& root, Split split) {
  const fs::path name = split == Split::train ? "train.images" : "test.images";
  const char* asked = std::getenv("GENEROUS_CACHE_DIR");
  const bool elsewhere = asked != nullptr && *asked != '\0';
  std::vector<fs::path> paths;
  if (!elsewhere) paths.push_back(root / ".generous_cache" / name);
  std::error_code error;
  const std::string absolute = fs::weakly_canonical(root, error).string();
  const fs::path folder = elsewhere ? fs::path(asked) : user_caches();
  if (!folder.empty() && !error) {
    const std::span bytes(reinterpret_cast<const std::uint8_t*>(absolute.data()), absolute.size());
    paths.push_back(folder / fmt::format("{:08x}", checksum(bytes)) / name);
  }
  return paths;
}

void note(const std::string& text) { print_error(fmt::format("note: {}", text)); }

}  // namespace

bool is_decoded_cache(std::string_view content) { return content.starts_with(manifest_start); }

Dataset load_decoded(const fs::path& root, Split split, const std::vector<LabelledFile>& files,
                     std::vector<std::string> classes, ImageSize size, Sizes sizes) {
  // Before decoding: an image that changes meanwhile makes the cache unfit.
  const std::vector<struct stat> states = look_at(files);
  if (sizes == Sizes::equal) check_can_hold(root, states, size);
  const std::string manifest = make_manifest(root, files, states, size, sizes);

  Dataset dataset;
  dataset.classes = std::move(classes);
  for (const LabelledFile& file : files) dataset.labels.push_back(file.label);
  dataset.images = Tensor::empty({std::ssize(files), size.height, size.width, 3}, DType::u8);
  const std::span<std::uint8_t> pixels = dataset.images.data<std::uint8_t>();

  const std::vector<fs::path> paths = cache_paths(root, split);
  std::string unfit;
  for (const fs::path& path : paths) {
    remove_abandoned_files(path.parent_path());
    if (!path_exists(path)) continue;
    if (read_cache(path, manifest, pixels)) return dataset;
    unfit = path.string();
  }
  if (!unfit.empty()) note(fmt::format("{} is out of date or damaged: decoding the images again", unfit));

  decode_images(files, size, pixels, sizes);

  std::string reason;
  for (const fs::path& path : paths) {
    try {
      write_cache(path, manifest, pixels);
      return dataset;
    } catch (const std::exception& error) {  // no permission, a full disk
      reason = error.what();
    }
  }
  if (!reason.empty()) note(fmt::format("the next start decodes the images again: {}", reason));
  return dataset;
}

}  // namespace generous
