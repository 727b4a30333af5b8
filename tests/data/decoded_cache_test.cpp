#include "data/decoded_cache.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "core/files.h"
#include "data/formats.h"
#include "tests/data/data_files.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

using Pixels = std::vector<std::uint8_t>;

constexpr std::uint32_t height = 2;
constexpr std::uint32_t width = 3;

std::string pixels_of(int image, std::uint32_t rows = height, std::uint32_t columns = width) {
  std::string pixels;
  for (std::uint32_t i = 0; i < rows * columns * 3; ++i)
    pixels.push_back(static_cast<char>(31 * image + 7 * static_cast<int>(i) + static_cast<int>(i / 255)));
  return pixels;
}

// Overwrites a file, and gives it its time of modification back.
void replace_secretly(const fs::path& path, const std::string& content) {
  const fs::file_time_type time = fs::last_write_time(path);
  write_file(path, content);
  fs::last_write_time(path, time);
}

// Class folders whose training images are image(0) to image(2); the user's cache folder is in a place of its
// own.
struct Images {
  TemporaryFolder root;
  TemporaryFolder user_cache;
  fs::path cache = root / ".generous_cache" / "train.images";
  std::array<fs::path, 3> files = {root / "train" / "a" / "0.png", root / "train" / "a" / "1.png",
                                   root / "train" / "b" / "2.png"};

  Images() {
    ::setenv("XDG_CACHE_HOME", user_cache.path().c_str(), 1);
    for (int i = 0; i < 3; ++i) write_file(files[static_cast<std::size_t>(i)], image(i));
    write_file(root / "test" / "a" / "3.png", image(3));
    write_file(root / "test" / "b" / "4.png", image(4));
  }
  static std::string image(int number) { return encode_png(height, width, pixels_of(number)); }
  Dataset load(Split split = Split::train) const { return load_class_folders(root.path(), split); }
  fs::path user_file() const {
    for (const auto& entry : fs::recursive_directory_iterator(user_cache.path()))
      if (entry.path().filename() == "train.images") return entry.path();
    return {};
  }
};

Pixels pixels(const Dataset& dataset) {
  const auto all = dataset.images.data<std::uint8_t>();
  return {all.begin(), all.end()};
}

Pixels expected(const std::vector<int>& images) {
  Pixels all;
  for (const int image : images)
    for (const char byte : pixels_of(image)) all.push_back(static_cast<std::uint8_t>(byte));
  return all;
}

