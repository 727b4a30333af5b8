#include "apps/evaluation/pictures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "core/files.h"
#include "data/augment.h"
#include "data/folder.h"
#include "data/image_file.h"
#include "data/resize.h"

namespace generous {

namespace fs = std::filesystem;

std::vector<fs::path> list_pictures(const std::vector<std::string>& paths) {
  std::vector<fs::path> files;
  for (const std::string& path : paths) {
    require(file_exists(path), "{}: no such file or folder", path);
    if (!fs::is_directory(path)) {
      files.emplace_back(path);
      continue;
    }
    std::vector<fs::path> inside;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path))
      if (is_image_name(entry.path()) && entry.is_regular_file()) inside.push_back(entry.path());
    require(!inside.empty(), "{}: found no pictures, expected .jpg, .jpeg or .png files in it or below it",
            path);
    std::ranges::sort(inside);
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

namespace {

/// One picture into `out`, {H, W, C}.
void read_picture(const fs::path& file, const Shape& image, const NormaliseTable& table,
                  std::span<float> out) {
  constexpr std::size_t largest_file = std::size_t{1} << 26;
  std::vector<std::uint8_t> pixels = decode_fitted(read_file(file, largest_file), file, {image[0], image[1]});
  const auto channels = static_cast<std::size_t>(image[2]);
  if (channels == 1) pixels = grey_of(pixels);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = table[i % channels * 256 + pixels[i]];
}

}  // namespace

Tensor read_pictures(std::span<const fs::path> files, const Shape& image,
                     const Normalisation& normalisation) {
  require(image.rank() == 3 && (image[2] == 1 || image[2] == 3),
          "pictures: a network for images {}, expected {{H, W, C}} of 1 or 3 channels", image.str());
  const NormaliseTable table = make_normalise_table(normalisation);
  const auto count = static_cast<std::int64_t>(files.size());
  const auto size = static_cast<std::size_t>(image.numel());
  Tensor images = Tensor::empty({count, image[0], image[1], image[2]});
  const std::span<float> out = images.data<float>();
  std::atomic<std::int64_t> first_bad = std::numeric_limits<std::int64_t>::max();
  std::exception_ptr error;
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t i = 0; i < count; ++i) {
    const auto index = static_cast<std::size_t>(i);
    try {
      if (i < first_bad) read_picture(files[index], image, table, out.subspan(index * size, size));
    } catch (...) {
#pragma omp critical(first_bad_picture)
      if (i < first_bad) {
        first_bad = i;
        error = std::current_exception();
      }
    }
  }
  if (error) std::rethrow_exception(error);
  return images;
}

std::string words_of(std::span<const float> logits, const std::vector<std::string>& classes,
                     std::size_t count) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  const float largest = logits[order[0]];
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit - largest));
  std::vector<std::string> words;
  for (const std::size_t i : std::span(order).first(std::min(count, order.size())))
    words.push_back(fmt::format("{} {:.2f} %", i < classes.size() ? classes[i] : fmt::format("class {}", i),
                                100.0 * std::exp(static_cast<double>(logits[i] - largest)) / sum));
  return fmt::format("{}", fmt::join(words, ", "));
}

}  // namespace generous
