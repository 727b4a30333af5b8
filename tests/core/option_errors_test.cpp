// What settings refuse, in flags and files, and in which words.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/options.h"
#include "tests/core/options_part.h"

using namespace generous;
using namespace generous::testing;

TEST_CASE("a wrong flag is a usage error that says what would be right") {
  const std::vector<std::pair<Arguments, std::string>> cases = {
      {{"stray"}, "'stray' belongs to no flag; flags are written --name value"},
      {{"-count", "1"}, "'-count' belongs to no flag; flags are written --name value"},
      {{"--loud", "1", "stray"}, "'stray' belongs to no flag; flags are written --name value"},
      {{"--count"}, "--count needs a value: an integer from 1 to 9007199254740991"},
      {{"--count", "--loud"}, "--count needs a value: an integer from 1 to 9007199254740991"},
      {{"--count", "1", "--count=2"}, "--count is given twice"},
      {{"--cuont", "1"}, "unknown flag --cuont; did you mean --count?"},
      {{"--cuont=1"}, "unknown flag --cuont; did you mean --count?"},
      {{"--", "1"}, "unknown flag --; --help shows all there are"},
      {{"--=1"}, "unknown flag --; --help shows all there are"},
      {{"--temperature", "1"}, "unknown flag --temperature; --help shows all there are"},
      {{"--count", "010"}, "--count must be an integer from 1 to 9007199254740991, not '010'"},
      {{"--count", "0"}, "--count must be an integer from 1 to 9007199254740991, not '0'"},
      {{"--count", "-1"}, "--count must be an integer from 1 to 9007199254740991, not '-1'"},
      {{"--count", "18446744073709551615"},
       "--count must be an integer from 1 to 9007199254740991, not '18446744073709551615'"},
      {{"--count", "3.0"}, "--count must be an integer from 1 to 9007199254740991, not '3.0'"},
      {{"--count="}, "--count must be an integer from 1 to 9007199254740991, not ''"},
      {{"--rate", "inf"}, "--rate must be a number from -1 to 1000000, not 'inf'"},
      {{"--rate", "-nan"}, "--rate must be a number from -1 to 1000000, not '-nan'"},
      {{"--rate", "+1"}, "--rate must be a number from -1 to 1000000, not '+1'"},
      {{"--rate", "01"}, "--rate must be a number from -1 to 1000000, not '01'"},
      {{"--rate", "-00.5"}, "--rate must be a number from -1 to 1000000, not '-00.5'"},
      {{"--rate", "1e999"}, "--rate must be a number from -1 to 1000000, not '1e999'"},
      {{"--rate", "0x1"}, "--rate must be a number from -1 to 1000000, not '0x1'"},
      {{"--rate", "1 "}, "--rate must be a number from -1 to 1000000, not '1 '"},
      {{"--kind", "fany"}, "--kind must be one of plain, fancy, not 'fany' (did you mean 'fancy'?)"},
      {{"--steps", "1,,2"}, "--steps must be a list of integers from 0 to 100, each once, not '1,,2'"},
      {{"--steps", "1,1"}, "--steps must be a list of integers from 0 to 100, each once, not '1,1'"},
      {{"--steps", "101"}, "--steps must be a list of integers from 0 to 100, each once, not '101'"},
      {{"--names", "a,d"}, "--names must be some, with commas between, of a, b, c, not 'a,d'"},
  };
  for (const auto& test : cases) {
    CAPTURE(test.second);
    CHECK(usage_error([&] { from_flags(test.first); }) == test.second);
  }
}

TEST_CASE("a list of so many integers, which may be equal, takes no more and no fewer") {
  const auto read = [](Options options) {
    std::vector<std::int64_t> pair = {0, 0};
    options.add("pair", pair, {.help = "two", .min = 0, .max = 9, .count = 2});
    return pair;
  };
  using Pair = std::vector<std::int64_t>;
  CHECK(read(Options("test")) == Pair{0, 0});
  CHECK(read(Options("test", {"--pair", "7,7"})) == Pair{7, 7});
  for (const char* wrong : {"7", "7,7,7", "7,10", "7,"})
    CHECK(usage_error([&] {
            read(Options("test", {"--pair", wrong}));
          }) == fmt::format("--pair must be 2 integers from 0 to 9 with commas between, not '{}'", wrong));
  Options file("test");
  file.params(R"({"pair": [3, 4]})", "p.json");
  CHECK(read(std::move(file)) == Pair{3, 4});
}

TEST_CASE("a text of a form of its own is what that form takes, and named by it") {
  const auto read = [](Options options) {
    std::string text = "none";
    options.add("text", text,
                {.help = "a text", .form = "a word of four letters", .fits = [](const std::string& value) {
                   return value.size() == 4;
                 }});
    return text;
  };
  CHECK(read(Options("test")) == "none");
  CHECK(read(Options("test", {"--text", "word"})) == "word");
  CHECK(usage_error([&] {
          read(Options("test", {"--text", "words"}));
        }) == "--text must be a word of four letters, not 'words'");
  Options file("test");
  file.params(R"({"text": "wo"})", "p.json");
  CHECK(file_error([&] { read(std::move(file)); }) ==
        "p.json: text must be a word of four letters, not \"wo\"");
}

