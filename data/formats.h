// One reader per dataset format; dataset.h dispatches to them by name. All throw Error with the file, what
// was found and what was expected.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace generous {

/// Fashion-MNIST: {train,t10k}-{images-idx3,labels-idx1}-ubyte, gzipped (.gz) or not, in `folder` or in the
/// FashionMNIST/raw that torchvision makes below its root. Images {N, 28, 28, 1}.
Dataset load_fashion_mnist(const std::filesystem::path& folder, Split split);

/// The binary version of CIFAR: fixed-size records of labels followed by 3072 pixels, planes of red, green
/// and blue.
struct CifarFormat {
  std::string dataset;         ///< for messages: its name
  std::string archive_folder;  ///< the folder inside the original archive
  std::vector<std::string> train_files;
  std::string test_file;
  std::int64_t train_records = 0;  ///< in each training file
  std::int64_t test_records = 0;
  std::vector<std::int64_t> label_bounds;  ///< one label byte each, in file order; the last is the class
  std::string names_file;                  ///< class names, one a line

  // The version for Python, pickles of dictionaries, which torchvision downloads.
  std::string python_folder;                    ///< the folder inside its archive
  std::vector<std::string> python_train_files;  ///< of train_records each
  std::string python_test_file;
  std::string python_names_file;
  std::string labels_key;  ///< of the classes in a dictionary
  std::string names_key;   ///< of their names
};
CifarFormat cifar10_format();
CifarFormat cifar100_format();

/// `folder` holds the files or holds the archive's folder, in the binary version or in that for Python, which
/// hold the same images in the same order; where both are there, the binary one is read. Images {N, 32, 32,
/// 3}.
Dataset load_cifar(const CifarFormat& format, const std::filesystem::path& folder, Split split);

/// The folder of the version for Python, if `folder` is it or holds it.
std::optional<std::filesystem::path> find_cifar_python(const CifarFormat& format,
                                                       const std::filesystem::path& folder);
/// That version alone; nothing in a pickle is run.
Dataset load_cifar_python(const CifarFormat& format, const std::filesystem::path& root, Split split);
/// The pixels of records {planes of red, green and blue, 32 x 32 each} side by side, as {32, 32, 3} each.
void cifar_planes_to_pixels(std::span<const char> planes, std::span<std::uint8_t> pixels);

/// Tiny-ImageNet, images {N, 64, 64, 3}; Split::test is its validation set. `folder` holds train/ and val/ or
/// holds tiny-imagenet-200/ that does. Classes: the WordNet ids of wnids.txt (without that file the folders
/// of train/), numbered in the order of the sorted ids like everywhere else, whatever the order of the lines.
/// Training images: train/WNID/images/ or train/WNID/. Validation images: val/images/ with
/// val/val_annotations.txt (file name, tab, WNID, ...); without that file val/WNID/images/ or val/WNID/.
Dataset load_tiny_imagenet(const std::filesystem::path& folder, Split split);

/// Any tree folder/{train,test or val}/CLASS/*.{jpg,jpeg,png}: classes are train's folders sorted by name,
/// every class is in both splits, and every image has the same size, or is made to fit `side` x `side` where
/// that is not 0. Images {N, H, W, 3}, or {N, H, W, 1} where all of them are grey; alpha is dropped.
Dataset load_class_folders(const std::filesystem::path& folder, Split split, std::int64_t side = 0);

}  // namespace generous
