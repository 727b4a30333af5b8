#include "core/safetensors.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "core/files.h"
#include "core/random.h"
#include "tests/temporary_folder.h"

using namespace generous;
using namespace std::string_literals;
namespace fs = std::filesystem;

namespace {

std::string little_endian(std::uint64_t value) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
  return bytes;
}

/// A file made by hand of a header and `data_bytes` bytes 1, 2, 3, ...
std::string file_of(const std::string& header, std::size_t data_bytes = 0) {
  std::string data(data_bytes, '\0');
  for (std::size_t i = 0; i < data_bytes; ++i) data[i] = static_cast<char>(i + 1);
  return little_endian(header.size()) + header + data;
}

/// One tensor "w" with these three values, written as JSON.
std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

/// What reading these bytes as a file does: the Error's message, "" when it succeeds.
class Reader {
 public:
  SafetensorsFile read(const std::string& bytes) {
    fs::remove(path_);  // truncating an old file instead makes some file systems wait for the disk
    std::ofstream(path_, std::ios::binary) << bytes;
    return read_safetensors(path_);
  }
  std::string error(const std::string& bytes) {
    return error_of([&] { read(bytes); });
  }
  const fs::path& path() const { return path_; }

 private:
  TemporaryFolder folder_;
  fs::path path_ = folder_ / "file.safetensors";
};

template <class T>
std::vector<T> values(const Tensor& tensor) {
  const auto data = tensor.data<T>();
  return {data.begin(), data.end()};
}

void check_same(const NamedTensors& actual, const NamedTensors& expected) {
  REQUIRE(actual.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(expected[i].first);
    CHECK(actual[i].first == expected[i].first);
    const Tensor& a = actual[i].second;
    const Tensor& e = expected[i].second;
    CHECK(a.dtype() == e.dtype());
    CHECK(a.shape() == e.shape());
    REQUIRE(a.bytes() == e.bytes());
    // Bit by bit: a NaN equals itself, -0 differs from 0.
    if (a.bytes() > 0) CHECK(std::memcmp(a.raw(), e.raw(), a.bytes()) == 0);
  }
}

NamedTensors assorted_tensors() {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<bfloat16> halves;
  for (const float value : {1.5F, -0.0F, 3e38F, nan}) halves.emplace_back(value);
  return {
      {"z.weight", Tensor::from<float>({1, -2, 0.1F, -0.0F, nan, INFINITY}, {2, 3})},
      {"scalar", Tensor::from<std::int64_t>({std::numeric_limits<std::int64_t>::min()}, {})},
      {"image", Tensor::from<std::uint8_t>({0, 1, 127, 128, 255}, {1, 5, 1, 1, 1})},
      {"halves", Tensor::from(halves, {4, 1})},
      {"empty", Tensor::empty({3, 0, 2})},
      {"größe \"x\"\n", Tensor::from<float>({7}, {1})},
      {"a", Tensor::from<std::int64_t>({-1, 2, std::numeric_limits<std::int64_t>::max()}, {3})},
  };
}

}  // namespace

TEST_CASE("what is written is read again: names, order, shapes, dtypes, bits, metadata") {
  const TemporaryFolder folder;
  const fs::path path = folder / "file.safetensors";
  const NamedTensors tensors = assorted_tensors();
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"epoch", "7"}, {"ä", "\"\n"}};
  write_safetensors(path, tensors, metadata);
  const SafetensorsFile file = read_safetensors(path);
  check_same(file.tensors, tensors);
  CHECK(file.metadata == metadata);

  write_safetensors(path, {});
  CHECK(read_safetensors(path).tensors.empty());
  CHECK(read_safetensors(path).metadata.empty());
  CHECK(read_file(path) == little_endian(8) + "{}      ");
}

TEST_CASE("a written file has the format's bytes") {
  const TemporaryFolder folder;
  const fs::path path = folder / "file.safetensors";
  write_safetensors(path,
                    {{"b", Tensor::from<float>({1, -2}, {2, 1})}, {"a", Tensor::from<std::uint8_t>({9}, {})}},
                    {{"k", "v"}});
  const std::string header =
      R"({"__metadata__":{"k":"v"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"U8","shape":[],"data_offsets":[8,9]}})";
  const std::string padding((8 - header.size() % 8) % 8, ' ');
  CHECK(read_file(path) ==
        little_endian(header.size() + padding.size()) + header + padding + "\0\0\x80\x3f\0\0\0\xc0\x09"s);
}

