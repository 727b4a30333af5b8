#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>

#include "data/formats.h"
#include "tests/data/data_files.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

struct Tree {
  TemporaryFolder root;

  // Names are created out of order; extensions in every case.
  Tree() {
    write_file(root / "train" / "dog" / "2.PNG", png_grey_2x3);
    write_file(root / "train" / "dog" / "10.png", png_rgb_2x3);
    write_file(root / "train" / "cat" / "1.Png", png_rgba_2x3);
    write_file(root / "train" / ".hidden", "ignored");
    write_file(root / "train" / "cat" / ".DS_Store", "ignored");
    write_file(root / "val" / "dog" / "a.png", png_grey_2x3);
    write_file(root / "val" / "cat" / "b.png", png_rgb_2x3);
  }
  std::string error(Split split = Split::train) const {
    return error_of([&] { load_class_folders(root.path(), split); });
  }
};

std::vector<int> image(const Dataset& dataset, std::size_t n) {
  const auto all = dataset.images.data<std::uint8_t>();
  const std::size_t bytes = all.size() / dataset.labels.size();
  const auto one = all.subspan(n * bytes, bytes);
  return {one.begin(), one.end()};
}

const std::vector<int> rgb_pixels{5,   18,  31,  44,  57,  70,  83,  96,  109,
                                  122, 135, 148, 161, 174, 187, 200, 213, 226};
const std::vector<int> grey_pixels{0,   0,   0,   50,  50,  50,  100, 100, 100,
                                   150, 150, 150, 200, 200, 200, 255, 255, 255};

const std::vector<int> one_channel{0, 50, 100, 150, 200, 255};

TEST_CASE("classes and files are sorted by name; grey is repeated and alpha dropped") {
  const Tree tree;
  const Dataset train = load_class_folders(tree.root.path(), Split::train);
  CHECK(train.images.shape() == Shape{3, 2, 3, 3});
  CHECK(train.classes == std::vector<std::string>{"cat", "dog"});
  CHECK(train.labels == std::vector<std::int64_t>{0, 1, 1});
  CHECK(image(train, 0) == rgb_pixels);   // cat/1.Png, its alpha dropped
  CHECK(image(train, 1) == rgb_pixels);   // dog/10.png
  CHECK(image(train, 2) == grey_pixels);  // dog/2.PNG

  const Dataset val = load_class_folders(tree.root.path(), Split::test);
  CHECK(val.labels == std::vector<std::int64_t>{0, 1});
  CHECK(image(val, 0) == rgb_pixels);
  CHECK(image(val, 1) == grey_pixels);
}

TEST_CASE("where all images are grey, they keep one channel") {
  const TemporaryFolder root;
  write_file(root / "train" / "only" / "1.png", png_grey_2x3);
  write_file(root / "train" / "only" / "2.png", png_grey_2x3);
  for (int time = 0; time < 2; ++time) {  // decoded, then from the cache
    const Dataset train = load_class_folders(root.path(), Split::train);
    REQUIRE(train.images.shape() == Shape{2, 2, 3, 1});
    CHECK(image(train, 1) == one_channel);
    CHECK(repeat_grey(train.images).shape() == Shape{2, 2, 3, 3});
  }
  write_file(root / "train" / "only" / "3.png", png_rgb_2x3);
  CHECK(load_class_folders(root.path(), Split::train).images.shape() == Shape{3, 2, 3, 3});
}

TEST_CASE("images of any size are made to fit, and the cache knows to which") {
  const TemporaryFolder root;
  write_file(root / "train" / "only" / "a.png", png_rgb_2x3);
  write_file(root / "train" / "only" / "b.jpg", jpeg_stripes_8x24);
  for (int time = 0; time < 2; ++time) {
    const Dataset train = load_class_folders(root.path(), Split::train, 4);
    REQUIRE(train.images.shape() == Shape{2, 4, 4, 3});
    // The middle 8 x 8 of the stripes is green, at half the size.
    const std::vector<int> stripes = image(train, 1);
    for (std::size_t i = 0; i < stripes.size(); i += 3) CHECK(stripes[i + 1] > stripes[i] + 100);
    CHECK(load_class_folders(root.path(), Split::train, 5).images.shape() == Shape{2, 5, 5, 3});
  }
  fs::remove(root / "train" / "only" / "b.jpg");
  CHECK(image(load_class_folders(root.path(), Split::train), 0) == rgb_pixels);
}

