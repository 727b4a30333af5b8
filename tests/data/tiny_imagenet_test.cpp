#include <doctest/doctest.h>

#include "data/folder.h"
#include "data/formats.h"
#include "tests/data/data_files.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

// The original layout with two classes; wnids.txt has them in the opposite of alphabetical order.
struct Tiny {
  TemporaryFolder root;
  fs::path annotations = root / "val" / "val_annotations.txt";

  Tiny() {
    write_file(root / "wnids.txt", "n02\nn01\n");
    write_file(root / "words.txt", "n00\tnothing\nn01\tgoldfish, Carassius auratus\nn02\tcentipede\n");
    write_file(root / "train" / "n01" / "n01_boxes.txt", "n01_0.JPEG\t0\t0\t62\t62\n");
    write_file(root / "train" / "n01" / "images" / "n01_0.JPEG", jpeg_red_64x64);
    write_file(root / "train" / "n02" / "images" / "n02_1.JPEG", jpeg_grey_64x64);
    write_file(root / "train" / "n02" / "images" / "n02_0.JPEG", jpeg_green_64x64);
    write_file(root / "val" / "images" / "val_0.JPEG", jpeg_red_64x64);
    write_file(root / "val" / "images" / "val_1.JPEG", jpeg_green_64x64);
    write_file(root / "val" / "images" / "val_2.JPEG", jpeg_red_64x64);
    write_file(annotations,
               "val_2.JPEG\tn01\t0\t32\t44\t62\nval_0.JPEG\tn01\t0\t0\t9\t9\nval_1.JPEG\tn02\t1\t2\t3\t4\n");
  }
  std::string error(Split split) const {
    return error_of([&] { load_tiny_imagenet(root.path(), split); });
  }
};

// The colour in the middle of image n.
std::vector<int> colour(const Dataset& dataset, std::size_t n) {
  const auto pixel = dataset.images.data<std::uint8_t>().subspan(((n * 64 + 32) * 64 + 32) * 3, 3);
  return {pixel.begin(), pixel.end()};
}

bool close(const std::vector<int>& a, const std::vector<int>& b) {
  for (std::size_t i = 0; i < 3; ++i) {
    if (std::abs(a[i] - b[i]) > 1) return false;
  }
  return true;
}

const std::vector<int> red{200, 30, 39};
const std::vector<int> green{20, 180, 60};
const std::vector<int> grey{77, 77, 77};

TEST_CASE(
    "the original layout: classes are numbered by sorted ids, annotations label the validation images") {
  const Tiny tiny;
  const Dataset train = load_tiny_imagenet(tiny.root.path(), Split::train);
  CHECK(train.images.shape() == Shape{3, 64, 64, 3});
  CHECK(train.classes == std::vector<std::string>{"goldfish, Carassius auratus", "centipede"});
  CHECK(train.labels == std::vector<std::int64_t>{0, 1, 1});
  CHECK(close(colour(train, 0), red));
  CHECK(close(colour(train, 1), green));
  CHECK(close(colour(train, 2), grey));

  const Dataset val = load_tiny_imagenet(tiny.root.path(), Split::test);
  CHECK(val.labels == std::vector<std::int64_t>{0, 1, 0});
  CHECK(close(colour(val, 0), red));
  CHECK(close(colour(val, 1), green));
  CHECK(close(colour(val, 2), red));
}

TEST_CASE("class folders: the same labels, also where wnids.txt is missing") {
  const Tiny tiny;
  fs::remove_all(tiny.root / "val");
  write_file(tiny.root / "val" / "n01" / "val_0.JPEG", jpeg_red_64x64);
  write_file(tiny.root / "val" / "n02" / "images" / "val_1.JPEG", jpeg_green_64x64);
  const Dataset val = load_tiny_imagenet(tiny.root.path(), Split::test);
  CHECK(val.labels == std::vector<std::int64_t>{0, 1});
  CHECK(close(colour(val, 0), red));

  fs::remove(tiny.root / "wnids.txt");
  fs::remove(tiny.root / "words.txt");
  const Dataset sorted = load_tiny_imagenet(tiny.root.path(), Split::test);
  CHECK(sorted.classes == std::vector<std::string>{"n01", "n02"});
  CHECK(close(colour(sorted, 0), red));
}

