#include "core/options.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fstream>

#include "core/error.h"
#include "tests/temporary_folder.h"

using namespace generous;

namespace {

using Arguments = std::vector<std::string>;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// The settings of a part with one of every type.
struct Part {
  std::string place = "here";
  std::string kind = "plain";
  std::int64_t count = 3;
  double rate = 0.5;
  bool loud = false;
  std::vector<std::int64_t> steps = {4, 7};
  std::vector<std::string> names = {"a", "b"};
  bool old = true;
  std::string folder;

  void declare(Options& options) {
    options.group("run");
    options.add("folder", folder, {.help = "where", .role = Role::call});
    options.group("model");
    options.add("place", place, {.help = "a place", .role = Role::flexible, .alias = "location"});
    options.add("kind", kind, {.help = "a kind", .choices = {"plain", "fancy"}});
    options.add("count", count, {.help = "how many", .min = 1, .max = 9007199254740991});
    options.add("rate", rate, {.help = "how fast", .min = -1, .max = 1e6});
    options.group("training");
    options.add("loud", loud, {.help = "say more", .left_out = true});
    options.add("steps", steps, {.help = "when", .min = 0, .max = 100});
    options.add("names", names, {.help = "who", .choices = {"a", "b", "c"}});
    options.add("old", old, {.help = "once", .role = Role::unused});
  }
};

Part from_flags(const Arguments& arguments) {
  Options options("program", arguments);
  Part part;
  part.declare(options);
  options.finish();
  return part;
}

Part from_text(std::string_view text, const Arguments& arguments = {}) {
  Options options("program", arguments);
  options.params(text, "p.json");
  Part part;
  part.declare(options);
  options.finish();
  return part;
}

/// What the error says, and of which kind it is.
template <class Call>
std::string usage_error(Call call) {
  try {
    call();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no usage error";
}

template <class Call>
std::string file_error(Call call) {
  try {
    call();
  } catch (const UsageError&) {
    return "a usage error";
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

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

TEST_CASE("names of other programs are understood, or answered") {
  const auto read = [](const Arguments& arguments, std::string_view params = "{}") {
    Options options("program", arguments);
    options.params(params, "p.json");
    options.habits({{"number", "count"}, {"n", "count"}});
    options.answers({{"gpu", "the GPU is chosen by --device"}});
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
  CHECK(usage_error([&] { read({"--gpu", "0"}); }) == "unknown flag --gpu: the GPU is chosen by --device");
  CHECK(usage_error([&] {
          read({"--number", "10"});
        }) == "--number must be an integer from 1 to 9, not '10': see --rate");
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

TEST_CASE("text that JSON cannot hold is refused where it would be written, and only there") {
  CHECK(from_flags({"--place", "caf\xe9"}).place == "caf\xe9");
  CHECK(usage_error([] {
          from_text("{}", {"--place", "caf\xe9"});
        }) == "--place must be in UTF-8, not 'caf\xe9'");
  CHECK(from_text("{}", {"--folder", "caf\xe9"}).folder == "caf\xe9");
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
