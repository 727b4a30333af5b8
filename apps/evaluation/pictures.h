// Pictures of any size as a network's images, and its answers in words.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "data/normalisation.h"

namespace generous {

/// What paths name: files as they are; of a folder all .jpg, .jpeg and .png in it and below it, sorted.
/// Throws Error for what is not there and for a folder without any.
std::vector<std::filesystem::path> list_pictures(const std::vector<std::string>& paths);

/// Pictures as f32 {N, H, W, C} for images {H, W, C} of 1 or 3 channels: made to fit (data/resize.h), in grey
/// for one channel, normalised. Throws Error that names a file that does not decode.
Tensor read_pictures(std::span<const std::filesystem::path> files, const Shape& image,
                     const Normalisation& normalisation);

/// "cat 93.12 %, dog 5.00 %, ...": the `count` most probable classes by the softmax of an image's logits. A
/// class without a name is called by its number.
std::string words_of(std::span<const float> logits, const std::vector<std::string>& classes,
                     std::size_t count);

}  // namespace generous
