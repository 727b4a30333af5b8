#include "data/dataset.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>

#include "data/folder.h"
#include "tests/data/data_files.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

TEST_CASE("statistics and augmentations are the recipes'") {
  const DatasetInfo& cifar = dataset_info("cifar100");
  CHECK(cifar.name == "cifar100");
  CHECK(cifar.normalisation.mean == std::array{0.4914F, 0.4822F, 0.4465F});
  CHECK(cifar.normalisation.std == std::array{0.247F, 0.243F, 0.261F});
  REQUIRE(cifar.field_normalisation);
  CHECK(to_text(*cifar.field_normalisation, 3) == "0.5071,0.4867,0.4408/0.2675,0.2565,0.2761");
  CHECK_FALSE(dataset_info("cifar10").field_normalisation);
  CHECK(cifar.crop_padding == 4);
  CHECK(cifar.flip);
  CHECK(cifar.rotation_degrees == 0.0F);
  const DatasetInfo& tiny = dataset_info("tiny_imagenet");
  CHECK(tiny.normalisation.mean == std::array{0.4802F, 0.4481F, 0.3975F});
  CHECK(tiny.normalisation.std == std::array{0.2302F, 0.2265F, 0.2262F});
  CHECK(tiny.crop_padding == 0);
  CHECK(tiny.flip);
  CHECK(tiny.rotation_degrees == 20.0F);
  const DatasetInfo& fashion = dataset_info("fashion_mnist");
  CHECK(fashion.normalisation.mean[0] == 0.2860F);
  CHECK(fashion.normalisation.std[0] == 0.3530F);
  CHECK(fashion.crop_padding == 2);
}

TEST_CASE("every name has an info of that name") {
  const std::vector<std::string> names = dataset_names();
  for (const std::string name : {"fashion_mnist", "cifar10", "cifar100", "tiny_imagenet", "class_folders"})
    CHECK(std::ranges::count(names, name) == 1);
  for (const std::string& name : names) CHECK(dataset_info(name).name == name);
}

TEST_CASE("an unknown name is an error that names the nearest") {
  const std::string expected = "unknown dataset 'cifar_100' (did you mean 'cifar100'?)";
  CHECK(error_of([] { dataset_info("cifar_100"); }) == expected);
  CHECK(error_of([] { load_dataset("cifar_100", ".", Split::train); }) == expected);
}

TEST_CASE("a missing folder is an error with the command that gets the dataset") {
  for (const std::string name : {"fashion_mnist", "cifar10", "cifar100", "tiny_imagenet"}) {
    CHECK(error_of([&] { load_dataset(name, "/nowhere/at/all", Split::train); }) ==
          "/nowhere/at/all: no such file or folder; `" + download_command(name) +
              " /nowhere/at/all` gets this dataset");
  }
  const TemporaryFolder folder;
  const fs::path empty = folder / "one's own";
  fs::create_directory(empty);
  CHECK(error_of([&] { load_dataset("cifar10", empty, Split::train); }) ==
        empty.string() + ": is empty; `" + download_command("cifar10") + " '" + folder.path().string() +
            "/one'\\''s own'` gets this dataset");
  const fs::path default_folder = dataset_info("cifar10").default_folder;
  REQUIRE(!fs::exists(default_folder));
  CHECK(error_of([&] { load_dataset("cifar10", default_folder, Split::train); }) ==
        "datasets/cifar10: no such file or folder; `" + download_command("cifar10") + "` gets this dataset");
  CHECK(error_of([&] { load_dataset("class_folders", "", Split::train); }) ==
        "class_folders has no default folder: name one that holds train/ and test/");
}

