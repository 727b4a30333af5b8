// The records of event files, and how numbers are distributed.
#include "apps/tensorboard/records.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "apps/tensorboard/histogram.h"

using namespace generous;

TEST_CASE("CRC-32C of what RFC 3720 and the catalogue of CRCs have it for") {
  CHECK(crc32c("123456789") == 0xE3069283);
  CHECK(crc32c("") == 0);
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AA);
  CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8AB43);
  std::string growing;
  for (char byte = 0; byte < 32; ++byte) growing.push_back(byte);
  CHECK(crc32c(growing) == 0x46DD794E);
  std::ranges::reverse(growing);
  CHECK(crc32c(growing) == 0x113FDB5C);
}

TEST_CASE("records are those of TensorBoard's own writer") {
  const auto hex = [](const std::string& bytes) {
    std::string text;
    for (const char byte : bytes) {
      text += "0123456789abcdef"[static_cast<unsigned char>(byte) >> 4];
      text += "0123456789abcdef"[byte & 15];
    }
    return text;
  };
  CHECK(hex(record_of("an epoch's event")) ==
        "100000000000000095fbfe18616e2065706f63682773206576656e7450d2e617");
  CHECK(hex(record_of("")) == "000000000000000029039807d8ea82a2");
}

TEST_CASE("whole records are read, up to a cut or damage at any byte") {
  const std::array<std::string, 3> data = {"first", "", "the third one"};
  std::string file;
  std::vector<std::size_t> ends;
  for (const std::string& record : data) ends.push_back((file += record_of(record)).size());

  const auto check = [&](const std::string& content, std::size_t damaged_from) {
    CAPTURE(damaged_from);
    const Records read = read_records(content);
    const auto whole = static_cast<std::size_t>(
        std::ranges::count_if(ends, [&](std::size_t end) { return end <= damaged_from; }));
    REQUIRE(read.data.size() == whole);
    for (std::size_t i = 0; i < whole; ++i) CHECK(read.data[i] == data[i]);
    return read.whole;
  };
  CHECK(check(file, file.size()));
  for (std::size_t cut = 0; cut < file.size(); ++cut)
    CHECK(check(file.substr(0, cut), cut) == (cut == 0 || std::ranges::find(ends, cut) != ends.end()));
  for (std::size_t place = 0; place < file.size(); ++place)
    for (const int bit : {0, 3, 7}) {
      std::string damaged = file;
      damaged[place] = static_cast<char>(damaged[place] ^ 1 << bit);
      CHECK_FALSE(check(damaged, place));
    }
  CHECK_FALSE(check(file + "\n", file.size()));
  // A length whose checksum is right, and that no file has.
  const std::string endless = record_of(std::string("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8)).substr(12, 12);
  CHECK(endless.size() == 12);
  CHECK_FALSE(check(file + endless + file, file.size()));
}

TEST_CASE("a histogram has every number once, between the limits that it is between") {
  const std::vector<float> numbers = {-1.0F, 2.0F, 0.25F, 0.25F, 1.9F, -0.95F, -0.9F};
  const Histogram histogram = histogram_of(numbers);
  CHECK(histogram.smallest == -1.0);
  CHECK(histogram.largest == 2.0);
  CHECK(histogram.count == 7.0);
  CHECK(histogram.sum == doctest::Approx(1.55));
  CHECK(histogram.sum_of_squares == doctest::Approx(1 + 4 + 2 * 0.0625 + 3.61 + 0.9025 + 0.81));
  REQUIRE(histogram.limits.size() == 30);
  REQUIRE(histogram.counts.size() == 30);
  CHECK(histogram.limits[0] == doctest::Approx(-0.9));
  CHECK(histogram.limits[1] == doctest::Approx(-0.8));
  CHECK(histogram.limits[29] == 2.0);
  double before = -10.0;
  for (std::size_t i = 0; i < 30; ++i) {
    CAPTURE(i);
    CHECK(histogram.counts[i] == std::ranges::count_if(numbers, [&](float number) {
            return number > before && number <= histogram.limits[i];
          }));
    before = histogram.limits[i];
  }
}

TEST_CASE("a histogram of equal numbers has one bucket, one of none has none") {
  const Histogram equal = histogram_of(std::vector<float>(5, 0.1F));
  CHECK(equal.limits == std::vector<double>{static_cast<double>(0.1F)});
  CHECK(equal.counts == std::vector<double>{5.0});
  CHECK(equal.smallest == equal.largest);
  const Histogram none = histogram_of({});
  CHECK(none.counts.empty());
  CHECK(none.count == 0.0);
}
