// Decoded images are kept on disk between runs: decoding a hundred thousand JPEG files takes long, reading
// their pixels takes a fraction of a second.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "data/image_file.h"

namespace generous {

/// The images of `files`, all below the dataset's folder `root`, with their labels. Read from the cache of
/// this `split` if it was made of exactly these files (paths, sizes, modification times) by the same JPEG
/// decoder and is undamaged;
/// otherwise decoded as by decode_images, and the cache is written anew, atomically.
///
/// The cache is root/.generous_cache/{train,test}.images or, where that cannot be written,
/// $XDG_CACHE_HOME/generous/HASH_OF_ROOT/ (without the variable: ~/.cache/generous/...); with
/// GENEROUS_CACHE_DIR in the environment only $GENEROUS_CACHE_DIR/HASH_OF_ROOT/. It may be removed at any
/// time. A cache that cannot be used or written costs time and a note on standard error, never an Error; what
/// decode_images throws for bad images is thrown, and Error for files that are not there, that are no regular
/// files, or that cannot hold images of this size.
Dataset load_decoded(const std::filesystem::path& root, Split split, const std::vector<LabelledFile>& files,
                     std::vector<std::string> classes, ImageSize size, Sizes sizes = Sizes::equal);

/// Whether a file of this content is such a cache, of any version.
bool is_decoded_cache(std::string_view content);

}  // namespace generous