TEST_CASE("a path that cannot be looked at is an error of one line with the reason") {
  const TemporaryFolder folder;
  std::filesystem::create_symlink("loop", folder / "loop");
  const std::string loop = (folder / "loop").string();
  const std::string long_name = (folder / std::string(300, 'n')).string();
  std::string long_path = folder.path().string();
  while (long_path.size() < 5000) long_path += "/folder";
  for (const std::string& name : dataset_names()) {
    CAPTURE(name);
    const auto error = [&](const std::string& path) {
      return error_of([&] { load_dataset(name, path, Split::train); });
    };
    const std::string inside = name == "class_folders" ? "/train" : "";
    CHECK(error(loop) == "cannot look at " + loop + inside + ": Too many levels of symbolic links");
    CHECK(error(long_name) == "cannot look at " + long_name + inside + ": File name too long");
    CHECK(error(long_path) == "cannot look at " + long_path + inside + ": File name too long");
  }
  std::filesystem::create_directories(folder / "train");
  std::filesystem::create_symlink("cat", folder / "train" / "cat");
  CHECK(error_of([&] { load_dataset("class_folders", folder.path(), Split::train); }) ==
        (folder / "train" / "cat").string() + ": Too many levels of symbolic links");
}

TEST_CASE("a pipe is an error, wherever in a dataset it is, and nobody waits for its writer") {
  const auto error = [](const std::string& name, const std::string& pipe) {
    const TemporaryFolder folder;
    write_file(folder / "train" / "only" / "b.png", png_rgb_2x3);
    write_file(folder / "train" / "n01" / "images" / "a.JPEG", jpeg_red_64x64);
    write_file(folder / "batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n");
    write_file(folder / "train-labels-idx1-ubyte", "labels");
    if (name == "class_folders") std::filesystem::remove_all(folder / "train" / "n01");
    if (name == "tiny_imagenet") std::filesystem::remove_all(folder / "train" / "only");
    REQUIRE(::mkfifo((folder / pipe).c_str(), 0600) == 0);
    const std::string text = error_of([&] { load_dataset(name, folder.path(), Split::train); });
    return text.find((folder / pipe).string()) == std::string::npos ? "" : text;
  };
  CHECK_FALSE(error("class_folders", "train/only/a.png").empty());
  CHECK_FALSE(error("class_folders", "train/only/c.png").empty());
  CHECK_FALSE(error("class_folders", "train/pipe").empty());
  CHECK_FALSE(error("tiny_imagenet", "wnids.txt").empty());
  CHECK_FALSE(error("tiny_imagenet", "words.txt").empty());
  CHECK_FALSE(error("tiny_imagenet", "train/n01/images/b.JPEG").empty());
  CHECK_FALSE(error("cifar10", "data_batch_1.bin").empty());
  CHECK_FALSE(error("cifar100", "fine_label_names.txt").empty());
  CHECK_FALSE(error("fashion_mnist", "train-images-idx3-ubyte").empty());
}

TEST_CASE("a folder whose name is not UTF-8 is a folder like any other") {
  const TemporaryFolder folder;
  const std::filesystem::path odd = folder / "\xff\xfe";
  write_file(odd / "train" / "only" / "a.png", png_rgb_2x3);
  CHECK(load_dataset("class_folders", odd, Split::train).images.shape() == Shape{1, 2, 3, 3});
  CHECK(load_dataset("class_folders", odd, Split::train).images.shape() ==
        Shape{1, 2, 3, 3});  // from its cache
}

TEST_CASE("a name leads to its reader") {
  const TemporaryFolder folder;
  write_file(folder / "train" / "only" / "a.png", png_rgb_2x3);
  CHECK(load_dataset("class_folders", folder.path(), Split::train).images.shape() == Shape{1, 2, 3, 3});
  const auto starts = [&](const std::string& name, const std::string& file) {
    const std::string error = error_of([&] { load_dataset(name, folder.path(), Split::test); });
    return error.starts_with((folder / file).string());
  };
  CHECK(starts("fashion_mnist", "t10k-images-idx3-ubyte.gz"));
  CHECK(starts("cifar10", "batches.meta.txt"));
  CHECK(starts("cifar100", "fine_label_names.txt"));
  CHECK(starts("tiny_imagenet", "val"));
}

}  // namespace
}  // namespace generous
