#include <doctest/doctest.h>
#include <sys/stat.h>

#include <random>

#include "core/allocator.h"
#include "data/folder.h"
#include "data/formats.h"
#include "tests/data/data_files.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

// Pixel (n, y, x) is 100 n + 3 y + x modulo 256.
std::string idx_images(std::uint32_t count, std::uint32_t height = 28, std::uint32_t width = 28) {
  std::string content = big_endian(0x803) + big_endian(count) + big_endian(height) + big_endian(width);
  for (std::uint32_t n = 0; n < count; ++n) {
    for (std::uint32_t y = 0; y < height; ++y) {
      for (std::uint32_t x = 0; x < width; ++x) content.push_back(static_cast<char>(100 * n + 3 * y + x));
    }
  }
  return content;
}

std::string idx_labels(const std::string& labels) {
  return big_endian(0x801) + big_endian(static_cast<std::uint32_t>(labels.size())) + labels;
}

struct Files {
  TemporaryFolder folder;
  fs::path images = folder / "train-images-idx3-ubyte.gz";
  fs::path labels = folder / "train-labels-idx1-ubyte.gz";

  Files() {
    write_file(images, gzip(idx_images(3)));
    write_file(labels, gzip(idx_labels({9, 0, 4})));
  }
  std::string error() const {
    return error_of([&] { load_fashion_mnist(folder.path(), Split::train); });
  }
};

void check_content(const Dataset& dataset) {
  CHECK(dataset.images.shape() == Shape{3, 28, 28, 1});
  CHECK(dataset.labels == std::vector<std::int64_t>{9, 0, 4});
  REQUIRE(dataset.classes.size() == 10);
  CHECK(dataset.classes[9] == "Ankle boot");
  const auto pixels = dataset.images.data<std::uint8_t>();
  CHECK(pixels[0] == 0);
  CHECK(pixels[2 * 28 + 5] == 11);
  CHECK(pixels[784 + 27 * 28 + 27] == 208);    // 100 + 81 + 27
  CHECK(pixels[2 * 784 + 26 * 28 + 1] == 23);  // 200 + 78 + 1 - 256
}

TEST_CASE("gzipped and plain files hold the same images and labels") {
  const Files files;
  check_content(load_fashion_mnist(files.folder.path(), Split::train));

  const TemporaryFolder plain;
  write_file(plain / "t10k-images-idx3-ubyte", idx_images(3));
  write_file(plain / "t10k-labels-idx1-ubyte", idx_labels({9, 0, 4}));
  check_content(load_fashion_mnist(plain.path(), Split::test));
}

TEST_CASE("the folder may also be torchvision's, or the one that holds it") {
  const TemporaryFolder root;
  write_file(root / "FashionMNIST/raw/train-images-idx3-ubyte", idx_images(3));
  write_file(root / "FashionMNIST/raw/train-labels-idx1-ubyte", idx_labels({9, 0, 4}));
  for (const char* folder : {"", "FashionMNIST", "FashionMNIST/raw"})
    check_content(load_fashion_mnist(root / folder, Split::train));
}

TEST_CASE("a missing file is named with the command that gets it") {
  const Files files;
  fs::remove(files.labels);
  CHECK(files.error() == files.labels.string() + ": no such file or folder; `" +
                             download_command("fashion_mnist") + "` gets this dataset");
}

