#include <doctest/doctest.h>

#include <algorithm>

#include "data/folder.h"
#include "data/formats.h"
#include "tests/data/data_files.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

// Record i: the given label bytes, then red 10 i + 1, green 10 i + 2, blue 10 i + 3, and three pixels of
// their own.
std::string records(const std::vector<std::string>& labels) {
  std::string content;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    content += labels[i];
    std::string planes;
    for (std::size_t c = 1; c <= 3; ++c) planes += std::string(1024, static_cast<char>(10 * i + c));
    planes[0 * 1024 + 32 * 5 + 7] = static_cast<char>(200);   // red at row 5, column 7
    planes[1 * 1024 + 32 * 31 + 0] = static_cast<char>(201);  // green at row 31, column 0
    planes[2 * 1024 + 32 * 0 + 31] = static_cast<char>(202);  // blue at row 0, column 31
    content += planes;
  }
  return content;
}

struct Cifar10Files {
  TemporaryFolder folder;
  CifarFormat format = cifar10_format();

  Cifar10Files() {
    format.train_records = 2;
    format.test_records = 3;
    write_file(folder / "batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
    for (std::size_t i = 0; i < 5; ++i) {
      write_file(folder / format.train_files[i],
                 records({std::string(1, static_cast<char>(i)), std::string(1, static_cast<char>(9 - i))}));
    }
    write_file(folder / "test_batch.bin", records({"\x07", "\x01", "\x02"}));
  }
  std::string error(Split split = Split::train) const {
    return error_of([&] { load_cifar(format, folder.path(), split); });
  }
};

std::size_t offset(std::size_t n, std::size_t y, std::size_t x, std::size_t c) {
  return ((n * 32 + y) * 32 + x) * 3 + c;
}

TEST_CASE("cifar10: planes become interleaved pixels, files follow each other") {
  const Cifar10Files files;
  const Dataset train = load_cifar(files.format, files.folder.path(), Split::train);
  CHECK(train.images.shape() == Shape{10, 32, 32, 3});
  CHECK(train.labels == std::vector<std::int64_t>{0, 9, 1, 8, 2, 7, 3, 6, 4, 5});
  CHECK(train.classes == std::vector<std::string>{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"});
  const auto pixels = train.images.data<std::uint8_t>();
  for (const std::size_t n : {0U, 1U, 8U, 9U}) {
    const std::size_t i = n % 2;
    CHECK(pixels[offset(n, 16, 16, 0)] == 10 * i + 1);
    CHECK(pixels[offset(n, 16, 16, 1)] == 10 * i + 2);
    CHECK(pixels[offset(n, 16, 16, 2)] == 10 * i + 3);
    CHECK(pixels[offset(n, 5, 7, 0)] == 200);
    CHECK(pixels[offset(n, 7, 5, 0)] == 10 * i + 1);
    CHECK(pixels[offset(n, 31, 0, 1)] == 201);
    CHECK(pixels[offset(n, 0, 31, 2)] == 202);
  }
  const Dataset test = load_cifar(files.format, files.folder.path(), Split::test);
  CHECK(test.images.shape() == Shape{3, 32, 32, 3});
  CHECK(test.labels == std::vector<std::int64_t>{7, 1, 2});
}

TEST_CASE("the folder may also be the one that holds the archive's folder") {
  const Cifar10Files files;
  const TemporaryFolder parent;
  fs::copy(files.folder.path(), parent / "cifar-10-batches-bin", fs::copy_options::recursive);
  CHECK(load_cifar(files.format, parent.path(), Split::test).labels == std::vector<std::int64_t>{7, 1, 2});
}

TEST_CASE("cifar100: the second label byte is the class, the first is only checked") {
  const TemporaryFolder folder;
  CifarFormat format = cifar100_format();
  format.train_records = 2;
  std::string names;
  for (int i = 0; i < 100; ++i) names += "name" + std::to_string(i) + "\r\n";
  write_file(folder / "fine_label_names.txt", names);
  write_file(folder / "train.bin", records({"\x13\x63", std::string("\x00\x05", 2)}));
  const Dataset train = load_cifar(format, folder.path(), Split::train);
  CHECK(train.labels == std::vector<std::int64_t>{99, 5});
  CHECK(train.classes[99] == "name99");
  CHECK(train.images.data<std::uint8_t>()[offset(1, 9, 9, 2)] == 13);

  const std::string train_file = (folder / "train.bin").string();
  write_file(train_file, records({"\x13\x63", "\x14\x05"}));
  CHECK(error_of([&] { load_cifar(format, folder.path(), Split::train); }) ==
        train_file + ": record 1 has label 20, expected 0 to 19");
  write_file(train_file, records({"\x13\x64", "\x13\x05"}));
  CHECK(error_of([&] { load_cifar(format, folder.path(), Split::train); }) ==
        train_file + ": record 0 has label 100, expected 0 to 99");
}

TEST_CASE("cifar10: missing, truncated and mislabelled files are errors") {
  const Cifar10Files files;
  const std::string third = (files.folder / "data_batch_3.bin").string();
  SUBCASE("missing") {
    fs::remove(third);
    CHECK(files.error() ==
          third + ": no such file or folder; `" + download_command("cifar10") + "` gets this dataset");
  }
  SUBCASE("no class names") {
    fs::remove(files.folder / "batches.meta.txt");
    CHECK(files.error(Split::test).find("batches.meta.txt: no such file") != std::string::npos);
  }
  SUBCASE("too few class names") {
    write_file(files.folder / "batches.meta.txt", "a\nb\n\n");
    CHECK(files.error() ==
          (files.folder / "batches.meta.txt").string() + ": found 2 class names, expected 10");
  }
  SUBCASE("truncated at the end of a record") {
    write_file(third, records({"\x01"}));
    CHECK(files.error() == third + ": found 3073 bytes, expected 6146 (2 records of 3073 bytes)");
  }
  SUBCASE("truncated inside a record") {
    fs::resize_file(third, 6145);
    CHECK(files.error() == third + ": found 6145 bytes, expected 6146 (2 records of 3073 bytes)");
  }
  SUBCASE("CIFAR-100's records") {
    write_file(third, records({"\x01\x01", "\x02\x02"}));
    CHECK(files.error() == third + ": found 6148 bytes, expected 6146 (2 records of 3073 bytes)");
  }
  SUBCASE("a label out of range") {
    write_file(third, records({"\x09", "\x0a"}));
    CHECK(files.error() == third + ": record 1 has label 10, expected 0 to 9");
  }
  SUBCASE("a folder in place of a file") {
    fs::remove(third);
    fs::create_directory(third);
    CHECK(files.error() == third + ": is not a regular file");
  }
}

TEST_CASE("the formats are the original archives'") {
  const CifarFormat ten = cifar10_format();
  CHECK(ten.train_files.size() == 5);
  CHECK(ten.train_files[4] == "data_batch_5.bin");
  CHECK(ten.train_records == 10000);
  CHECK(ten.test_records == 10000);
  const CifarFormat hundred = cifar100_format();
  CHECK(hundred.train_records == 50000);
  CHECK(hundred.test_records == 10000);
  CHECK(hundred.label_bounds == std::vector<std::int64_t>{20, 100});
}

/// A batch as Python 2's cPickle wrote it, protocol 2: labels, and a NumPy array u1 {rows, 3072} of `planes`.
std::string python_batch(const std::string& labels_key, const std::string& labels, std::string planes,
                         const std::string& type = "u1") {
  using namespace std::string_literals;
  const auto text = [](const std::string& value) { return "U"s + static_cast<char>(value.size()) + value; };
  const auto rows = static_cast<char>(planes.size() / 3072);
  std::string list = "](";
  for (const char label : labels) list += "K"s + label;
  std::string size;
  for (const int shift : {0, 8, 16, 24}) size.push_back(static_cast<char>(planes.size() >> shift & 0xFFU));
  return "\x80\x02}q\x01("s + text("batch_label") + text("of a test") + text(labels_key) + "q\x02" + list +
         "e" + text("data") + "cnumpy.core.multiarray\n_reconstruct\nq\x03"s +
         "cnumpy\nndarray\nq\x04K\0\x85"s + text("b") + "\x87Rq\x05(K\x01K"s + rows + "M\0\x0c\x86"s +
         "cnumpy\ndtype\n" + text(type) + "K\0K\x01\x87R(K\x03"s + text("|") +
         "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T"s + size + planes + "tbu.";
}

/// The same images as in Cifar10Files.
struct PythonFiles {
  TemporaryFolder folder;
  CifarFormat format = cifar10_format();
  fs::path root = folder / "cifar-10-batches-py";

  PythonFiles() {
    format.train_records = 2;
    format.test_records = 3;
    std::string names = "\x80\x02}(U\x0blabel_names](";
    for (const char name : std::string("abcdefghij")) names += std::string("U\x01") + name;
    write_file(root / "batches.meta", names + "eu.");
    for (std::size_t i = 0; i < 5; ++i)
      write_file(root / format.python_train_files[i],
                 python_batch("labels", {static_cast<char>(i), static_cast<char>(9 - i)}, records({"", ""})));
    write_file(root / "test_batch", python_batch("labels", "\x07\x01\x02", records({"", "", ""})));
  }
  std::string error(Split split = Split::test) const {
    return error_of([&] { load_cifar(format, folder.path(), split); });
  }
};

TEST_CASE("the version for Python, as torchvision leaves it: the same images") {
  const Cifar10Files binary;
  const PythonFiles python;
  for (const Split split : {Split::train, Split::test}) {
    const Dataset expected = load_cifar(binary.format, binary.folder.path(), split);
    for (const fs::path& folder : {python.folder.path(), python.root}) {
      const Dataset found = load_cifar(python.format, folder, split);
      CHECK(found.labels == expected.labels);
      CHECK(found.classes == expected.classes);
      REQUIRE(found.images.shape() == expected.images.shape());
      CHECK(std::ranges::equal(found.images.data<std::uint8_t>(), expected.images.data<std::uint8_t>()));
    }
  }
}

TEST_CASE("cifar100 for Python: fine labels, in the files train, test and meta") {
  const TemporaryFolder folder;
  CifarFormat format = cifar100_format();
  format.train_records = 2;
  format.label_bounds = {20, 3};
  write_file(folder / "meta",
             "\x80\x02}(U\x10"
             "fine_label_names](U\x01xU\x01yU\x01zeu.");
  write_file(folder / "test", "");
  write_file(folder / "train", python_batch("fine_labels", "\x02\x01", records({"", ""})));
  const Dataset train = load_cifar(format, folder.path(), Split::train);
  CHECK(train.labels == std::vector<std::int64_t>{2, 1});
  CHECK(train.classes == std::vector<std::string>{"x", "y", "z"});
  CHECK(train.images.data<std::uint8_t>()[offset(1, 5, 7, 0)] == 200);
}

TEST_CASE("pickles that are not such a batch are refused by name, and nothing in them is run") {
  const PythonFiles files;
  const fs::path test = files.root / "test_batch";
  const auto error_with = [&](const std::string& content) {
    write_file(test, content);
    const std::string error = files.error();
    REQUIRE(error.starts_with(test.string()));
    return error.substr(test.string().size());
  };
  const std::string planes = records({"", "", ""});
  CHECK(error_with(python_batch("labels", "\x07\x01", planes)) == ": 'labels': found 2 labels, expected 3");
  CHECK(error_with(python_batch("labels", "\x07\x01\x0a", planes)) ==
        ": 'labels': found a label that is none of 0 to 9");
  CHECK(error_with(python_batch("fine_labels", "\x07\x01\x02", planes))
            .starts_with(": has no 'labels', expected a dictionary"));
  CHECK(error_with(python_batch("labels", "\x07\x01\x02", records({"", ""}))) ==
        ": 'data': is another array than u1 {3, 3072} row by row");
  CHECK(error_with(python_batch("labels", "\x07\x01\x02", planes, "i1"))
            .starts_with(": 'data': is another array than u1"));
  CHECK(error_with("\x80\x02"
                   "cposix\nsystem\nU\x04true\x85R.")
            .find("posix.system") != std::string::npos);
  CHECK(error_with("\x80\x02].") == ": holds no dictionary, but something else");
  CHECK(error_with(python_batch("labels", "\x07\x01\x02", planes).substr(0, 500)).find("it ends early") !=
        std::string::npos);
  fs::remove(files.root / "data_batch_3");
  CHECK(files.error(Split::train).starts_with((files.root / "data_batch_3").string() + ": no such file"));
}

}  // namespace
}  // namespace generous
