#include "data/folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <system_error>

#include "core/command.h"
#include "core/error.h"
#include "core/files.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

std::string small_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

/// The image format that a file's name announces and that is not read, or "".
std::string_view other_format(const fs::path& path) {
  const std::string extension = small_extension(path);
  for (const auto& [ending, format] : {std::pair<std::string_view, std::string_view>{".bmp", "BMP"},
                                       {".webp", "WebP"},
                                       {".gif", "GIF"},
                                       {".tif", "TIFF"},
                                       {".tiff", "TIFF"}})
    if (extension == ending) return format;
  return {};
}

}  // namespace

bool is_image_name(const fs::path& path) {
  const std::string extension = small_extension(path);
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

namespace {

// What is in a folder, sorted by name, without hidden entries (a leading dot). An entry knows its type from
// the listing: asking it costs no system call, which counts in a folder of a hundred thousand images.
std::vector<fs::directory_entry> list_folder(const fs::path& folder) {
  std::vector<fs::directory_entry> entries;
  try {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      if (!entry.path().filename().native().starts_with('.')) entries.push_back(entry);
    }
  } catch (const fs::filesystem_error& error) {
    fail("{}: cannot list this folder: {}", folder.string(), error.code().message());
  }
  std::ranges::sort(entries, {}, [](const fs::directory_entry& entry) { return entry.path().native(); });
  return entries;
}

}  // namespace

bool path_exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::vector<fs::path> list_class_folders(const fs::path& folder) {
  std::vector<fs::path> folders;
  for (const fs::directory_entry& entry : list_folder(folder)) {
    std::error_code error;
    const bool is_folder = entry.is_directory(error);
    if (error) fail("{}: {}", entry.path().string(), error.message());
    if (!is_folder) fail("{}: found a file, expected only class folders here", entry.path().string());
    folders.push_back(entry.path());
  }
  if (folders.empty()) fail("{}: found no class folders, expected at least one", folder.string());
  return folders;
}

std::vector<fs::path> list_images(const fs::path& folder) {
  std::vector<fs::path> images;
  std::error_code ignored;
  for (const fs::directory_entry& entry : list_folder(folder)) {
    if (const std::string_view format = other_format(entry.path()); !format.empty()) {
      fail("{}: is a {} image; JPEG and PNG are read: convert it to PNG, which loses nothing",
           entry.path().string(), format);
    }
    if (!is_image_name(entry.path()) || entry.is_directory(ignored)) {
      fail("{}: found something else, expected only .jpg, .jpeg and .png images in a class folder",
           entry.path().string());
    }
    images.push_back(entry.path());
  }
  if (images.empty()) fail("{}: found no images, expected at least one", folder.string());
  return images;
}

std::size_t file_bytes(const fs::path& path) {
  std::error_code error;
  const bool regular = fs::is_regular_file(path, error);
  const std::uintmax_t bytes = regular ? fs::file_size(path, error) : 0;
  if (error) fail("{}: {}", path.string(), error.message());
  if (!regular) fail("{}: is not a regular file", path.string());
  return static_cast<std::size_t>(bytes);
}

std::vector<std::string> read_lines(const fs::path& path) {
  constexpr std::size_t max_bytes = std::size_t{1} << 26;
  const std::string text = read_file(path, max_bytes);
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    if (lines.back().ends_with('\r')) lines.back().pop_back();
    begin = end + 1;
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

fs::path dataset_root(const fs::path& folder, std::string_view archive_folder) {
  const fs::path inner = folder / archive_folder;
  return file_exists(inner) ? inner : folder;
}

std::string download_command(std::string_view dataset, const fs::path& folder) {
  // Of an installed library's user it is the command of the package.
  const std::string program = find_program("download").value_or("generous download");
  if (folder.empty()) return fmt::format("{} {}", program, dataset);
  return fmt::format("{} {} {}", program, dataset, shell_word(folder.string()));
}

fs::path require_exists(const fs::path& path, std::string_view dataset) {
  if (!file_exists(path))
    fail("{}: no such file or folder; `{}` gets this dataset", path.string(), download_command(dataset));
  return path;
}

}  // namespace generous