int files_in(const fs::path& folder) {
  return static_cast<int>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// What `call` writes to standard error.
template <class Call>
std::string standard_error_of(Call call) {
  const TemporaryFolder folder;
  std::fflush(stderr);
  const int kept = ::dup(STDERR_FILENO);
  const int file = ::open((folder / "err").c_str(), O_WRONLY | O_CREAT, 0600);
  ::dup2(file, STDERR_FILENO);
  call();
  std::fflush(stderr);
  ::dup2(kept, STDERR_FILENO);
  ::close(file);
  ::close(kept);
  return read_file(folder / "err");
}

TEST_CASE("the second load reads the cache: the same dataset, without a look into the images") {
  const Images images;
  const std::string notes = standard_error_of([&] {
    const Dataset first = images.load();
    CHECK(first.images.shape() == Shape{3, height, width, 3});
    CHECK(pixels(first) == expected({0, 1, 2}));
    REQUIRE(fs::exists(images.cache));
    // Same size, same time: nothing tells that this is another image now.
    REQUIRE(Images::image(7).size() == Images::image(1).size());
    replace_secretly(images.files[1], Images::image(7));
    const Dataset second = images.load();
    CHECK(pixels(second) == expected({0, 1, 2}));
    CHECK(second.images.shape() == first.images.shape());
    CHECK(second.labels == std::vector<std::int64_t>{0, 0, 1});
    CHECK(second.classes == std::vector<std::string>{"a", "b"});
  });
  CHECK(notes.empty());
  CHECK(files_in(images.cache.parent_path()) == 1);

  CHECK(pixels(images.load(Split::test)) == expected({3, 4}));
  CHECK(files_in(images.cache.parent_path()) == 2);
  CHECK(fs::is_empty(images.user_cache.path()));
}

TEST_CASE("a moved dataset keeps its cache") {
  const Images images;
  images.load();
  replace_secretly(images.files[1], Images::image(7));
  const TemporaryFolder other;
  fs::rename(images.root.path(), other / "moved");
  CHECK(pixels(load_class_folders(other / "moved", Split::train)) == expected({0, 1, 2}));
  CHECK(pixels(load_class_folders((other / "moved").string() + "/", Split::train)) == expected({0, 1, 2}));
}

TEST_CASE("every change of the images makes the cache unfit, and the next load writes it anew") {
  const Images images;
  images.load();
  const std::string before = read_file(images.cache);
  const fs::path& file = images.files[1];
  std::vector<int> now = {0, 1, 2};
  SUBCASE("another time") {
    fs::last_write_time(file, fs::last_write_time(file) + std::chrono::nanoseconds(1));
  }
  SUBCASE("another image of the same size") {
    write_file(file, Images::image(7));
    fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(1));
    now = {0, 7, 2};
  }
  SUBCASE("another size, the same time") {
    replace_secretly(file, Images::image(7) + "trailing");
    now = {0, 7, 2};
  }
  SUBCASE("an image more") {
    write_file(images.root / "train" / "b" / "3.png", Images::image(9));
    now = {0, 1, 2, 9};
  }
  SUBCASE("an image less") {
    fs::remove(file);
    now = {0, 2};
  }
  SUBCASE("a new name") {
    fs::rename(file, images.root / "train" / "a" / "+.png");  // sorts before 0.png
    now = {1, 0, 2};
  }
  SUBCASE("in another class") { fs::rename(file, images.root / "train" / "b" / "1.png"); }
  SUBCASE("a new class") {
    write_file(images.root / "train" / "c" / "3.png", Images::image(5));
    write_file(images.root / "test" / "c" / "3.png", Images::image(6));
    now = {0, 1, 2, 5};
  }
  const std::string notes = standard_error_of([&] { CHECK(pixels(images.load()) == expected(now)); });
  CHECK(notes ==
        "note: " + images.cache.string() + " is out of date or damaged: decoding the images again\n");
  CHECK(read_file(images.cache) != before);
  CHECK(standard_error_of([&] { CHECK(pixels(images.load()) == expected(now)); }).empty());
}

TEST_CASE("a cache of images of another shape does not fit, even if all else is the same") {
  const auto padded = [](std::string png) { return png.append(100 - png.size(), '\0'); };
  const Images images;
  for (int i = 0; i < 3; ++i) write_file(images.files[static_cast<std::size_t>(i)], padded(Images::image(i)));
  images.load();
  for (int i = 0; i < 3; ++i)
    replace_secretly(images.files[static_cast<std::size_t>(i)],
                     padded(encode_png(width, height, pixels_of(i))));
  standard_error_of([&] {
    const Dataset dataset = images.load();
    CHECK(dataset.images.shape() == Shape{3, width, height, 3});
    CHECK(pixels(dataset) == expected({0, 1, 2}));
  });
}

TEST_CASE("a cache of pixels from another JPEG decoder or an earlier version does not fit") {
  const Images images;
  images.load();
  const std::string sound = read_file(images.cache);
  const std::string begin =
      "generous decoded images, version 2, JPEG by " + std::string(jpeg_decoders().front().name) + ": 3 of ";
  REQUIRE(sound.starts_with(begin));
  std::string other = "generous decoded images, version 2, JPEG by someone else: 3 of ";
  SUBCASE("another decoder") {}
  SUBCASE("an earlier version") { other = "generous decoded images, version 1: 3 of "; }
  write_file(images.cache, other + sound.substr(begin.size()));
  CHECK_FALSE(standard_error_of([&] { CHECK(pixels(images.load()) == expected({0, 1, 2})); }).empty());
  CHECK(read_file(images.cache) == sound);
}

