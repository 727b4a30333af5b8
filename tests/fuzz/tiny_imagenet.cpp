// Tiny-ImageNet's text files, separated by zero bytes: wnids.txt, val_annotations.txt, words.txt. The images
// of the validation set are there: one of each of two classes.
#include "core/files.h"
#include "data/formats.h"
#include "tests/data/data_files.h"
#include "tests/fuzz/fuzz.h"

using namespace generous;

namespace {

std::filesystem::path make_images() {
  const std::filesystem::path root = fuzz::scratch_folder() / "tiny-imagenet-200";
  for (const char* name : {"val_0.JPEG", "val_1.JPEG"})
    write_file(root / "val" / "images" / name, jpeg_red_64x64);
  return root;
}

/// What is before the next zero byte; takes it away.
std::string_view take_text(std::string_view& input) {
  const std::string_view text = input.substr(0, input.find('\0'));
  input.remove_prefix(std::min(text.size() + 1, input.size()));
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path root = make_images();
  std::string_view input = fuzz::text_of(data, size);
  fuzz::put_file(root / "wnids.txt", take_text(input));
  fuzz::put_file(root / "val" / "val_annotations.txt", take_text(input));
  fuzz::put_file(root / "words.txt", input);
  fuzz::accepted([&] {
    const Dataset dataset = load_tiny_imagenet(root, Split::test);
    fuzz::check(dataset.size() == 2 && dataset.labels.size() == 2, "every image has a label");
    for (const std::int64_t label : dataset.labels)
      fuzz::check(label >= 0 && label < std::ssize(dataset.classes), "labels are classes");
  });
  return 0;
}
