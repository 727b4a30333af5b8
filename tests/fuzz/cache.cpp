// The cache of decoded images: whatever it holds, the images are the dataset's, or those that a whole cache
// with right checksums says they are.
#include <fcntl.h>
#include <sys/stat.h>

#include "core/files.h"
#include "data/decoded_cache.h"
#include "tests/data/data_files.h"
#include "tests/fuzz/fuzz.h"

using namespace generous;

namespace {

constexpr ImageSize image_size{2, 3};

/// Two images and their cache; all that a cache names is the same in every run.
class CachedImages {
 public:
  CachedImages() {
    for (const char* name : {"0.png", "1.png"}) {
      files_.push_back({root_ / name, std::ssize(files_)});
      write_file(files_.back().path, files_.size() == 1 ? png_rgb_2x3 : png_grey_2x3);
      const timespec times[] = {{}, {}};
      ::utimensat(AT_FDCWD, files_.back().path.c_str(), times, 0);
    }
    images_ = load().images.clone();
  }

  Dataset load() const { return load_decoded(root_, Split::test, files_, {"one", "two"}, image_size); }
  std::filesystem::path cache() const { return root_ / ".generous_cache" / "test.images"; }
  std::string_view pixels() const { return bytes_of(images_); }
  static std::string_view bytes_of(const Tensor& images) {
    return {static_cast<const char*>(images.raw()), images.bytes()};
  }

 private:
  std::filesystem::path root_ = fuzz::scratch_folder() / "images";
  std::vector<LabelledFile> files_;
  Tensor images_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const CachedImages images;
  const std::string_view input = fuzz::text_of(data, size);
  fuzz::put_file(images.cache(), input);
  const Dataset dataset = images.load();
  fuzz::check(dataset.labels == std::vector<std::int64_t>{0, 1}, "the labels are the files'");
  const std::string_view pixels = CachedImages::bytes_of(dataset.images);
  constexpr std::size_t checksum_bytes = 4;
  const bool as_cached = input.size() > pixels.size() + checksum_bytes &&
                         input.substr(input.size() - checksum_bytes - pixels.size(), pixels.size()) == pixels;
  fuzz::check(pixels == images.pixels() || as_cached, "the pixels are the images'");
  return 0;
}
