// The examples really learn what they are there to show.
#include <doctest/doctest.h>

#include <array>

#include "core/random.h"
#include "tests/apps/program_runs.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t side = 28;
const fs::path fashion_mnist = "/usr/share/datasets/fashion-mnist";  // Debian's dataset-fashion-mnist

std::string big_endian(std::int64_t value) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<char>(value >> shift & 0xFF));
  return bytes;
}

/// The segments of each digit's display, from top to bottom and left to right: the bars top, middle, bottom
/// are 0, 3 and 6, the sides between them 1 and 2, 4 and 5.
constexpr std::array<const char*, 10> segments = {"012456", "25",     "02346", "02356",   "1235",
                                                  "01356",  "013456", "025",   "0123456", "012356"};

/// A digit of seven segments, 13 x 9 pixels, about the middle of an image of noise, at one of `places` rows
/// and as many columns.
std::string draw_digit(std::size_t digit, std::uint32_t places, const Random& random, std::uint32_t split,
                       std::uint32_t image) {
  std::string pixels;
  for (std::uint64_t i = 0; i < side * side; ++i)
    pixels.push_back(static_cast<char>(random.below(100, split, image, i)));
  const std::int64_t top = (15 - places) / 2 + random.below(places, split, image, side * side);
  const std::int64_t left = (19 - places) / 2 + random.below(places, split, image, side * side + 1);
  for (const char* segment = segments.at(digit); *segment != 0; ++segment) {
    const int number = *segment - '0';
    const bool bar = number % 3 == 0;
    for (std::int64_t i = 0; i < (bar ? 9 : 7); ++i) {
      const std::int64_t y = top + (bar ? 2 * number : (number > 3 ? 6 : 0) + i);
      const std::int64_t x = left + (bar ? i : (number % 3 == 2 ? 8 : 0));
      pixels[static_cast<std::size_t>(y * side + x)] = static_cast<char>(200);
    }
  }
  return pixels;
}

/// Files as MNIST's: 1500 images to learn from and 300 to be tested with, of ten digits.
void make_digits(const fs::path& folder, std::uint32_t places) {
  const Random random(5, "digits");
  for (std::uint32_t split = 0; split < 2; ++split) {
    const std::uint32_t count = split == 0 ? 1500 : 300;
    std::string images = big_endian(0x803) + big_endian(count) + big_endian(side) + big_endian(side);
    std::string labels = big_endian(0x801) + big_endian(count);
    for (std::uint32_t image = 0; image < count; ++image) {
      const std::size_t digit = image % 10;
      images += draw_digit(digit, places, random, split, image);
      labels.push_back(static_cast<char>(digit));
    }
    const std::string name = split == 0 ? "train" : "t10k";
    write_text(folder / (name + "-images-idx3-ubyte"), images);
    write_text(folder / (name + "-labels-idx1-ubyte"), labels);
  }
}

std::string output_of(const std::string& example, const Arguments& arguments) {
  const Finished finished = run_app("examples/" + example, arguments);
  REQUIRE_MESSAGE(finished.exit_code == 0, finished.err);
  CAPTURE(finished.out);
  return finished.out;
}

/// The percentage in the line that has `text`, the last such.
double percentage(const std::string& out, std::string_view text) {
  const std::size_t line = out.rfind(text);
  REQUIRE(line != std::string::npos);
  const std::size_t number = out.find("right ", line);
  REQUIRE(number != std::string::npos);
  return std::stod(out.substr(number + 6));
}

TEST_CASE("xor: four hidden units learn the exclusive or") {
  const std::string out = output_of("xor", {});
  CHECK(contains(out, "step   0"));
  CHECK(percentage(out, "step 200") == 4.0);
}

TEST_CASE("digits: a small network reads digits of seven segments") {
  const TemporaryFolder folder;
  make_digits(folder.path(), 5);
  const std::string out = output_of("digits", {folder.path().string(), "1500", "6"});
  CHECK(contains(out, "1500 images to learn from, 300 to be tested with"));
  CHECK(percentage(out, "epoch 6") > 95.0);
  CHECK(run_app("examples/digits", {}).exit_code == 2);
  CHECK(run_app("examples/digits", {folder.path().string(), "many"}).exit_code == 2);
  const Finished finished = run_app("examples/digits", {(folder / "nowhere").string()});
  CHECK(finished.exit_code == 1);
  CHECK(contains(finished.err, "nowhere"));
}

TEST_CASE("distill: where there is little to learn from, a student learns much from its teacher") {
  const TemporaryFolder folder;
  make_digits(folder.path(), 9);
  const std::string out = output_of("distill", {folder.path().string(), "1500", "6"});
  const double alone = percentage(out, "student alone");
  CHECK(percentage(out, "teacher") > 80.0);
  CHECK(alone > 40.0);
  CHECK(percentage(out, "student taught") > alone + 10.0);
}

TEST_CASE("both know clothes as well") {
  if (!fs::exists(fashion_mnist)) {
    MESSAGE("skipped: needs dataset-fashion-mnist");
    return;
  }
  CHECK(percentage(output_of("digits", {fashion_mnist.string(), "3000", "2"}), "epoch 2") > 70.0);
  const std::string out = output_of("distill", {fashion_mnist.string(), "3000", "2"});
  CHECK(percentage(out, "teacher") > 77.0);
  CHECK(percentage(out, "student taught") > 72.0);
}

}  // namespace
}  // namespace generous
