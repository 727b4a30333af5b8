// CIFAR's binary files, with a record in each. The first byte picks the format, the second how many bytes are
// the list of class names, the third shortens the records; the rest is what the records begin with.
#include "data/formats.h"
#include "tests/fuzz/fuzz.h"

using namespace generous;

namespace {

constexpr std::size_t image_bytes = 3072;

CifarFormat with_one_record(CifarFormat format) {
  format.train_records = 1;
  format.test_records = 1;
  return format;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const CifarFormat formats[] = {with_one_record(cifar10_format()),
                                        with_one_record(cifar100_format())};
  static const std::filesystem::path folder = fuzz::scratch_folder();
  std::string_view input = fuzz::text_of(data, size);
  const CifarFormat& format = formats[fuzz::take_byte(input) % 2];
  const std::size_t name_bytes = std::min<std::size_t>(4 * fuzz::take_byte(input), input.size());
  const std::size_t missing_bytes = fuzz::take_byte(input);
  fuzz::put_file(folder / format.names_file, input.substr(0, name_bytes));
  input.remove_prefix(std::min(name_bytes, input.size()));
  std::string record(input);
  if (missing_bytes < 255) record.resize(format.label_bounds.size() + image_bytes - missing_bytes);
  fuzz::put_file(folder / format.test_file, record);
  fuzz::accepted([&] {
    const Dataset dataset = load_cifar(format, folder, Split::test);
    fuzz::check(record.size() == format.label_bounds.size() + image_bytes, "the file has the right size");
    fuzz::check(dataset.images.shape() == Shape({1, 32, 32, 3}), "the image is 32 x 32");
    fuzz::check(std::ssize(dataset.classes) == format.label_bounds.back(), "every class has a name");
    fuzz::check(dataset.labels.size() == 1 &&
                    dataset.labels[0] == static_cast<std::uint8_t>(record[format.label_bounds.size() - 1]),
                "the label is the record's");
    fuzz::check(dataset.labels[0] < std::ssize(dataset.classes), "the label is a class");
    const std::span<const std::uint8_t> pixels = dataset.images.data<std::uint8_t>();
    for (std::size_t i = 0; i < image_bytes; ++i)
      fuzz::check(
          pixels[i] == static_cast<std::uint8_t>(record[format.label_bounds.size() + i % 3 * 1024 + i / 3]),
          "pixels are the record's");
  });
  return 0;
}