TEST_CASE("dtypes that Tensor lacks are converted without changing a value") {
  Reader reader;
  const auto read = [&](const std::string& dtype, const std::string& data) {
    const std::size_t bytes = dtype.ends_with("8") || dtype == "BOOL" ? 1 : dtype.ends_with("16") ? 2 : 4;
    const std::string header = entry(fmt::format("\"{}\"", dtype), fmt::format("[{}]", data.size() / bytes),
                                     fmt::format("[0,{}]", data.size()));
    return reader.read(file_of(header) + data).tensors.at(0).second;
  };
  using Integers = std::vector<std::int64_t>;
  CHECK(values<std::int64_t>(read("I32", "\x01\0\0\0\xff\xff\xff\xff\0\0\0\x80"s)) ==
        Integers{1, -1, -2147483648LL});
  CHECK(values<std::int64_t>(read("U32", "\x01\0\0\0\xff\xff\xff\xff"s)) == Integers{1, 4294967295});
  CHECK(values<std::int64_t>(read("I16", "\x02\x01\xff\xff\0\x80"s)) == Integers{258, -1, -32768});
  CHECK(values<std::int64_t>(read("U16", "\x02\x01\xff\xff"s)) == Integers{258, 65535});
  CHECK(values<std::int64_t>(read("I8", "\x7f\xff\x80"s)) == Integers{127, -1, -128});
  CHECK(values<std::int64_t>(read("BOOL", "\0\x01\x01"s)) == Integers{0, 1, 1});
  CHECK(values<std::uint8_t>(read("U8", "\x7f\xff\x80"s)) == std::vector<std::uint8_t>{127, 255, 128});
  CHECK(values<bfloat16>(read("BF16", "\xc0\x3f\x80\xbf"s)) ==
        std::vector<bfloat16>{bfloat16(1.5F), bfloat16(-1.0F)});

  // 1, -2, largest, smallest normal, smallest subnormal, infinity: IEEE 754 binary16.
  const Tensor halves = read("F16", "\0\x3c\0\xc0\xff\x7b\0\x04\x01\0\0\x7c\0\x80"s);
  CHECK(values<float>(halves) ==
        std::vector<float>{1, -2, 65504, 0x1p-14F, 0x1p-24F, std::numeric_limits<float>::infinity(), -0.0F});
  CHECK(std::signbit(halves.data<float>()[6]));
  CHECK(std::isnan(read("F16", "\0\x7e"s).data<float>()[0]));
}

TEST_CASE("what the format allows is read, however unusual") {
  Reader reader;
  // Data need be neither aligned nor in the header's order; an entry's keys may come in any order; spaces may
  // follow.
  const SafetensorsFile file =
      reader.read(file_of(R"({"u":{"data_offsets":[1,5],"dtype":"U8","shape":[2,2]},)"
                          R"("z":{"shape":[0],"data_offsets":[1,1],"dtype":"F32"},)"
                          R"("i":{"dtype":"I8","shape":[],"data_offsets":[0,1]},)"
                          R"("h":{"dtype":"I16","shape":[1],"data_offsets":[5,7]},)"
                          R"("":{"dtype":"I64","shape":[0],"data_offsets":[7,7]}}   )",
                          7));
  REQUIRE(file.tensors.size() == 5);
  CHECK(file.tensors[0].first == "i");
  CHECK(file.tensors[1].first == "z");
  CHECK(file.tensors[2].first == "u");
  CHECK(file.tensors[3].first == "h");
  CHECK(file.tensors[4].first.empty());
  CHECK(file.tensors[1].second.shape() == Shape{0});
  CHECK(values<std::uint8_t>(file.tensors[2].second) == std::vector<std::uint8_t>{2, 3, 4, 5});
  CHECK(file.tensors[2].second.shape() == Shape{2, 2});
  CHECK(values<std::int64_t>(file.tensors[3].second) == std::vector<std::int64_t>{0x0706});

  CHECK(reader.read(file_of("{}")).tensors.empty());
  CHECK(reader.read(file_of(R"({"__metadata__":{}})")).metadata.empty());
  CHECK(reader.read(file_of(entry("\"U8\"", "[1,1,1,1,3]", "[0,3]"), 3)).tensors[0].second.numel() == 3);
  CHECK(
      reader.read(file_of(entry("\"F32\"", "[0,9223372036854775807]", "[0,0]"))).tensors[0].second.numel() ==
      0);
}

