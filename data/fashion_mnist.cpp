// The IDX format of the MNIST family: a magic number (two zero bytes, element type, number of axes), the
// extents as big-endian 32-bit integers, the elements; gzipped or not.
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>

#include "core/error.h"
#include "core/files.h"
#include "data/folder.h"
#include "data/formats.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

constexpr std::uint32_t images_magic = 0x00000803;  // unsigned bytes, 3 axes
constexpr std::uint32_t labels_magic = 0x00000801;  // unsigned bytes, 1 axis
constexpr std::uint32_t side = 28;
// More than any dataset of the family has. Without a bound a gzip file could make of its bytes a thousand
// times as many.
constexpr std::uint32_t max_count = 1U << 20;

// Reads a gzipped or plain file front to back; zlib checks the gzip checksums.
class InputFile {
 public:
  explicit InputFile(const fs::path& path) : name_(path.string()), file_(nullptr, gzclose_r) {
    file_bytes(path);  // refuses what is no regular file: opening a pipe would wait for its writer
    file_.reset(gzopen(path.c_str(), "rb"));
    if (!file_) fail("{}: cannot open: {}", name_, std::strerror(errno));
    gzbuffer(file_.get(), 1U << 17);
  }

  const std::string& name() const { return name_; }

  std::uint32_t read_u32() {
    const std::vector<std::uint8_t> b = read(4);
    return std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | b[3];
  }

  // The number of images or labels.
  std::uint32_t read_count() {
    const std::uint32_t count = read_u32();
    if (count > max_count)
      fail("{}: the header announces {} elements, expected at most {}", name_, count, max_count);
    return count;
  }

  // Exactly `bytes` bytes. Memory is taken as they come, because a header may announce more than there are.
  std::vector<std::uint8_t> read(std::size_t bytes) {
    constexpr std::size_t first_step = std::size_t{1} << 20;
    std::vector<std::uint8_t> content;
    for (std::size_t done = 0; done < bytes;) {
      if (done == content.size()) content.resize(std::min(bytes, std::max(first_step, 2 * done)));
      const std::size_t got = read_some(std::span(content).subspan(done));
      if (got == 0) fail("{}: truncated: it ends {} bytes early", name_, bytes - done);
      done += got;
    }
    return content;
  }

  // Nothing may follow; reading past the end also makes zlib compare the checksum.
  void expect_end() {
    std::array<std::uint8_t, 1> byte{};
    if (read_some(byte) != 0) fail("{}: has more bytes than its header announces", name_);
  }

 private:
  std::size_t read_some(std::span<std::uint8_t> out) {
    const int got = gzread(file_.get(), out.data(), static_cast<unsigned>(out.size()));
    int code = Z_OK;
    const char* message = gzerror(file_.get(), &code);
    if (code == Z_BUF_ERROR) fail("{}: truncated: the compressed data breaks off", name_);
    if (got < 0) fail("{}: {}", name_, code == Z_ERRNO ? std::strerror(errno) : message);
    return static_cast<std::size_t>(got);
  }

  std::string name_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

// `stem` itself or with .gz, whichever is there.
fs::path find_file(const fs::path& folder, const std::string& stem) {
  if (file_exists(folder / stem)) return folder / stem;
  return require_exists(folder / (stem + ".gz"), "fashion_mnist");
}

void check_magic(InputFile& file, std::uint32_t expected) {
  const std::uint32_t found = file.read_u32();
  if (found != expected) {
    fail("{}: found magic number {:#010x}, expected {:#010x} ({})", file.name(), found, expected,
         expected == images_magic ? "IDX images" : "IDX labels");
  }
}

Tensor read_images(const fs::path& path) {
  InputFile file(path);
  check_magic(file, images_magic);
  const std::uint32_t count = file.read_count();
  const std::uint32_t height = file.read_u32();
  const std::uint32_t width = file.read_u32();
  if (height != side || width != side) {
    fail("{}: found images of {} x {} pixels, expected 28 x 28", file.name(), height, width);
  }
  if (count == 0) fail("{}: holds no images", file.name());
  const std::vector<std::uint8_t> pixels = file.read(std::size_t{count} * side * side);
  file.expect_end();
  Tensor images = Tensor::empty({count, side, side, 1}, DType::u8);
  std::ranges::copy(pixels, images.data<std::uint8_t>().begin());
  return images;
}

std::vector<std::int64_t> read_labels(const fs::path& path, std::size_t classes) {
  InputFile file(path);
  check_magic(file, labels_magic);
  const std::vector<std::uint8_t> bytes = file.read(file.read_count());
  file.expect_end();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] >= classes) {
      fail("{}: label {} is {}, expected 0 to {}", file.name(), i, bytes[i], classes - 1);
    }
  }
  return {bytes.begin(), bytes.end()};
}

}  // namespace

Dataset load_fashion_mnist(const fs::path& folder, Split split) {
  const std::string prefix = split == Split::train ? "train" : "t10k";
  const fs::path root = dataset_root(dataset_root(folder, "FashionMNIST"), "raw");  // torchvision's folders
  const fs::path images_file = find_file(root, prefix + "-images-idx3-ubyte");
  const fs::path labels_file = find_file(root, prefix + "-labels-idx1-ubyte");
  Dataset dataset;
  dataset.classes = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                     "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
  dataset.images = read_images(images_file);
  dataset.labels = read_labels(labels_file, dataset.classes.size());
  if (dataset.images.size(0) != static_cast<std::int64_t>(dataset.labels.size())) {
    fail("{}: found {} labels, expected {}, one for each image of {}", labels_file.string(),
         dataset.labels.size(), dataset.images.size(0), images_file.string());
  }
  return dataset;
}

}  // namespace generous
