// Parts of a training set: images held out for validation, and fewer images to learn from. Every class gives
// its share. Which images these are is a function of labels and seed alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace generous {

/// The indices, ascending, of `count` images, of each class in proportion to its size (the largest remainders
/// are rounded up, of equal ones those of the lower classes), but never the last image of a class. Throws
/// Error where so many cannot be held out.
std::vector<std::int64_t> held_out_images(std::span<const std::int64_t> labels, std::int64_t classes,
                                          std::int64_t count, std::uint64_t seed);

/// The indices, ascending, of `percent` in (0, 100] of the images of each class, rounded, at least one.
std::vector<std::int64_t> subset_images(std::span<const std::int64_t> labels, std::int64_t classes,
                                        double percent, std::uint64_t seed);

/// Those of [0, images) that are not among `indices`, which ascend.
std::vector<std::int64_t> other_images(std::span<const std::int64_t> indices, std::int64_t images);

/// The dataset of these images, in this order, with all its classes.
Dataset select_images(const Dataset& dataset, std::span<const std::int64_t> indices);

}  // namespace generous