TEST_CASE("labels are those of today, whatever the cache was written with") {
  const TemporaryFolder root;
  const std::string red = encode_png(64, 64, pixels_of(1, 64, 64));
  write_file(root / "wnids.txt", "n02\nn01\n");
  for (const char* name : {"n01", "n02"}) write_file(root / "train" / name / "0.png", red);
  for (const char* name : {"0.png", "1.png"}) write_file(root / "val" / "images" / name, red);
  write_file(root / "val" / "val_annotations.txt", "0.png\tn01\n1.png\tn02\n");
  CHECK(load_tiny_imagenet(root.path(), Split::test).labels == std::vector<std::int64_t>{0, 1});
  CHECK(fs::exists(root / ".generous_cache" / "test.images"));
  write_file(root / "val" / "val_annotations.txt", "0.png\tn02\n1.png\tn02\n");
  CHECK(load_tiny_imagenet(root.path(), Split::test).labels == std::vector<std::int64_t>{1, 1});
}

TEST_CASE("a temporary file that a killed program left beside the cache goes at the next load") {
  const Images images;
  images.load();
  const fs::path left = images.cache.parent_path() / ".train.images.4711-0.tmp";
  write_file(left, "part of a cache");
  images.load();
  CHECK_FALSE(fs::exists(left));
  CHECK(fs::exists(images.cache));
}

TEST_CASE("a damaged cache is noted, never believed, and replaced") {
  const Images images;
  images.load();
  const std::string sound = read_file(images.cache);
  REQUIRE(sound.size() > 3 * height * width * 3);
  const auto check = [&](const std::string& damaged) {
    write_file(images.cache, damaged);
    std::string notes = standard_error_of([&] { CHECK(pixels(images.load()) == expected({0, 1, 2})); });
    CHECK(std::count(notes.begin(), notes.end(), '\n') == 1);
    CHECK(read_file(images.cache) == sound);
  };
  for (std::size_t i = 0; i < sound.size(); ++i) {
    CAPTURE(i);
    std::string damaged = sound;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
    check(damaged);
  }
  for (std::size_t size = 0; size < sound.size(); size += 5) check(sound.substr(0, size));
  check(sound + '\0');
  check(sound + sound);
  check(std::string(sound.size(), '\0'));
  check("{\"a\": 1}");
}

TEST_CASE("damage far behind the beginning is found too") {
  constexpr std::uint32_t rows = 1000;
  constexpr std::uint32_t columns = 801;
  const TemporaryFolder root;
  std::string all;
  for (int i = 0; i < 3; ++i) {
    all += pixels_of(i, rows, columns);
    const auto png = encode_png(rows, columns, pixels_of(i, rows, columns));
    write_file(root / "train" / "a" / (std::to_string(i) + ".png"), png);
    if (i == 0) write_file(root / "test" / "a" / "0.png", png);
  }
  const auto loaded = [&] {
    const Dataset dataset = load_class_folders(root.path(), Split::train);
    const auto bytes = dataset.images.data<std::uint8_t>();
    return std::equal(bytes.begin(), bytes.end(), all.begin(), all.end(),
                      [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); });
  };
  const fs::path cache = root / ".generous_cache" / "train.images";
  CHECK(loaded());
  const std::string sound = read_file(cache);
  CHECK(standard_error_of([&] { CHECK(loaded()); }).empty());
  for (const std::size_t from_end : {std::size_t{100}, std::size_t{3'500'000}, std::size_t{7'000'000}}) {
    std::string damaged = sound;
    damaged[sound.size() - from_end] ^= 1;
    write_file(cache, damaged);
    CHECK_FALSE(standard_error_of([&] { CHECK(loaded()); }).empty());
    CHECK(read_file(cache) == sound);
  }
}

TEST_CASE("where nothing can be written beside the images, the user's cache folder serves") {
  const Images images;
  write_file(images.cache.parent_path(), "a file, so there can be no such folder");
  CHECK(standard_error_of([&] { images.load(); }).empty());
  REQUIRE(fs::exists(images.user_file()));
  replace_secretly(images.files[1], Images::image(7));
  CHECK(standard_error_of([&] { CHECK(pixels(images.load()) == expected({0, 1, 2})); }).empty());

  // Another dataset has another cache.
  const Images others;
  ::setenv("XDG_CACHE_HOME", images.user_cache.path().c_str(), 1);
  write_file(others.cache.parent_path(), "a file");
  others.load();
  CHECK(files_in(images.user_cache / "generous") == 2);
}

