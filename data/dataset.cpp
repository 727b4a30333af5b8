#include "data/dataset.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/nearest.h"
#include "data/folder.h"
#include "data/formats.h"
#include "data/resize.h"

namespace generous {

namespace fs = std::filesystem;

Tensor repeat_grey(const Tensor& images) {
  Tensor repeated = Tensor::empty({images.size(0), images.size(1), images.size(2), 3}, DType::u8);
  const auto grey = images.data<std::uint8_t>();
  const auto out = repeated.data<std::uint8_t>();
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = grey[i / 3];
  return repeated;
}

namespace {

/// Loads a split from a folder; `side` as load_dataset takes it.
using Load = std::function<Dataset(const fs::path& folder, Split split, std::int64_t side)>;

struct Registered {
  DatasetInfo info;
  Load load;
};

/// Images of one size made to fit another.
Tensor fit_images(const Tensor& images, ImageSize to) {
  const ImageSize from{images.size(1), images.size(2)};
  if (from == to) return images;
  const bool grey = images.size(3) == 1;
  const Tensor rgb = grey ? repeat_grey(images) : images;
  const auto bytes = static_cast<std::size_t>(3 * from.height * from.width);
  const auto size = static_cast<std::size_t>((grey ? 1 : 3) * to.height * to.width);
  Tensor fitted = Tensor::empty({images.size(0), to.height, to.width, images.size(3)}, DType::u8);
  const auto in = rgb.data<std::uint8_t>();
  const auto out = fitted.data<std::uint8_t>();
#pragma omp parallel for
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    const auto index = static_cast<std::size_t>(i);
    std::vector<std::uint8_t> pixels = fit_rgb(in.subspan(index * bytes, bytes), from, to);
    if (grey) pixels = grey_of(pixels);
    std::ranges::copy(pixels, out.subspan(index * size, size).begin());
  }
  return fitted;
}

/// Of a dataset whose images have one size.
Load fitted(std::function<Dataset(const fs::path&, Split)> load) {
  return [load = std::move(load)](const fs::path& folder, Split split, std::int64_t side) {
    Dataset dataset = load(folder, split);
    if (side > 0) dataset.images = fit_images(dataset.images, {side, side});
    return dataset;
  };
}

fs::path fashion_mnist_folder() {
  const fs::path packaged = "/usr/share/datasets/fashion-mnist";  // Debian's dataset-fashion-mnist
  return path_exists(packaged) ? packaged : fs::path("datasets/fashion-mnist");
}

// Statistics and augmentations: those of the method's published experiments. CIFAR-100 takes CIFAR-10's.
std::vector<Registered> make_registry() {
  const DatasetInfo cifar10{
      .name = "cifar10",
      .normalisation = {.mean = {0.4914F, 0.4822F, 0.4465F}, .std = {0.247F, 0.243F, 0.261F}},
      .crop_padding = 4,
      .default_folder = "datasets/cifar10",
      .image = {32, 32, 3},
      .classes = 10,
      .train_images = 50000,
      .test_images = 10000};
  DatasetInfo cifar100 = cifar10;
  cifar100.name = "cifar100";
  cifar100.default_folder = "datasets/cifar100";
  cifar100.classes = 100;
  cifar100.field_normalisation = {.mean = {0.5071F, 0.4867F, 0.4408F}, .std = {0.2675F, 0.2565F, 0.2761F}};
  const DatasetInfo class_folders{.name = "class_folders",
                                  .normalisation = cifar10.normalisation,
                                  .crop_padding = cifar10.crop_padding,
                                  .default_folder = {},
                                  .own_normalisation = true};
  const DatasetInfo fashion_mnist{.name = "fashion_mnist",
                                  .normalisation = {.mean = {0.2860F}, .std = {0.3530F}},
                                  .crop_padding = 2,
                                  .default_folder = fashion_mnist_folder(),
                                  .image = {28, 28, 1},
                                  .classes = 10,
                                  .train_images = 60000,
                                  .test_images = 10000};
  const DatasetInfo tiny_imagenet{
      .name = "tiny_imagenet",
      .normalisation = {.mean = {0.4802F, 0.4481F, 0.3975F}, .std = {0.2302F, 0.2265F, 0.2262F}},
      .rotation_degrees = 20.0F,
      .default_folder = "datasets/tiny-imagenet-200",
      .image = {64, 64, 3},
      .classes = 200,
      .train_images = 100000,
      .test_images = 10000};
  return {
      {fashion_mnist, fitted(load_fashion_mnist)},
      {cifar10, fitted([](const fs::path& folder, Split split) {
         return load_cifar(cifar10_format(), folder, split);
       })},
      {cifar100, fitted([](const fs::path& folder, Split split) {
         return load_cifar(cifar100_format(), folder, split);
       })},
      {tiny_imagenet, fitted(load_tiny_imagenet)},
      {class_folders, load_class_folders},
  };
}

const std::vector<Registered>& registry() {
  static const std::vector<Registered> datasets = make_registry();
  return datasets;
}

/// Throws Error where the folder is not there or holds nothing: the download then goes into it.
void require_dataset(const fs::path& folder, const DatasetInfo& info) {
  std::error_code not_a_folder;
  const bool there = file_exists(folder);
  if (there && !fs::is_empty(folder, not_a_folder)) return;
  fail("{}: {}; `{}` gets this dataset", folder.string(), there ? "is empty" : "no such file or folder",
       download_command(info.name, folder == info.default_folder ? fs::path() : folder));
}

const Registered& find(std::string_view name) {
  for (const Registered& dataset : registry()) {
    if (dataset.info.name == name) return dataset;
  }
  fail("unknown dataset '{}'{}", name, suggestion(name, dataset_names()));
}

}  // namespace

const DatasetInfo& dataset_info(std::string_view name) { return find(name).info; }

std::vector<std::string> dataset_names() {
  std::vector<std::string> names;
  for (const Registered& dataset : registry()) names.push_back(dataset.info.name);
  return names;
}

std::int64_t crop_padding_for(const DatasetInfo& info, const Shape& image) {
  constexpr std::int64_t of_class_folders = 32;
  const std::int64_t published =
      info.image.rank() == 0 ? of_class_folders : std::min(info.image[0], info.image[1]);
  return (2 * info.crop_padding * std::min(image[0], image[1]) + published) / (2 * published);  // rounded
}

Dataset load_dataset(const std::string& name, const fs::path& folder, Split split, std::int64_t side) {
  const Registered& dataset = find(name);
  if (name == "class_folders") {
    if (folder.empty()) fail("class_folders has no default folder: name one that holds train/ and test/");
  } else {
    require_dataset(folder, dataset.info);
  }
  return dataset.load(folder, split, side);
}

}  // namespace generous