TEST_CASE("test/ goes before val/") {
  const Tree tree;
  write_file(tree.root / "test" / "cat" / "1.png", png_grey_2x3);
  write_file(tree.root / "test" / "dog" / "1.png", png_grey_2x3);
  CHECK(image(load_class_folders(tree.root.path(), Split::test), 0) == one_channel);
}

TEST_CASE("JPEG pixels are those Pillow decodes, within rounding") {
  const TemporaryFolder root;
  write_file(root / "train" / "only" / "a.jpeg", jpeg_stripes_8x24);
  const Dataset train = load_class_folders(root.path(), Split::train);
  REQUIRE(train.images.shape() == Shape{1, 8, 24, 3});
  const auto pixels = train.images.data<std::uint8_t>();
  const int expected[3][3] = {{250, 10, 21}, {16, 240, 30}, {25, 35, 229}};
  for (std::size_t y = 0; y < 8; ++y) {
    for (std::size_t x = 0; x < 24; ++x) {
      for (std::size_t c = 0; c < 3; ++c) {
        CHECK(std::abs(pixels[(y * 24 + x) * 3 + c] - expected[x / 8][c]) <= 1);
      }
    }
  }
}

TEST_CASE("symbolic links and names that are not UTF-8 are fine") {
  const Tree tree;
  fs::create_symlink(tree.root / "val" / "dog" / "a.png", tree.root / "train" / "cat" / "\xff\xfe.png");
  const Dataset train = load_class_folders(tree.root.path(), Split::train);
  CHECK(train.labels == std::vector<std::int64_t>{0, 0, 1, 1});
  CHECK(image(train, 1) == grey_pixels);
}

TEST_CASE("many images keep their order whatever thread decodes them") {
  const TemporaryFolder root;
  for (int i = 0; i < 600; ++i) {
    write_file(root / "train" / "only" / (std::to_string(1000 + i) + ".png"),
               i % 7 == 0 ? png_grey_2x3 : png_rgb_2x3);
  }
  const Dataset train = load_class_folders(root.path(), Split::train);
  REQUIRE(train.size() == 600);
  for (std::size_t i = 0; i < 600; ++i) CHECK(image(train, i) == (i % 7 == 0 ? grey_pixels : rgb_pixels));

  // Of several bad files the first is named, although another thread comes upon a later one earlier.
  for (const char* name : {"1580.png", "1063.png", "1064.png"})
    write_file(root / "train" / "only" / name, "no image");
  CHECK(error_of([&] {
          load_class_folders(root.path(), Split::train);
        }).starts_with((root / "train" / "only" / "1063.png").string()));
}