TEST_CASE("a wrong value in the file is an error that names file and key, even where a flag replaces it") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[1]", R"(p.json: expected a JSON object such as {"model_name": "resnet18"}, found [1])"},
      {R"({"count": 1, "count": 2})", "p.json: the key \"count\" appears twice in one object"},
      {R"({"cuont": 1})", "p.json: unknown key cuont; did you mean count?"},
      {R"({"": 1})", "p.json: unknown key ; --help shows all there are"},
      {R"({"folder": "f"})", "p.json: unknown key folder; --help shows all there are"},
      {R"({"count": -1})", "p.json: count must be an integer from 1 to 9007199254740991, not -1"},
      {R"({"count": 18446744073709551615})",
       "p.json: count must be an integer from 1 to 9007199254740991, not 18446744073709551615"},
      {R"({"count": 3.0})", "p.json: count must be an integer from 1 to 9007199254740991, not 3.0"},
      {R"({"count": "3"})", "p.json: count must be an integer from 1 to 9007199254740991, not \"3\""},
      {R"({"rate": null})", "p.json: rate must be a number from -1 to 1000000, not null"},
      {R"({"loud": 2})", "p.json: loud must be 0 or 1, not 2"},
      {R"({"steps": 1})", "p.json: steps must be a list of integers from 0 to 100, each once, not 1"},
      {R"({"steps": [1, 1]})",
       "p.json: steps must be a list of integers from 0 to 100, each once, not [1,1]"},
      {R"({"place": 1})", "p.json: place must be text, not 1"},
      {R"({"old": 7})", "p.json: old must be 0 or 1, not 7"},
  };
  for (const auto& test : cases) {
    CAPTURE(test.second);
    CHECK(file_error([&] { from_text(test.first); }) == test.second);
  }
  CHECK(contains(file_error([] { from_text(R"({"count": 0})", {"--count", "2"}); }), "not 0"));
}

TEST_CASE("what is required is missing unless it is given and not empty") {
  const auto read = [](const Arguments& arguments, std::string_view params) {
    Options options("program", arguments);
    if (!params.empty()) options.params(params, "p.json");
    std::string weights;
    std::string run;
    options.add("run", run, {.help = "", .role = Role::call});
    options.add("weights", weights, {.help = "", .required = true});
    return options.finish();
  };
  CHECK(read({"--weights", "w"}, ""));
  CHECK(read({}, R"({"weights": "w"})"));
  CHECK(usage_error([&] { read({}, ""); }) == "weights is missing: give --weights");
  CHECK(usage_error([&] { read({"--weights="}, ""); }) == "weights is missing: give --weights");
  CHECK(usage_error([&] { read({}, "{}"); }) == "weights is missing: give --weights or put it in p.json");
}

TEST_CASE("what belongs elsewhere is said to") {
  Options other("other");
  std::string teacher;
  other.add("teacher", teacher, {.help = ""});
  const auto read = [&](const Arguments& arguments, std::string_view params) {
    Options options("program", arguments);
    options.params(params, "p.json");
    Part part;
    part.declare(options);
    options.belongs_to("one", other);
    options.belongs_to("two", other);
    options.finish();
  };
  CHECK(usage_error([&] {
          read({"--teacher", "t"}, "{}");
        }) == "flag --teacher is not one of program, but of one, two");
  CHECK(file_error([&] { read({}, R"({"teacher": "t"})"); }) ==
        "p.json: key teacher is not one of program, but of one, two");
}

TEST_CASE("names of other programs are understood, or answered") {
  const auto read = [](const Arguments& arguments, std::string_view params = "{}") {
    Options options("program", arguments);
    options.params(params, "p.json");
    options.habits({{"number", "count"}, {"n", "count"}});
    options.answers({{"gpu", {"a_place", "it is chosen by --a_place"}}, {"amp", {"dtype", "give --dtype"}}});
    std::int64_t count = 3;
    options.add("count", count, {.help = "", .min = 1, .max = 9, .advice = "see --rate"});
    std::string a_place = "here";
    options.add("a_place", a_place, {.help = ""});
    options.finish();
    return fmt::format("{} {}", count, a_place);
  };
  CHECK(read({"--number", "5"}) == "5 here");
  CHECK(read({"-"
              "-a-place=there",
              "--n", "4"}) == "4 there");
  CHECK(read({}, R"({"number": 7})") == "7 here");
  CHECK(read({"--n", "4"}, R"({"number": 7})") == "4 here");
  CHECK(usage_error([&] {
          read({"--number", "5", "--count", "6"});
        }) == "--count and --number are the same flag: leave one out");
  CHECK(usage_error([&] { read({"--a-place", "x", "--a_place", "y"}); }) == "--a_place is given twice");
  CHECK(usage_error([&] { read({"--gpu", "0"}); }) == "unknown flag --gpu: it is chosen by --a_place");
  CHECK(usage_error([&] { read({"--amp", "1"}); }) == "unknown flag --amp; --help shows all there are");
  CHECK(usage_error([&] {
          read({"--number", "10"});
        }) == "--number must be an integer from 1 to 9, not '10': see --rate");
}

TEST_CASE("text that JSON cannot hold is refused where it would be written, and only there") {
  CHECK(from_flags({"--place", "caf\xe9"}).place == "caf\xe9");
  CHECK(usage_error([] {
          from_text("{}", {"--place", "caf\xe9"});
        }) == "--place must be in UTF-8, not 'caf\xe9'");
  CHECK(from_text("{}", {"--folder", "caf\xe9"}).folder == "caf\xe9");
}
