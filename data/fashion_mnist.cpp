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
#include "data/folder.h"
#include "data/formats.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

constexpr std::uint32_t images_magic = 0x00000803;  // unsigned bytes, 3 axes
constexpr std::uint32_t labels_magic = 0x00000801;  // unsigned bytes, 1 axis
constexpr std::uint32_t side = 28;

// Reads a gzipped or plain file front to back; zlib checks the gzip checksums.
class InputFile {
 public:
  explicit InputFile(const fs::path& path)
      : name_(path.string()), file_bytes_(file_bytes(path)), file_(gzopen(path.c_str(), "rb"), gzclose_r) {
    if (!file_) fail("{}: cannot open: {}", name_, std::strerror(errno));
    gzbuffer(file_.get(), 1U << 17);
  }

  const std::string& name() const { return name_; }

  // Fills `out`, or throws.
  void read(std::span<std::uint8_t> out) {
    for (std::size_t done = 0; done < out.size();) {
      const std::size_t wanted = std::min(out.size() - done, std::size_t{1} << 30);
      const std::size_t got = read_some(out.subspan(done, wanted));
      if (got == 0) fail("{}: truncated: it ends {} bytes early", name_, out.size() - done);
      done += got;
    }
  }

  std::uint32_t read_u32() {
    std::array<std::uint8_t, 4> b{};
    read(b);
    return std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | b[3];
  }

  // Checked before memory is taken for the content.
  void check_can_hold(std::uint64_t content_bytes) {
    constexpr std::uint64_t max_deflate_ratio = 1032;
    const std::uint64_t most = gzdirect(file_.get()) != 0 ? file_bytes_ : file_bytes_ * max_deflate_ratio;
    if (content_bytes > most) {
      fail("{}: the header announces {} bytes, but a file of {} bytes cannot hold them", name_, content_bytes,
           file_bytes_);
    }
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
  std::uint64_t file_bytes_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

// `stem` itself or with .gz, whichever is there.
fs::path find_file(const fs::path& folder, const std::string& stem) {
  if (path_exists(folder / stem)) return folder / stem;
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
  const std::uint32_t count = file.read_u32();
  const std::uint32_t height = file.read_u32();
  const std::uint32_t width = file.read_u32();
  if (height != side || width != side) {
    fail("{}: found images of {} x {} pixels, expected 28 x 28", file.name(), height, width);
  }
  if (count == 0) fail("{}: holds no images", file.name());
  file.check_can_hold(std::uint64_t{count} * side * side);
  Tensor images = Tensor::empty({count, side, side, 1}, DType::u8);
  file.read(images.data<std::uint8_t>());
  file.expect_end();
  return images;
}

std::vector<std::int64_t> read_labels(const fs::path& path, std::size_t classes) {
  InputFile file(path);
  check_magic(file, labels_magic);
  const std::uint32_t count = file.read_u32();
  file.check_can_hold(count);
  std::vector<std::uint8_t> bytes(count);
  file.read(bytes);
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
  const fs::path images_file = find_file(folder, prefix + "-images-idx3-ubyte");
  const fs::path labels_file = find_file(folder, prefix + "-labels-idx1-ubyte");
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
