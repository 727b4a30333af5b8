// Reading whole files, and writing files so that a reader sees the old content or the new, never a part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace generous {

/// Whether there is anything at `path`, links followed. Throws Error with the system's reason where that
/// cannot be found out (no permission, links in a circle, a name too long).
bool file_exists(const std::filesystem::path& path);

/// The whole file. Throws Error that names the file and the system's reason, or says that it is no ordinary
/// file (a pipe is never waited for), or that it is larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path, std::size_t max_bytes = std::size_t{1} << 36);

/// Whether a file is on the disk when writing it returns, or only in the system's memory: then a power
/// failure may damage it, which is enough for files that are checked and can be made again, and much faster
/// for large ones.
enum class Durability : std::uint8_t { on_disk, in_memory };

/// Replaces `path` atomically: writes all `parts` one after another to a temporary file in the same folder,
/// fsync, rename, fsync of the folder (the fsyncs only for Durability::on_disk). On any failure (no
/// permission, disk full) the temporary file is removed, what `path` held before is untouched, and Error
/// names the file and the system's reason. A folder, a device or a pipe at `path` is an Error; a link there
/// is replaced, and the file it points to is untouched.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::string_view> parts,
                           Durability durability = Durability::on_disk);
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// Removes the temporary files of write_file_atomically that killed processes left in `folder`, and returns
/// how many; those being written, by whichever process on whichever host, stay. Never throws: what cannot be
/// removed stays.
std::size_t remove_abandoned_files(const std::filesystem::path& folder);

/// Creates the folder and its parents if need be, and checks that files can be created in it. Throws Error
/// that names it and the reason.
void create_writable_folder(const std::filesystem::path& path);

}  // namespace generous
