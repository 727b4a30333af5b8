// Checkpoints that PyTorch wrote (tests/golden/torch/make.py), in both of its forms, and damaged ones.
#include "core/io/torch_checkpoint.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <cstring>
#include <string_view>

#include "core/error.h"
#include "core/files.h"
#include "core/io/pickle.h"
#include "core/io/zip.h"

namespace generous {
namespace {

using namespace std::string_view_literals;

std::string content_of(const std::string& name) {
  return read_file(std::string(GENEROUS_SOURCE_DIR) + "/tests/golden/torch/" + name);
}

NamedTensors tensors_of(const std::string& name) { return parse_torch_checkpoint(content_of(name), name); }

std::string message_of(const std::string& content) {
  try {
    parse_torch_checkpoint(content, "f");
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// Names, shapes and elements: of a float tensor eighths.
void check(const NamedTensors& tensors, std::size_t place, const std::string& name, const Shape& shape,
           const std::vector<std::int64_t>& elements, bool whole = false) {
  CAPTURE(name);
  REQUIRE(place < tensors.size());
  CHECK(tensors[place].first == name);
  const Tensor& tensor = tensors[place].second;
  CHECK(tensor.shape() == shape);
  REQUIRE(tensor.dtype() == (whole ? DType::i64 : DType::f32));
  REQUIRE(tensor.numel() == static_cast<std::int64_t>(elements.size()));
  for (std::size_t i = 0; i < elements.size(); ++i)
    if (whole)
      CHECK(tensor.data<std::int64_t>()[i] == elements[i]);
    else
      CHECK(tensor.data<float>()[i] == static_cast<float>(elements[i]) / 8.0F);
}

std::vector<std::int64_t> counting(std::int64_t first, std::size_t count) {
  std::vector<std::int64_t> numbers(count);
  for (std::size_t i = 0; i < count; ++i) numbers[i] = first + static_cast<std::int64_t>(i);
  return numbers;
}

}  // namespace

TEST_CASE("every element type, views and shared storages, in both forms") {
  for (const char* file : {"weights.pth", "weights_stream.tar"}) {
    CAPTURE(file);
    CHECK(is_torch_checkpoint(content_of(file)));
    const NamedTensors tensors = tensors_of(file);
    REQUIRE(tensors.size() == 14);
    check(tensors, 0, "conv.weight", {2, 3, 2, 2}, counting(-11, 24));
    check(tensors, 1, "half", {4}, counting(3, 4));
    check(tensors, 2, "brain", {3}, counting(-2, 3));
    check(tensors, 3, "double", {2, 3}, counting(9, 6));
    check(tensors, 4, "whole", {5, 7}, counting(-5, 35));
    std::vector<std::int64_t> transposed;
    for (std::int64_t column = 0; column < 7; ++column)
      for (std::int64_t row = 0; row < 5; ++row) transposed.push_back(7 * row + column - 5);
    check(tensors, 5, "transposed", {7, 5}, transposed);
    check(tensors, 6, "part", {3, 3}, {4, 6, 8, 11, 13, 15, 18, 20, 22});
    check(tensors, 7, "scalar", {}, {40});
    check(tensors, 8, "empty", {0, 3}, {});
    check(tensors, 9, "expanded", {2, 3}, {-5, -4, -3, -5, -4, -3});
    check(tensors, 10, "bn.num_batches_tracked", {}, {12345678901}, true);
    check(tensors, 11, "small", {2}, {-7, 5}, true);
    check(tensors, 12, "byte", {2}, {200, 1}, true);
    check(tensors, 13, "flags", {2}, {1, 0}, true);
  }
}

TEST_CASE("where the weights are: parameters, state_dict, model; the prefix of parallel training") {
  for (const char* name : {"parameters", "published", "model"})
    for (const char* form : {".pth", "_stream.tar"}) {
      const NamedTensors tensors = tensors_of(std::string(name) + form);
      REQUIRE(tensors.size() == 2);
      check(tensors, 0, "fc.weight", {3, 2}, counting(1, 6));
      check(tensors, 1, "fc.bias", {3}, counting(7, 3));
    }
}

TEST_CASE("what is no state dict is refused by name") {
  CHECK(contains(message_of(content_of("whole_model.pth")),
                 "f: holds a Python object of __main__.Model; only"));
  CHECK(contains(message_of(content_of("script.pth")), "f: a TorchScript program: save model.state_dict()"));
  CHECK(contains(message_of(content_of("no_weights.pth")), "its keys are: epoch, lr"));
  CHECK(message_of(content_of("list.pth")) == "f: holds no dictionary of tensors, but something else");
  CHECK_FALSE(is_torch_checkpoint("PK\5\6"));
  CHECK_FALSE(is_torch_checkpoint(""));
}

TEST_CASE("nothing that a pickle names is believed") {
  const auto pickle = [](std::string_view body) {
    return message_of(std::string("\x80\x02\x8a\x0a") +
                      std::string("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.") +
                      std::string("\x80\x02M\xe9\x03.") + std::string("\x80\x02}.") + std::string(body));
  };
  CHECK(contains(pickle("\x80\x02"
                        "cos\nsystem\nX\4\0\0\0true\x85R."sv),
                 "holds a Python object of os.system;"));
  CHECK(contains(pickle("\x80\x02"
                        "cbuiltins\neval\n."sv),
                 "holds a Python object of builtins.eval;"));
  CHECK(contains(pickle("\x80\x02"
                        "c__builtin__\neval\n."sv),
                 "holds a Python object of builtins.eval;"));
  CHECK(contains(pickle("\x80\x04\x8c\5posix\x8c\6system\x93."sv), "holds a Python object of posix.system;"));
  CHECK(contains(pickle("\x80\x02(S'x'\ni__main__\nA\n."sv), "opcode 0x53, which plain data does not need"));
  CHECK(contains(pickle("\x80\x02\x82\1."sv), "opcode 0x82"));  // the registry of extensions
  CHECK(contains(pickle("\x80\x05N."sv), "protocol 5, expected 2 to 4"));
  CHECK(contains(pickle("\x80\x02."sv), "it takes an object where there is none"));
  CHECK(contains(pickle("\x80\x02]]\x65."sv), "it goes back to a mark where there is none"));
  CHECK(contains(pickle("\x80\x02h\7."sv), "it recalls object 7, which is not there"));
  CHECK(contains(pickle("\x80\x02]Na]Na."sv), "objects are left over"));
}

TEST_CASE("cycles and deep nests are read") {
  const Pickle cycle("]q\0h\0a."sv, "f", [](const auto&) { return false; });
  const auto* list = cycle.root().as<PickleValue::List>();
  REQUIRE(list != nullptr);
  CHECK(list->items == PickleValue::Items{&cycle.root()});
  const Pickle nest("N" + std::string(900'000, '\x85') + ".", "f", [](const auto&) { return false; });
  CHECK(nest.root().as<PickleValue::Tuple>() != nullptr);
  CHECK_THROWS_WITH_AS(
      Pickle("N" + std::string(1'000'000, '\x85') + ".", "f", [](const auto&) { return false; }),
      "f: its pickle has more than 1000000 objects", Error);
}

TEST_CASE("every cut and every changed byte: read, or one line that begins with the file") {
  for (const char* name : {"published.pth", "published_stream.tar"}) {
    const std::string whole = content_of(name);
    for (std::size_t size = 16; size < whole.size(); ++size) {
      const std::string message = message_of(whole.substr(0, size));
      CAPTURE(size);
      CHECK(message.starts_with("f: "));
    }
    std::size_t refused = 0;
    for (std::size_t place = 16; place < whole.size(); ++place)
      for (const int flip : {0x01, 0x80, 0xff}) {
        std::string changed = whole;
        changed[place] = static_cast<char>(changed[place] ^ flip);
        const std::string message = message_of(changed);
        if (message.empty()) continue;
        ++refused;
        CHECK(message.starts_with("f: "));
        CHECK(message.find('\n') == std::string::npos);
      }
    CHECK(refused > whole.size() / 2);
  }
}

TEST_CASE("deflated files of an archive, and sizes that do not fit") {
  const std::string text(5000, 'x');
  std::string packed(200, '\0');
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);

  const auto checksum =
      static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size()));
  const auto archive = [&](std::uint32_t size) {
    std::string bytes;
    const auto put = [&](auto value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
    const auto facts = [&] {  // from the flags to the name's length
      put(std::uint16_t{0}), put(std::uint16_t{8}), put(std::uint32_t{0}), put(checksum);
      put(static_cast<std::uint32_t>(packed.size())), put(size), put(std::uint16_t{1});
    };
    bytes += "PK\3\4", put(std::uint16_t{20}), facts(), put(std::uint16_t{0});
    bytes += "a" + packed;
    const auto list = static_cast<std::uint32_t>(bytes.size());
    bytes += "PK\1\2", put(std::uint32_t{20 << 16 | 20}), facts(), put(std::uint16_t{0}),
        put(std::uint16_t{0});
    put(std::uint16_t{0}), put(std::uint16_t{0}), put(std::uint32_t{0}), put(std::uint32_t{0});
    bytes += "a";
    const auto list_bytes = static_cast<std::uint32_t>(bytes.size()) - list;
    bytes += "PK\5\6", put(std::uint32_t{0}), put(std::uint16_t{1}), put(std::uint16_t{1}), put(list_bytes);
    put(list), put(std::uint16_t{0});
    return bytes;
  };
  const std::string good = archive(5000);
  CHECK(ZipFile(good, "f").read("a") == text);
  CHECK_THROWS_WITH_AS(ZipFile(good, "f").read("b"), "f: the zip archive has no file b", Error);
  for (const std::uint32_t size : {4999U, 5001U, 0U}) {
    const std::string bad = archive(size);
    CHECK_THROWS_WITH_AS(ZipFile(bad, "f").read("a"),
                         "f: a: damaged zip archive: its packed bytes make no sense", Error);
  }
  const std::string bomb = archive(4'000'000'000U);
  CHECK_THROWS_WITH_AS(ZipFile(bomb, "f").read("a"),
                       "f: a: damaged zip archive: its sizes do not fit each other", Error);
}

}  // namespace generous