TEST_CASE("the cache is in the folder that was asked for, and nowhere else") {
  const Images images;
  const TemporaryFolder asked;
  ::setenv("GENEROUS_CACHE_DIR", (asked / "of images").c_str(), 1);
  images.load();
  CHECK(files_in(asked / "of images") == 1);
  replace_secretly(images.files[1], Images::image(7));
  CHECK(standard_error_of([&] { CHECK(pixels(images.load()) == expected({0, 1, 2})); }).empty());
  write_file(asked / "a file", "");
  ::setenv("GENEROUS_CACHE_DIR", (asked / "a file").c_str(), 1);
  const std::string notes = standard_error_of([&] { CHECK(pixels(images.load()) == expected({0, 7, 2})); });
  CHECK(notes.find("the next start decodes the images again: ") != std::string::npos);
  ::unsetenv("GENEROUS_CACHE_DIR");
  CHECK_FALSE(fs::exists(images.cache.parent_path()));
  CHECK(images.user_file().empty());
}

TEST_CASE("without a place for the cache, on a full disk and for odd files there: just no cache") {
  const Images images;
  std::string reason = "cannot create";
  SUBCASE("no place") {
    write_file(images.cache.parent_path(), "a file");
    ::setenv("XDG_CACHE_HOME", (images.cache.parent_path() / "below_a_file").c_str(), 1);
    reason = "Not a directory";
  }
  SUBCASE("no place and no home") {
    write_file(images.cache.parent_path(), "a file");
    ::setenv("XDG_CACHE_HOME", "relative", 1);
    ::setenv("HOME", "", 1);
    reason = "";
  }
  SUBCASE("folders in the place of the files") {
    fs::create_directories(images.cache);
    ::setenv("XDG_CACHE_HOME", (images.cache / "0").c_str(), 1);
    write_file(images.cache / "0", "a file");
    reason = "";
  }
  SUBCASE("full disk") {
    rlimit unlimited{};
    ::getrlimit(RLIMIT_FSIZE, &unlimited);
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100, unlimited.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    CHECK(pixels(images.load()) == expected({0, 1, 2}));
    ::setrlimit(RLIMIT_FSIZE, &unlimited);
    CHECK(files_in(images.cache.parent_path()) == 0);
    CHECK(images.user_file().empty());
    return;
  }
  for (int i = 0; i < 2; ++i) {
    const std::string notes = standard_error_of([&] { CHECK(pixels(images.load()) == expected({0, 1, 2})); });
    CHECK(notes.find("the next start decodes the images again: ") != std::string::npos);
    CHECK(notes.find(reason) != std::string::npos);
  }
}

TEST_CASE("a bad image is the same error with a cache of its earlier self, and leaves no cache of its own") {
  const Images images;
  SUBCASE("with a cache") { images.load(); }
  SUBCASE("without a cache") {}
  const bool cached = fs::exists(images.cache);
  const std::string before = cached ? read_file(images.cache) : "";
  write_file(images.files[2], Images::image(2).substr(0, 40));
  std::string error;
  standard_error_of([&] { error = error_of([&] { images.load(); }); });
  CHECK(error.starts_with(images.files[2].string() + ": "));
  CHECK(fs::exists(images.cache) == cached);
  if (cached) CHECK(read_file(images.cache) == before);
}

TEST_CASE("many at once, while the cache comes and goes: all get the images, nothing is left over") {
  const Images images;
  std::atomic<int> right = 0;
  std::atomic<bool> done = false;
  std::thread remover([&] {
    std::error_code ignored;
    while (!done) fs::remove(images.cache, ignored), std::this_thread::yield();
  });
  std::vector<std::thread> loaders;
  for (int i = 0; i < 4; ++i)
    loaders.emplace_back([&] {
      for (int n = 0; n < 25; ++n) right += pixels(images.load()) == expected({0, 1, 2});
    });
  const std::string notes = standard_error_of([&] {
    for (std::thread& loader : loaders) loader.join();
  });
  done = true;
  remover.join();
  CHECK(right == 100);
  images.load();
  CHECK(files_in(images.cache.parent_path()) == 1);
}

}  // namespace
}  // namespace generous