TEST_CASE("every rule of the format, violated once") {
  struct Case {
    std::string bytes;
    std::vector<std::string> fragments;  // of the message
  };
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"v":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
           R"(},"w":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  const std::string good = entry("\"F32\"", "[2]", "[0,8]");
  const std::vector<Case> cases = {
      // The header's size and its JSON
      {"", {"0 bytes", "8 of a header size"}},
      {little_endian(2).substr(0, 7), {"7 bytes", "8 of a header size"}},
      {little_endian(0), {"does not begin with '{'"}},
      {little_endian(3) + "{}", {"header of 3 bytes", "10 bytes in the file"}},
      {little_endian(100'000'001) + "{}", {"header of 100000001 bytes", "100000000 allowed"}},
      {little_endian(100'000'000) + "{}", {"header of 100000000 bytes", "10 bytes in the file"}},
      {little_endian(~0ULL) + "{}", {"header of 18446744073709551615 bytes"}},
      {file_of(" {}"), {"does not begin with '{'"}},
      {file_of("[]"), {"does not begin with '{'"}},
      {file_of("\xef\xbb\xbf{}"), {"does not begin with '{'"}},
      {file_of("{"), {"header is not valid JSON", "line 1, column 2"}},
      {file_of("{}x"), {"header is not valid JSON", "column 3"}},
      {file_of("{}\0 "s), {"header is not valid JSON", "byte 2 is zero"}},
      {file_of("{\"\xff\":1}"), {"header is not valid JSON", "UTF-8"}},
      {file_of(R"({"w":1,"w":2})"), {"\"w\"", "twice"}},
      {file_of(R"({"w":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1),
       {"\"dtype\"", "twice"}},
      {file_of(R"({"__metadata__":{"a":"1","a":"2"}})"), {"\"a\"", "twice"}},

      // Metadata
      {file_of(R"({"__metadata__":["a"]})"), {"\"__metadata__\" must be an object", "[\"a\"]"}},
      {file_of(R"({"__metadata__":{"epoch":7}})"), {"\"epoch\" in \"__metadata__\" must be a string", "7"}},

      // An entry's keys
      {file_of(R"({"w":[1]})"), {"tensor \"w\"", "must be an object", "[1]"}},
      {file_of(R"({"w":{"shape":[1],"data_offsets":[0,1]}})", 1), {"tensor \"w\"", "\"dtype\" is missing"}},
      {file_of(R"({"w":{"dtype":"U8","data_offsets":[0,1]}})", 1), {"tensor \"w\"", "\"shape\" is missing"}},
      {file_of(R"({"w":{"dtype":"U8","shape":[1]}})", 1), {"tensor \"w\"", "\"data_offsets\" is missing"}},
      {file_of(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"stride":[1]}})", 1),
       {"tensor \"w\"", "unknown key \"stride\""}},

      // dtype
      {file_of(entry("5", "[1]", "[0,1]"), 1), {"tensor \"w\"", "must be a string", "5"}},
      {file_of(entry("\"Q7\"", "[1]", "[0,1]"), 1), {"tensor \"w\"", "\"Q7\" does not exist"}},
      {file_of(entry("\"f32\"", "[1]", "[0,4]"), 4), {"tensor \"w\"", "\"f32\" does not exist"}},
      {file_of(entry("\"F64\"", "[1]", "[0,8]"), 8), {"tensor \"w\"", "F64 cannot be held"}},
      {file_of(entry("\"U64\"", "[1]", "[0,8]"), 8), {"tensor \"w\"", "U64 cannot be held"}},
      {file_of(entry("\"C64\"", "[1]", "[0,8]"), 8), {"tensor \"w\"", "C64 cannot be held"}},
      {file_of(entry("\"F8_E4M3\"", "[1]", "[0,1]"), 1), {"tensor \"w\"", "F8_E4M3 cannot be held"}},
      {file_of(entry("\"F4\"", "[2]", "[0,1]"), 1), {"tensor \"w\"", "F4 cannot be held"}},
      {file_of(entry("\"BOOL\"", "[2]", "[0,2]"), 2), {"tensor \"w\"", "BOOL that is neither 0 nor 1"}},

      // shape
      {file_of(entry("\"U8\"", "3", "[0,3]"), 3), {"tensor \"w\"", "\"shape\" must be a list", "3"}},
      {file_of(entry("\"U8\"", "[3.0]", "[0,3]"), 3), {"tensor \"w\"", "[3.0]", "integers from 0"}},
      {file_of(entry("\"U8\"", "[-1]", "[0,3]"), 3), {"tensor \"w\"", "[-1]", "integers from 0"}},
      {file_of(entry("\"U8\"", "[\"3\"]", "[0,3]"), 3), {"tensor \"w\"", "[\"3\"]", "integers from 0"}},
      {file_of(entry("\"U8\"", "[true]", "[0,1]"), 1), {"tensor \"w\"", "[true]", "integers from 0"}},
      {file_of(entry("\"U8\"", "[9223372036854775808]", "[0,3]"), 3),
       {"tensor \"w\"", "integers from 0 to 2^63 - 1"}},
      {file_of(entry("\"U8\"", "[1e300]", "[0,3]"), 3), {"tensor \"w\"", "integers from 0 to 2^63 - 1"}},
      {file_of(entry("\"U8\"", "[1,1,1,1,1,3]", "[0,3]"), 3), {"tensor \"w\"", "6 axes", "at most 5"}},
      {file_of(entry("\"U8\"", "[4294967296,4294967296]", "[0,0]")),
       {"tensor \"w\"", "more than 2^63 - 1 elements"}},
      {file_of(entry("\"I64\"", "[2305843009213693952]", "[0,0]")),
       {"tensor \"w\"", "more than 2^63 - 1 bytes"}},

      // data_offsets
      {file_of(entry("\"U8\"", "[3]", "3"), 3), {"tensor \"w\"", "two non-negative integers", "3"}},
      {file_of(entry("\"U8\"", "[3]", "[3]"), 3), {"tensor \"w\"", "two non-negative integers", "[3]"}},
      {file_of(entry("\"U8\"", "[3]", "[0,3,3]"), 3),
       {"tensor \"w\"", "two non-negative integers", "[0,3,3]"}},
      {file_of(entry("\"U8\"", "[3]", "[0,3.0]"), 3),
       {"tensor \"w\"", "two non-negative integers", "[0,3.0]"}},
      {file_of(entry("\"U8\"", "[3]", "[-3,0]"), 3), {"tensor \"w\"", "two non-negative integers", "[-3,0]"}},
      {file_of(entry("\"U8\"", "[3]", "[3,0]"), 3), {"tensor \"w\"", "[3,0] end before they begin"}},
      {file_of(entry("\"F32\"", "[3]", "[0,8]"), 8),
       {"tensor \"w\"", "span 8 bytes", "shape {3} of F32 has 12"}},
      {file_of(entry("\"F32\"", "[]", "[0,0]")), {"tensor \"w\"", "span 0 bytes", "shape {} of F32 has 4"}},

      // The tensors' places in the file
      {file_of(entry("\"U8\"", "[4]", "[1,5]"), 5), {"tensor \"w\"", "byte 1", "ends at byte 0: a hole"}},
      {file_of(two("[0,4]", "[5,9]"), 9), {"tensor \"w\"", "byte 5", "ends at byte 4: a hole"}},
      {file_of(two("[0,4]", "[3,7]"), 7), {"tensor \"w\"", "byte 3", "ends at byte 4: an overlap"}},
      {file_of(two("[0,4]", "[0,4]"), 4), {"tensor \"w\"", "byte 0", "ends at byte 4: an overlap"}},
      {file_of(good, 7), {"truncated", "7 bytes of data", "tensors have 8"}},
      {file_of(good, 9), {"too long", "9 bytes of data", "tensors have 8"}},
      {file_of("{}", 1), {"too long", "1 bytes of data", "tensors have 0"}},
  };
  Reader reader;
  CHECK(reader.error(file_of(good, 8)).empty());
  for (const Case& c : cases) {
    CAPTURE(c.bytes);
    const std::string message = reader.error(c.bytes);
    CAPTURE(message);
    CHECK(message.starts_with(reader.path().string()));
    CHECK(message.find('\n') == std::string::npos);
    for (const std::string& fragment : c.fragments) {
      CAPTURE(fragment);
      CHECK(message.find(fragment) != std::string::npos);
    }
  }
}