TEST_CASE("a tree that is not class folders is an error that says where") {
  const Tree tree;
  const fs::path& root = tree.root.path();
  SUBCASE("no such folder") {
    CHECK(error_of([&] { load_class_folders(root / "nowhere", Split::train); }) ==
          (root / "nowhere" / "train").string() +
              ": no such folder, expected train/ with one folder of images for each class");
  }
  SUBCASE("no test split") {
    fs::remove_all(root / "val");
    CHECK(tree.error(Split::test) ==
          (root / "test").string() +
              ": no such folder, expected test/ or val/ with one folder of images for "
              "each class");
  }
  SUBCASE("an image beside the class folders") {
    write_file(root / "train" / "stray.png", png_rgb_2x3);
    CHECK(tree.error() ==
          (root / "train" / "stray.png").string() + ": found a file, expected only class folders here");
  }
  SUBCASE("no classes") {
    fs::remove_all(root / "train");
    fs::create_directory(root / "train");
    CHECK(tree.error() == (root / "train").string() + ": found no class folders, expected at least one");
  }
  SUBCASE("an empty class") {
    fs::create_directory(root / "train" / "emu");
    CHECK(tree.error() == (root / "train" / "emu").string() + ": found no images, expected at least one");
  }
  SUBCASE("another kind of file") {
    write_file(root / "train" / "cat" / "notes.txt", "hello");
    CHECK(tree.error() ==
          (root / "train" / "cat" / "notes.txt").string() +
              ": found something else, expected only .jpg, .jpeg and .png images in a class folder");
  }
  SUBCASE("an image of a kind that is not read") {
    for (const auto& [name, format] : {std::pair{"a.bmp", "BMP"}, {"b.WebP", "WebP"}, {"c.tif", "TIFF"}}) {
      write_file(tree.root / "train" / "cat" / name, "x");
      CHECK(tree.error() == (tree.root / "train" / "cat" / name).string() + ": is a " + format +
                                " image; JPEG and PNG are read: convert it to PNG, which loses nothing");
      fs::remove(tree.root / "train" / "cat" / name);
    }
  }
  SUBCASE("a folder named like an image") {
    fs::create_directory(root / "train" / "cat" / "x.png");
    CHECK(tree.error().starts_with((root / "train" / "cat" / "x.png").string() + ": found something else"));
  }
  SUBCASE("a class that only the test split has") {
    write_file(root / "val" / "emu" / "1.png", png_rgb_2x3);
    CHECK(tree.error(Split::test) ==
          (root / "val" / "emu").string() + ": no such class in " + (root / "train").string());
  }
  SUBCASE("a class that the test split lacks") {
    fs::remove_all(root / "val" / "cat");
    CHECK(tree.error(Split::test) == (root / "val" / "cat").string() +
                                         ": no such folder, expected the same classes as in " +
                                         (root / "train").string());
  }
}

TEST_CASE("an image that cannot be used is an error that names it") {
  const Tree tree;
  const fs::path bad = tree.root / "train" / "dog" / "9.jpg";
  const auto error_with = [&](const std::string& content) {
    write_file(bad, content);
    const std::string error = tree.error();
    REQUIRE(error.starts_with(bad.string() + ": "));
    return error.substr(bad.string().size() + 2);
  };
  CHECK(error_with("").starts_with("is not a JPEG or PNG image"));
  CHECK(error_with("GIF89a\x03\x00\x02\x00").starts_with("is a GIF image; JPEG and PNG are read"));
  CHECK(error_with("BM\x36").starts_with("is a BMP image; JPEG and PNG are read"));
  CHECK(error_with("RIFF----WEBPVP8 ").starts_with("is a WebP image; JPEG and PNG are read"));
  CHECK(error_with(jpeg_stripes_8x24) ==
        "found an image of 8 x 24 pixels, expected 2 x 3 like the others (--image_size N makes images of any "
        "size fit)");
  CHECK(error_with(png_grey_1x4097).find("4097") != std::string::npos);
  CHECK(error_with(png_rgb_2x3.substr(0, 50)).starts_with("does not decode: "));
  fs::remove(bad);
  fs::create_symlink(tree.root / "gone.jpg", bad);
  CHECK(tree.error() == "cannot read " + bad.string() + ": No such file or directory");
  fs::remove(bad);
  REQUIRE(::mkfifo(bad.c_str(), 0600) == 0);  // opening it would wait for a writer
  CHECK(tree.error() == "cannot read " + bad.string() + ": it is not a regular file");
}

TEST_CASE("memory for the pixels is not taken before files that could hold them are there") {
  // One real image of 4096 x 4096, and another that is nearly nothing, need 100 MB; 1,000 of those 50 GB.
  const TemporaryFolder root;
  write_file(root / "train" / "only" / "0.png",
             grey_png(4096, 4096, deflated(std::string(4097 * 4096, '\0'))));
  for (int i = 1; i < 1000; ++i) write_file(root / "train" / "only" / (std::to_string(i) + ".png"), "x");
  const std::string error = error_of([&] { load_class_folders(root.path(), Split::train); });
  CHECK(
      error.starts_with(root.path().string() + ": 1000 images of 4096 x 4096 pixels cannot be in files of "));
}

}  // namespace
}  // namespace generous
