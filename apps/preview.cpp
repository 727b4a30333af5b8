// A picture of what training sees: images of a dataset, and what augmentation makes of them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/evaluation/feature_sample.h"
#include "apps/training/batches.h"
#include "apps/training/images.h"
#include "apps/training/program.h"
#include "core/console.h"
#include "core/counted.h"
#include "core/error.h"
#include "core/files.h"
#include "data/png_writer.h"
#include "data/subset.h"

namespace generous {
namespace {

constexpr std::int64_t gap = 2;  // white pixels between images

struct Settings {
  ImageSettings images;
  TrainingBatchSettings batches;
  std::int64_t rows = 8;
  std::int64_t columns = 8;
  std::int64_t seed = 0;
  bool second_view = false;
  std::string output = "preview.png";

  void declare(Options& options) {
    images.positional = true;
    images.declare(options);
    batches.declare(options);
    options.group("sheet");
    options.add("rows", rows, {.help = "images", .min = 1, .max = 100});
    options.add("columns", columns,
                {.help = "the image as it is, and behind it what it is in so many epochs, less one",
                 .min = 2,
                 .max = 100});
    options.add("second_view", second_view, {.help = "the strong view of the methods mlkd and crld"});
    options.add("seed", seed, {.help = "of augmentation", .min = 0, .max = 9007199254740991});
    options.add("output", output, {.help = "the sheet (.png)"});
  }
};

/// One image of a sheet u8 {H, W, C}: pixels {h, w, C} at this row and column of images.
void put(Tensor& sheet, std::span<const std::uint8_t> pixels, const Shape& image, std::int64_t row,
         std::int64_t column) {
  const auto out = sheet.data<std::uint8_t>();
  const std::int64_t top = gap + row * (image[0] + gap);
  const std::int64_t left = gap + column * (image[1] + gap);
  const auto line = static_cast<std::size_t>(image[1] * image[2]);
  for (std::int64_t y = 0; y < image[0]; ++y)
    std::ranges::copy(pixels.subspan(static_cast<std::size_t>(y) * line, line),
                      out.begin() + ((top + y) * sheet.size(1) + left) * image[2]);
}

/// Images that a network sees, f32 {N, H, W, C}, as the bytes that they were normalised from.
std::vector<std::uint8_t> bytes_of(const Tensor& images, const Normalisation& normalisation) {
  const std::span<const float> values = images.data<float>();
  const auto channels = static_cast<std::size_t>(images.size(3));
  std::vector<std::uint8_t> bytes(values.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const float value = values[i] * normalisation.std[i % channels] + normalisation.mean[i % channels];
    bytes[i] = static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0F, 1.0F) * 255.0F));
  }
  return bytes;
}

int preview(Options& options) {
  Settings settings;
  settings.declare(options);
  if (!options.finish()) return 0;
  const Dataset all = load_images(settings.images, Split::train);
  const Shape image = image_shape(all);
  const std::vector<std::int64_t> shown =
      spread_over_classes(all.labels, std::ssize(all.classes), settings.rows);
  const Dataset some = select_images(all, shown);
  DatasetInfo info = settings.images.info(image[2]);
  info.crop_padding = settings.batches.crop_pixels(info, image);
  LoaderOptions loading =
      settings.batches.loader_options(static_cast<std::uint64_t>(settings.seed), Device::cpu);
  loading.batch_size = some.size();
  loading.shuffle = false;
  loading.drop_last = false;
  loading.slices = 1;
  loading.workers = 0;
  loading.second_view = settings.second_view;
  Loader loader(some, info, loading);

  Tensor sheet = Tensor::empty(
      {gap + some.size() * (image[0] + gap), gap + settings.columns * (image[1] + gap), image[2]}, DType::u8);
  std::ranges::fill(sheet.data<std::uint8_t>(), std::uint8_t{255});
  const auto size = static_cast<std::size_t>(image.numel());
  for (std::int64_t column = 0; column < settings.columns; ++column) {
    std::vector<std::uint8_t> augmented;
    if (column > 0) {
      loader.start_epoch(column - 1);
      const Batch batch = *loader.next();
      augmented = bytes_of(settings.second_view ? batch.second_view : batch.images, info.normalisation);
    }
    const std::span<const std::uint8_t> pixels =
        column == 0 ? some.images.data<std::uint8_t>() : std::span<const std::uint8_t>(augmented);
    for (std::int64_t row = 0; row < some.size(); ++row)
      put(sheet, pixels.subspan(static_cast<std::size_t>(row) * size, size), image, row, column);
  }
  write_file_atomically(settings.output, encode_png(sheet));
  print_line(fmt::format("{}: {} of {} and {} of each", settings.output, counted(some.size(), "image"),
                         settings.images.dataset, counted(settings.columns - 1, "augmentation")));
  for (std::int64_t row = 0; row < some.size(); ++row)
    print_line(
        fmt::format("row {}: {}", row + 1,
                    all.classes[static_cast<std::size_t>(some.labels[static_cast<std::size_t>(row)])]));
  return 0;
}

}  // namespace
}  // namespace generous

int main(int argc, char** argv) { return generous::run_program("preview", argc, argv, generous::preview); }