TEST_CASE("a header nested ever deeper is refused, not followed") {
  Reader reader;
  CHECK(reader.error(file_of(R"({"w":)"s + std::string(1'000'000, '['))).find("deeper than 64") !=
        std::string::npos);
}

TEST_CASE("what a file cannot hold is refused before anything is written") {
  const TemporaryFolder folder;
  const fs::path path = folder / "file.safetensors";
  write_safetensors(path, {{"old", Tensor::from<float>({1}, {1})}});
  const std::string old = read_file(path);
  const Tensor tensor = Tensor::from<float>({1, 2}, {2});
  const auto message = [&](const NamedTensors& tensors,
                           const std::map<std::string, std::string>& metadata = {}) {
    const std::string text = error_of([&] { write_safetensors(path, tensors, metadata); });
    CHECK(text.find(path.string()) != std::string::npos);
    return text;
  };
  CHECK(message({{"a", tensor}, {"b", tensor}, {"a", tensor}}).find("\"a\": the name is used twice") !=
        std::string::npos);
  CHECK(message({{"", tensor}}).find("the name is empty") != std::string::npos);
  CHECK(message({{"__metadata__", tensor}}).find("reserved") != std::string::npos);
  CHECK(message({{"a", Tensor()}}).find("\"a\": the tensor is undefined") != std::string::npos);
  CHECK(message({{"\xff", tensor}}).find("not UTF-8") != std::string::npos);
  CHECK(message({{"a", tensor}}, {{"k", "\xff"}}).find("not UTF-8") != std::string::npos);
  CHECK(message({{"a", tensor}}, {{"k", std::string(100'000'000, 'v')}}).find("100000000 allowed") !=
        std::string::npos);
  CHECK(read_file(path) == old);
}

