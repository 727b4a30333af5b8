// Settings, their values and where these come from; option_errors_test.cpp has what is refused.
#include "core/options.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fstream>

#include "tests/core/options_part.h"
#include "tests/temporary_folder.h"

using namespace generous;
using namespace generous::testing;

TEST_CASE("a member's value is the default, and a flag of every type replaces it") {
  const Part plain = from_flags({});
  CHECK(plain.place == "here");
  CHECK(plain.count == 3);
  CHECK(plain.steps == std::vector<std::int64_t>{4, 7});

  const Part part =
      from_flags({"--place=there=now", "--kind", "fancy", "--count", "9007199254740991", "--rate", "-0.25",
                  "--loud", "1", "--steps", "9,0", "--names=c,a", "--folder", "f"});
  CHECK(part.place == "there=now");
  CHECK(part.kind == "fancy");
  CHECK(part.count == 9007199254740991);
  CHECK(part.rate == -0.25);
  CHECK(part.loud);
  CHECK(part.steps == std::vector<std::int64_t>{9, 0});
  CHECK(part.names == std::vector<std::string>{"c", "a"});
  CHECK(part.folder == "f");
}

TEST_CASE("a switch stands alone or has a value") {
  CHECK(from_flags({"--loud"}).loud);
  CHECK(from_flags({"--loud", "--count", "2"}).loud);
  CHECK(from_flags({"--loud", "true"}).loud);
  CHECK_FALSE(from_flags({"--loud", "0"}).loud);
  CHECK_FALSE(from_flags({"--old=false"}).old);
  CHECK(usage_error([] { from_flags({"--loud", "2"}); }) == "--loud must be 0 or 1, not '2'");
  CHECK(usage_error([] { from_flags({"--loud="}); }) == "--loud must be 0 or 1, not ''");
}

TEST_CASE("defaults, then a recipe, then the file, then flags") {
  Options options("program", {"--count", "40"});
  options.params(R"({"count": 30, "rate": 0.75})", "p.json");
  options.defaults({{"count", "20"}, {"rate", "0.125"}, {"steps", "1,2"}, {"of another part", "7"}});
  options.defaults({{"steps", "3"}});
  Part part;
  part.declare(options);
  REQUIRE(options.finish());
  CHECK(part.count == 40);
  CHECK(part.rate == 0.75);
  CHECK(part.steps == std::vector<std::int64_t>{1, 2});
  CHECK(part.kind == "plain");
  CHECK(options.given("count"));
  CHECK(options.given("rate"));
  CHECK_FALSE(options.given("steps"));
  for (const SettingValue& setting : options.settings())
    if (setting.key == "count") CHECK(setting.json_default == "20");
}

TEST_CASE("an alias is the same setting, in the file and as a flag") {
  CHECK(from_flags({"--location", "there"}).place == "there");
  CHECK(from_text(R"({"location": "there"})").place == "there");
  CHECK(from_text(R"({"location": "there"})", {"--place", "elsewhere"}).place == "elsewhere");
  CHECK(contains(usage_error([] {
                   from_flags({"--location", "a", "--place", "b"});
                 }),
                 "--place and --location are the same flag"));
  CHECK(contains(file_error([] { from_text(R"({"location": "a", "place": "b"})"); }),
                 "p.json: place and location are the same setting"));
}

TEST_CASE("a part behind a prefix is given by its whole names, and what is left out is no setting of it") {
  Options options("program", {"--small.count", "5", "--small.location", "there", "--count", "7"});
  options.params(R"({"small.steps": [9]})", "p.json");
  Part part;
  options.prefix("small", {"rate", "old"});
  part.declare(options);
  options.prefix("");
  std::int64_t count = 1;
  options.add("count", count, {.help = "how many", .min = 1, .max = 9});
  options.finish();
  CHECK(part.count == 5);
  CHECK(part.place == "there");
  CHECK(part.steps == std::vector<std::int64_t>{9});
  CHECK(count == 7);
  std::vector<std::string> keys;
  for (const SettingValue& setting : options.settings()) keys.push_back(setting.key);
  CHECK(keys == std::vector<std::string>{"small.place", "small.kind", "small.count", "small.loud",
                                         "small.steps", "small.names", "count"});
  Options wrong("program", {"--small.rate", "1"});
  wrong.prefix("small", {"rate"});
  part.declare(wrong);
  CHECK_THROWS_AS(wrong.finish(), UsageError);
}

TEST_CASE("a text that may be several choices") {
  const auto read = [](const std::string& text) {
    std::string kinds = "plain";
    Options options("program", {"--kinds", text});
    options.add("kinds", kinds, {.help = "kinds", .choices = {"plain", "fancy", "odd"}, .several = true});
    options.finish();
    return kinds;
  };
  CHECK(read("odd") == "odd");
  CHECK(read("odd,plain") == "odd,plain");
  const auto refused = [&](const std::string& text, const std::string& end) {
    CAPTURE(text);
    const std::string message =
        "--kinds must be one, or several with commas between, of plain, fancy, odd, not '" + text + "'" + end;
    CHECK_THROWS_WITH_AS(read(text), message.c_str(), UsageError);
  };
  refused("odd,odd", " ('odd' more than once)");
  refused("odd,fanci", " (did you mean 'fancy'?)");
  refused("odd,", "");
}

