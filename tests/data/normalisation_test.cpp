#include "data/normalisation.h"

#include <doctest/doctest.h>

#include <vector>

#include "core/error.h"

namespace generous {
namespace {

TEST_CASE("a text of means and standard deviations comes back the same, in its shortest form") {
  for (const auto& [given, shortest] : std::vector<std::pair<std::string, std::string>>{
           {"0.4914,0.4822,0.4465/0.247,0.243,0.261", "0.4914,0.4822,0.4465/0.247,0.243,0.261"},
           {"0.50,0,-1e0/1.0,0.25,10", "0.5,0,-1/1,0.25,10"},
           {"0.2860/0.3530", "0.286/0.353"}}) {
    const auto parsed = parse_normalisation(given);
    REQUIRE(parsed);
    CHECK(to_text(parsed->values, parsed->channels) == shortest);
  }
  const auto parsed = parse_normalisation("0.5071,0.4867,0.4408/0.2675,0.2565,0.2761");
  CHECK(parsed->channels == 3);
  CHECK(parsed->values.mean == std::array{0.5071F, 0.4867F, 0.4408F});
  CHECK(parsed->values.std == std::array{0.2675F, 0.2565F, 0.2761F});
  CHECK(to_text({.mean = {0.25F, 0.5F}, .std = {1.0F, 2.0F}}, 2) == "0.25,0.5/1,2");
}

TEST_CASE("other forms and impossible numbers are nothing") {
  for (const char* wrong :
       {"",          "/",          "0.5",      "0.5/",     "/0.5",        "0.5,0.5/0.5",     "0.5/0.5,0.5",
        "0.5,/0.5,", ",0.5/,0.5",  "0.5 /0.5", "0.5/ 0.5", "0.5/0.5/0.5", "1,1,1,1/1,1,1,1", "0.5/0",
        "0.5/-1",    "0.5/0.0001", "0.5/11",   "11/1",     "nan/1",       "0/nan",           "inf/1",
        "0/inf",     "a/b",        "0.5/0.5x", "+0.5/0.5"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_normalisation(wrong).has_value());
  }
}

TEST_CASE("statistics are those of all pixels of a channel, with four decimals") {
  // Two images of 1 x 2 pixels: reds 0, 255, 0, 255; greens 10, 10, 10, 30; blues all 100.
  const Tensor images = Tensor::from(
      std::vector<std::uint8_t>{0, 10, 100, 255, 10, 100, 0, 10, 100, 255, 30, 100}, {2, 1, 2, 3});
  // greens: mean 15 / 255, deviation sqrt(75) / 255
  CHECK(to_text(statistics_of(images), 3) == "0.5,0.0588,0.3922/0.5,0.034,0.001");
  const Tensor grey = Tensor::from(std::vector<std::uint8_t>{0, 51, 102, 153, 204, 255}, {3, 2, 1, 1});
  CHECK(to_text(statistics_of(grey), 1) == "0.5/0.3416");  // sqrt(35 / 12) / 5
  CHECK(parse_normalisation(to_text(statistics_of(images), 3)).has_value());
  CHECK_THROWS_AS(statistics_of(Tensor::zeros({1, 2, 2, 3})), Error);
}

}  // namespace
}  // namespace generous
