// Fashion-MNIST's IDX files. The first byte says whether they are named as gzipped ones, the second how many
// bytes are the labels' file; the rest is the images' file.
#include "data/formats.h"
#include "tests/fuzz/fuzz.h"

using namespace generous;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path folder = fuzz::scratch_folder();
  std::string_view input = fuzz::text_of(data, size);
  const bool gzipped = fuzz::take_byte(input) % 2 == 1;
  const std::size_t label_bytes = std::min<std::size_t>(fuzz::take_byte(input), input.size());
  // Of both names the reader takes the one without .gz.
  const std::string ending = gzipped ? ".gz" : "";
  const std::filesystem::path labels = folder / ("train-labels-idx1-ubyte" + ending);
  const std::filesystem::path images = folder / ("train-images-idx3-ubyte" + ending);
  fuzz::put_file(labels, input.substr(0, label_bytes));
  fuzz::put_file(images, input.substr(label_bytes));
  fuzz::accepted([&] {
    const Dataset dataset = load_fashion_mnist(folder, Split::train);
    fuzz::check(dataset.size() > 0 && dataset.size() == std::ssize(dataset.labels),
                "every image has a label");
    fuzz::check(dataset.images.shape() == Shape({dataset.size(), 28, 28, 1}), "images are 28 x 28");
    for (const std::int64_t label : dataset.labels)
      fuzz::check(label >= 0 && label < 10, "labels are classes");
  });
  std::filesystem::remove(labels);
  std::filesystem::remove(images);
  return 0;
}
