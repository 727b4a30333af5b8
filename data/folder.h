// Looking into dataset folders, with errors that say how to get what is missing.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace generous {

/// Whether there is such a file or folder; no when that cannot be found out (file_exists of core/files.h
/// throws then).
bool path_exists(const std::filesystem::path& path);

/// The folders in `folder`, sorted by name, without hidden entries (a leading dot). Throws Error with the
/// system's reason, for anything else that is there, and when there is none.
std::vector<std::filesystem::path> list_class_folders(const std::filesystem::path& folder);

/// Whether a file's name ends in .jpg, .jpeg or .png, in any case.
bool is_image_name(const std::filesystem::path& path);

/// The .jpg, .jpeg and .png files in `folder` (any case), sorted by name, without hidden entries. Throws
/// Error like list_class_folders.
std::vector<std::filesystem::path> list_images(const std::filesystem::path& folder);

/// The size of a regular file; throws Error for anything else.
std::size_t file_bytes(const std::filesystem::path& path);

/// The lines of a text file, without line ends and empty last lines.
std::vector<std::string> read_lines(const std::filesystem::path& path);

/// `folder / archive_folder` if it exists, otherwise `folder`.
std::filesystem::path dataset_root(const std::filesystem::path& folder, std::string_view archive_folder);

/// The command that gets a dataset, as it can be pasted: into `folder`, or for "" where programs look for it.
std::string download_command(std::string_view dataset, const std::filesystem::path& folder = {});

/// Returns `path` if it exists; otherwise throws Error that names it and the command that gets `dataset`.
std::filesystem::path require_exists(const std::filesystem::path& path, std::string_view dataset);

}  // namespace generous