TEST_CASE("the folder may also be the one that holds tiny-imagenet-200") {
  const Tiny tiny;
  const TemporaryFolder parent;
  fs::copy(tiny.root.path(), parent / "tiny-imagenet-200", fs::copy_options::recursive);
  CHECK(load_tiny_imagenet(parent.path(), Split::test).labels == std::vector<std::int64_t>{0, 1, 0});
}

TEST_CASE("missing and contradicting files are errors") {
  const Tiny tiny;
  const std::string annotations = tiny.annotations.string();
  const std::string get = "; `" + download_command("tiny_imagenet") + "` gets this dataset";
  SUBCASE("nothing there") {
    const TemporaryFolder empty;
    CHECK(error_of([&] { load_tiny_imagenet(empty.path(), Split::train); }) ==
          (empty / "train").string() + ": no such file or folder" + get);
  }
  SUBCASE("a listed class has no folder") {
    write_file(tiny.root / "wnids.txt", "n02\nn01\nn03\n");
    CHECK(tiny.error(Split::train) ==
          (tiny.root / "train" / "n03").string() + ": no such file or folder" + get);
  }
  SUBCASE("a folder is not listed") {
    write_file(tiny.root / "wnids.txt", "n02\n");
    CHECK(tiny.error(Split::train) ==
          (tiny.root / "train" / "n01").string() + ": wnids.txt does not list this class");
  }
  SUBCASE("a class is listed twice") {
    write_file(tiny.root / "wnids.txt", "n02\nn01\nn02\n");
    CHECK(tiny.error(Split::train) == (tiny.root / "wnids.txt").string() + ": lists n02 twice");
  }
  SUBCASE("an annotation without a tab") {
    write_file(tiny.annotations, "val_0.JPEG\tn01\nval_1.JPEG n02\n");
    CHECK(tiny.error(Split::test) ==
          annotations + ": line 2 has no tab, expected an image's name, a tab and a WordNet id");
  }
  SUBCASE("an annotation of an unknown class") {
    write_file(tiny.annotations, "val_0.JPEG\tn09\t0\t0\t9\t9\n");
    CHECK(tiny.error(Split::test) == annotations + ": line 1 has class 'n09', which wnids.txt does not list");
  }
  SUBCASE("an image annotated twice") {
    write_file(tiny.annotations, "val_0.JPEG\tn01\nval_0.JPEG\tn02\n");
    CHECK(tiny.error(Split::test) == annotations + ": line 2 lists val_0.JPEG a second time");
  }
  SUBCASE("an image without annotation") {
    write_file(tiny.annotations, "val_0.JPEG\tn01\nval_2.JPEG\tn01\n");
    CHECK(tiny.error(Split::test) == (tiny.root / "val" / "images" / "val_1.JPEG").string() + ": " +
                                         annotations + " does not list this image");
  }
  SUBCASE("an annotation without image") {
    fs::remove(tiny.root / "val" / "images" / "val_1.JPEG");
    CHECK(tiny.error(Split::test) == (tiny.root / "val" / "images" / "val_1.JPEG").string() +
                                         ": no such file, but " + annotations + " lists it");
  }
  SUBCASE("an image of another size") {
    const fs::path file = tiny.root / "train" / "n01" / "images" / "n01_0.JPEG";
    write_file(file, jpeg_stripes_8x24);
    CHECK(tiny.error(Split::train) ==
          file.string() + ": found an image of 8 x 24 pixels, expected 64 x 64 like the others");
  }
}

}  // namespace
}  // namespace generous