TEST_CASE("two parts that declare the same name both get what is given, and it is listed once") {
  Options options("program", {"--count", "5"});
  Part one;
  Part other;
  one.declare(options);
  other.declare(options);
  CHECK(one.count == 5);
  CHECK(other.count == 5);
  const std::string text = options.to_json();
  CHECK(text.find("\"count\"") == text.rfind("\"count\""));
}

TEST_CASE("what a shared file has for another program is kept, and without effect") {
  Options other("other");
  std::string teacher;
  other.add("teacher", teacher, {.help = "", .alias = "master"});
  std::int64_t count = 3;
  const auto read = [&](const Arguments& arguments, std::string_view params) {
    Options options("program", arguments);
    options.params(params, "p.json");
    options.add("count", count, {.help = "", .min = 1, .max = 9});
    options.belongs_to("other", other, true);
    options.finish();
    return options;
  };
  const Options options = read({}, R"({"teacher": ["a", 1], "count": 5, "master": "m"})");
  CHECK(options.ignored() == std::vector<std::string>{"master (of other)", "teacher (of other)"});
  CHECK(options.to_json() == "{\n    \"count\": 5,\n    \"master\": \"m\",\n    \"teacher\": [\"a\",1]\n}\n");
  CHECK(read({}, R"({"count": 5})").ignored().empty());
  CHECK(usage_error([&] {
          read({"--teacher", "t"}, "{}");
        }) == "flag --teacher is not one of program, but of other");
}

TEST_CASE("words without a flag go to what is positional, in the order of declaration") {
  const auto read = [](const Arguments& arguments, bool list) {
    Options options("program", arguments);
    std::string file;
    std::vector<std::string> others;
    options.add("file", file, {.help = "", .positional = true, .required = true});
    if (list) options.add("others", others, {.help = "", .positional = true});
    options.finish();
    return fmt::format("{}:{}", file, fmt::join(others, "|"));
  };
  CHECK(read({"f"}, false) == "f:");
  CHECK(read({"--file", "f"}, false) == "f:");
  CHECK(read({"f", "a,b", "c"}, true) == "f:a,b|c");
  CHECK(read({"--file", "f", "a"}, true) == "f:a");
  CHECK(read({"--others", "a,b", "f"}, true) == "f:a|b");
  CHECK(usage_error([&] {
          read({"f", "g"}, false);
        }) == "'g' belongs to no flag; flags are written --name value");
  CHECK(usage_error([&] { read({}, true); }) == "file is missing: give --file");
}

TEST_CASE("what is written back reads back to the same") {
  Options options("program", {"--loud", "--rate", "0.1", "--folder", "f", "--steps", "7,1"});
  options.params(R"({"location": "b\u00e4ume", "old": true})", "p.json");
  Part part;
  part.declare(options);
  part.names = {"c"};  // a part may settle what was left open
  CHECK(options.to_json() == R"({
    "place": "bäume",
    "kind": "plain",
    "count": 3,
    "rate": 0.1,
    "loud": 1,
    "steps": [7,1],
    "names": ["c"],
    "old": 1
}
)");
  Options fresh("program");
  Part defaults;
  defaults.declare(fresh);
  const std::string text = fresh.to_json();
  CHECK_FALSE(contains(text, "loud"));  // left out
  CHECK_FALSE(contains(text, "old"));   // without effect, and not given
  CHECK_FALSE(contains(text, "folder"));
}

TEST_CASE("a file is read where it is, and names itself in messages either way") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "params.json";
  const auto read = [&] {
    Options options("program");
    options.params(path);
    Part part;
    part.declare(options);
    std::string needed;
    options.add("needed", needed, {.help = "", .required = true});
    options.finish();
    return part;
  };
  CHECK(usage_error(read) == "needed is missing: give --needed or put it in " + path.string());
  std::ofstream(path) << R"({"needed": "n", "count": 8})";
  CHECK(read().count == 8);
}

TEST_CASE("help has every setting in its group, with what it takes and its default") {
  Options options("program", {"--count", "7", "--help"});
  Part part;
  part.declare(options);
  std::string weights;
  options.group("model");
  options.add("weights", weights, {.help = "a file", .required = true});
  CHECK(options.asks_for_help());
  CHECK(options.help() == R"(Usage: program --NAME VALUE ...

run
  --folder   where (text; default: none)

model
  --place    a place (text; default: here)
  --kind     a kind (one of plain, fancy; default: plain)
  --count    how many (an integer from 1 to 9007199254740991; default: 3)
  --rate     how fast (a number from -1 to 1000000; default: 0.5)
  --weights  a file (text; required)

training
  --loud     say more (0 or 1; default: 0)
  --steps    when (a list of integers from 0 to 100, each once; default: 4,7)
  --names    who (some, with commas between, of a, b, c; default: a,b)
)");
  CHECK(Options("program", {"-h"}).asks_for_help());
}
