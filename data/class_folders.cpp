#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "data/decoded_cache.h"
#include "data/folder.h"
#include "data/formats.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

std::vector<std::string> class_names(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::path& path : list_class_folders(folder)) names.push_back(path.filename().string());
  return names;
}

fs::path split_folder(const fs::path& root, Split split) {
  const std::vector<std::string> names =
      split == Split::train ? std::vector<std::string>{"train"} : std::vector<std::string>{"test", "val"};
  for (const std::string& name : names) {
    if (file_exists(root / name)) return root / name;
  }
  fail("{}: no such folder, expected {} with one folder of images for each class",
       (root / names.front()).string(), split == Split::train ? "train/" : "test/ or val/");
}

/// Whether the three channels are equal; for pictures in colour the first pixels tell.
bool is_grey(const Tensor& images) {
  const auto bytes = images.data<std::uint8_t>();
  for (std::size_t i = 0; i < bytes.size(); i += 3)
    if (bytes[i] != bytes[i + 1] || bytes[i] != bytes[i + 2]) return false;
  return true;
}

Tensor first_channel(const Tensor& images) {
  Tensor grey = Tensor::empty({images.size(0), images.size(1), images.size(2), 1}, DType::u8);
  const auto bytes = images.data<std::uint8_t>();
  const auto out = grey.data<std::uint8_t>();
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = bytes[3 * i];
  return grey;
}

}  // namespace

Dataset load_class_folders(const fs::path& root, Split split, std::int64_t side) {
  const fs::path train = split_folder(root, Split::train);
  const fs::path folder = split_folder(root, split);
  // The class index is the position among the training folders, so both splits must have the same.
  const std::vector<std::string> classes = class_names(train);
  const std::vector<std::string> found = class_names(folder);
  for (const std::string& name : found) {
    if (!std::ranges::binary_search(classes, name)) {
      fail("{}: no such class in {}", (folder / name).string(), train.string());
    }
  }
  std::vector<LabelledFile> files;
  for (std::size_t label = 0; label < classes.size(); ++label) {
    if (!std::ranges::binary_search(found, classes[label])) {
      fail("{}: no such folder, expected the same classes as in {}", (folder / classes[label]).string(),
           train.string());
    }
    for (fs::path& path : list_images(folder / classes[label])) {
      files.push_back({std::move(path), static_cast<std::int64_t>(label)});
    }
  }
  const bool fitted = side > 0;
  const ImageSize size = fitted ? ImageSize{side, side} : image_file_size(files.front().path);
  Dataset dataset;
  try {
    dataset = load_decoded(root, split, files, classes, size, fitted ? Sizes::any : Sizes::equal);
  } catch (const OtherSize& error) {
    fail("{} (--image_size N makes images of any size fit)", error.what());
  }
  if (is_grey(dataset.images)) dataset.images = first_channel(dataset.images);
  return dataset;
}

}  // namespace generous
