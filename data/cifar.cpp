#include <span>

#include "core/error.h"
#include "core/files.h"
#include "data/folder.h"
#include "data/formats.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t side = 32;
constexpr std::int64_t plane_bytes = side * side;
constexpr std::int64_t image_bytes = 3 * plane_bytes;

std::vector<std::string> read_class_names(const CifarFormat& format, const fs::path& root) {
  const fs::path path = require_exists(root / format.names_file, format.dataset);
  std::vector<std::string> names = read_lines(path);
  if (static_cast<std::int64_t>(names.size()) != format.label_bounds.back()) {
    fail("{}: found {} class names, expected {}", path.string(), names.size(), format.label_bounds.back());
  }
  return names;
}

// Throws unless the file has the size of `records` records.
void check_size(const CifarFormat& format, const fs::path& path, std::int64_t records) {
  const std::size_t record_bytes = format.label_bounds.size() + image_bytes;
  const std::size_t expected_bytes = static_cast<std::size_t>(records) * record_bytes;
  require_exists(path, format.dataset);
  const std::size_t found_bytes = file_bytes(path);
  if (found_bytes != expected_bytes) {
    fail("{}: found {} bytes, expected {} ({} records of {} bytes)", path.string(), found_bytes,
         expected_bytes, records, record_bytes);
  }
}

// Appends one file's `records` images and labels.
void read_records(const CifarFormat& format, const fs::path& path, std::int64_t records,
                  std::span<std::uint8_t> images, std::vector<std::int64_t>& labels) {
  const std::size_t label_bytes = format.label_bounds.size();
  const std::size_t record_bytes = label_bytes + image_bytes;
  const std::size_t expected_bytes = static_cast<std::size_t>(records) * record_bytes;
  const std::string content = read_file(path, expected_bytes);
  if (content.size() != expected_bytes) fail("{}: changed while it was read", path.string());
  for (std::size_t i = 0; i < static_cast<std::size_t>(records); ++i) {
    const std::span<const char> record = std::span(content).subspan(i * record_bytes, record_bytes);
    std::int64_t label = 0;
    for (std::size_t k = 0; k < label_bytes; ++k) {
      label = static_cast<std::uint8_t>(record[k]);
      if (label >= format.label_bounds[k]) {
        fail("{}: record {} has label {}, expected 0 to {}", path.string(), i, label,
             format.label_bounds[k] - 1);
      }
    }
    labels.push_back(label);
    cifar_planes_to_pixels(record.subspan(label_bytes), images.subspan(i * image_bytes, image_bytes));
  }
}

}  // namespace

void cifar_planes_to_pixels(std::span<const char> planes, std::span<std::uint8_t> pixels) {
  for (std::size_t first = 0; first < planes.size(); first += image_bytes)
    for (std::size_t i = 0; i < plane_bytes; ++i)
      for (std::size_t c = 0; c < 3; ++c)
        pixels[first + 3 * i + c] = static_cast<std::uint8_t>(planes[first + c * plane_bytes + i]);
}

CifarFormat cifar10_format() {
  return {
      .dataset = "cifar10",
      .archive_folder = "cifar-10-batches-bin",
      .train_files = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                      "data_batch_5.bin"},
      .test_file = "test_batch.bin",
      .train_records = 10000,
      .test_records = 10000,
      .label_bounds = {10},
      .names_file = "batches.meta.txt",
      .python_folder = "cifar-10-batches-py",
      .python_train_files = {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"},
      .python_test_file = "test_batch",
      .python_names_file = "batches.meta",
      .labels_key = "labels",
      .names_key = "label_names"};
}

CifarFormat cifar100_format() {
  return {.dataset = "cifar100",
          .archive_folder = "cifar-100-binary",
          .train_files = {"train.bin"},
          .test_file = "test.bin",
          .train_records = 50000,
          .test_records = 10000,
          .label_bounds = {20, 100},  // superclass, class
          .names_file = "fine_label_names.txt",
          .python_folder = "cifar-100-python",
          .python_train_files = {"train"},
          .python_test_file = "test",
          .python_names_file = "meta",
          .labels_key = "fine_labels",
          .names_key = "fine_label_names"};
}

Dataset load_cifar(const CifarFormat& format, const fs::path& folder, Split split) {
  const fs::path root = dataset_root(folder, format.archive_folder);
  if (!file_exists(root / format.names_file))
    if (const auto python = find_cifar_python(format, folder))
      return load_cifar_python(format, *python, split);
  const bool train = split == Split::train;
  const std::vector<std::string> files = train ? format.train_files : std::vector{format.test_file};
  const std::int64_t records = train ? format.train_records : format.test_records;
  const auto count = static_cast<std::int64_t>(files.size()) * records;

  Dataset dataset;
  dataset.classes = read_class_names(format, root);
  for (const std::string& file : files) check_size(format, root / file, records);  // before memory is taken
  dataset.images = Tensor::empty({count, side, side, 3}, DType::u8);
  dataset.labels.reserve(static_cast<std::size_t>(count));
  std::span<std::uint8_t> images = dataset.images.data<std::uint8_t>();
  for (const std::string& file : files) {
    read_records(format, root / file, records, images, dataset.labels);
    images = images.subspan(static_cast<std::size_t>(records * image_bytes));
  }
  return dataset;
}

}  // namespace generous