TEST_CASE("swapped, foreign and wrongly sized files are errors") {
  const Files files;
  SUBCASE("labels in place of images") {
    fs::copy_file(files.labels, files.images, fs::copy_options::overwrite_existing);
    CHECK(files.error() ==
          files.images.string() + ": found magic number 0x00000801, expected 0x00000803 (IDX images)");
  }
  SUBCASE("images in place of labels") {
    fs::copy_file(files.images, files.labels, fs::copy_options::overwrite_existing);
    CHECK(files.error() ==
          files.labels.string() + ": found magic number 0x00000803, expected 0x00000801 (IDX labels)");
  }
  SUBCASE("a web page saved under the file's name") {
    write_file(files.images, "<html><body>404 not found</body></html>");
    CHECK(files.error() ==
          files.images.string() + ": found magic number 0x3c68746d, expected 0x00000803 (IDX images)");
  }
  SUBCASE("images of another size") {
    write_file(files.images, gzip(idx_images(3, 28, 32)));
    CHECK(files.error() == files.images.string() + ": found images of 28 x 32 pixels, expected 28 x 28");
  }
  SUBCASE("no images") {
    write_file(files.images, gzip(idx_images(0)));
    CHECK(files.error() == files.images.string() + ": holds no images");
  }
  SUBCASE("fewer labels than images") {
    write_file(files.labels, gzip(idx_labels({9, 0})));
    CHECK(files.error() == files.labels.string() + ": found 2 labels, expected 3, one for each image of " +
                               files.images.string());
  }
  SUBCASE("a label out of range") {
    write_file(files.labels, gzip(idx_labels({9, 10, 4})));
    CHECK(files.error() == files.labels.string() + ": label 1 is 10, expected 0 to 9");
  }
  SUBCASE("a pipe in place of a file") {
    fs::remove(files.images);
    REQUIRE(::mkfifo(files.images.c_str(), 0600) == 0);
    CHECK(files.error() == files.images.string() + ": is not a regular file");
  }
  SUBCASE("a folder in place of a file") {
    fs::remove(files.images);
    fs::create_directory(files.images);
    CHECK(files.error() == files.images.string() + ": is not a regular file");
  }
}

TEST_CASE("a header that announces another count than the file holds is an error") {
  const Files files;
  std::string content = idx_images(3);
  SUBCASE("one image more") {
    content.replace(4, 4, big_endian(4));
    write_file(files.images, gzip(content));
    CHECK(files.error() == files.images.string() + ": truncated: it ends 784 bytes early");
  }
  SUBCASE("one image fewer") {
    content.replace(4, 4, big_endian(2));
    write_file(files.images, gzip(content));
    CHECK(files.error() == files.images.string() + ": has more bytes than its header announces");
  }
  SUBCASE("terabytes") {
    content.replace(4, 4, big_endian(0xffffffff));
    write_file(files.images, gzip(content));
    CHECK(files.error() ==
          files.images.string() + ": the header announces 4294967295 elements, expected at most 1048576");
  }
  SUBCASE("822 MB in a file of 1 MB that could hold them, but does not: no memory is taken for them") {
    content = content.substr(0, 16).replace(4, 4, big_endian(std::size_t{1} << 20));
    std::minstd_rand random;
    for (int i = 0; i < 1'000'000; ++i) content.push_back(static_cast<char>(random() >> 8));
    write_file(files.images, gzip(content));
    const auto taken = [] {
      const auto statistics = host_allocator()->statistics();
      return statistics.in_use_bytes + statistics.cached_bytes;
    };
    const std::size_t before = taken();
    CHECK(files.error() == files.images.string() + ": truncated: it ends 821083584 bytes early");
    CHECK(taken() == before);
  }
  SUBCASE("a plain file that breaks off") {
    fs::remove(files.images);
    const fs::path plain = files.folder / "train-images-idx3-ubyte";
    write_file(plain, content.substr(0, content.size() - 1));
    CHECK(files.error() == plain.string() + ": truncated: it ends 1 bytes early");
  }
  SUBCASE("an empty file") {
    write_file(files.images, "");
    CHECK(files.error() == files.images.string() + ": truncated: it ends 4 bytes early");
  }
}

TEST_CASE("gzip damage is noticed wherever it is") {
  const Files files;
  const std::string good = gzip(idx_images(3));
  SUBCASE("truncated at every length") {
    for (std::size_t length = 2; length < good.size(); length += 7) {
      write_file(files.images, good.substr(0, length));
      CHECK(files.error().starts_with(files.images.string() + ": truncated"));
    }
  }
  SUBCASE("only the trailer is cut") {
    write_file(files.images, good.substr(0, good.size() - 3));
    CHECK(files.error() == files.images.string() + ": truncated: the compressed data breaks off");
  }
  SUBCASE("the checksum does not fit") {
    std::string bad = good;
    bad[bad.size() - 8] = static_cast<char>(bad[bad.size() - 8] ^ 1);
    write_file(files.images, bad);
    CHECK(files.error().find("incorrect data check") != std::string::npos);
  }
}

}  // namespace
}  // namespace generous