TEST_CASE("a file cut short anywhere is an error") {
  Reader reader;
  write_safetensors(reader.path(), assorted_tensors(), {{"format", "pt"}});
  const std::string whole = read_file(reader.path());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    CHECK(!reader.error(whole.substr(0, length)).empty());
  }
  CHECK(reader.error(whole).empty());
}

TEST_CASE("a file changed at random is read or refused, nothing else") {
  Reader reader;
  write_safetensors(reader.path(), assorted_tensors(), {{"format", "pt"}});
  const std::string whole = read_file(reader.path());
  const Random random(1, "safetensors fuzz");
  int refused = 0;
  constexpr std::uint32_t rounds = 20'000;
  for (std::uint32_t round = 0; round < rounds; ++round) {
    std::string bytes = whole;
    const std::uint32_t changes = 1 + random.below(3, round, 0, 0);
    for (std::uint32_t change = 1; change <= changes; ++change) {
      const auto pick = [&](std::size_t bound, std::uint64_t which) {
        return random.below(static_cast<std::uint32_t>(bound), round, change, which);
      };
      const std::size_t place = pick(bytes.size(), 0);
      // A byte of the file itself, such as a digit or a bracket, is more likely to give a file that is nearly
      // right.
      const char byte = pick(2, 1) == 0 ? static_cast<char>(pick(256, 2)) : whole[pick(whole.size(), 2)];
      switch (pick(4, 3)) {
        case 0:
          bytes[place] = static_cast<char>(bytes[place] ^ (1 << pick(8, 4)));
          break;
        case 1:
          bytes[place] = byte;
          break;
        case 2:
          bytes.insert(place, 1, byte);
          break;
        default:
          bytes.erase(place, 1);
          break;
      }
    }
    if (!reader.error(bytes).empty()) ++refused;  // any other exception fails the test
  }
  // Most changes break a rule; those to the tensors' values and the names do not.
  CHECK(refused > rounds / 2);
  CHECK(refused < rounds);
}
