#include "core/hash.h"

#include <doctest/doctest.h>

#include <array>
#include <vector>

using namespace generous;

namespace {

std::string hash_of(const std::vector<std::string>& texts) {
  Hash hash;
  for (const std::string& text : texts) hash.add(text);
  return hash.hex();
}

}  // namespace

TEST_CASE("every bit, every order and every boundary counts") {
  std::vector<unsigned char> bytes(1000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(i * 7);
  const auto hash = [&] {
    Hash h;
    h.add(std::as_bytes(std::span(bytes)));
    return h.hex();
  };
  const std::string before = hash();
  CHECK(before.size() == 32);
  for (const std::size_t i : {0U, 1U, 500U, 999U}) {
    bytes[i] ^= 1U;
    CHECK(hash() != before);
    bytes[i] ^= 1U;
  }
  CHECK(hash() == before);
  CHECK(hash_of({"ab", "c"}) != hash_of({"a", "bc"}));
  CHECK(hash_of({"a", "b"}) != hash_of({"b", "a"}));
  CHECK(hash_of({}) != hash_of({""}));
}

TEST_CASE("it is XXH3's 128 bits, as they are printed elsewhere") {
  Hash hash;
  CHECK(hash.hex() == "99aa06d3014798d86001c324468d497f");  // of nothing, from the function's definition
}
