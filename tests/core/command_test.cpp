// Command lines in messages, given to the shell.
#include "core/command.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "core/files.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

/// What a command line prints.
std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  REQUIRE(pipe != nullptr);
  std::string text;
  std::array<char, 256> part{};
  while (const std::size_t bytes = std::fread(part.data(), 1, part.size(), pipe.get()))
    text.append(part.data(), bytes);
  return text;
}

TEST_CASE("a text is one word of the shell") {
  for (const std::string text :
       {"plain/path-1.0_x,y:z=3@4%5+6", "a b", "it's", "", "$HOME", "`id`", "\"", "a\\b", "*", "~", "#1",
        "a;b", "(x)", "tab\there", "line\nbreak", "'", "!x", "ä"})
    CHECK(output_of("printf %s " + shell_word(text)) == text);
  CHECK(shell_word("runs/x") == "runs/x");  // read more easily without quotes
}

TEST_CASE("a program is found beside this one or in the folder above, and called from the current folder") {
  const fs::path own = fs::read_symlink("/proc/self/exe");
  const std::string name = own.filename().string();
  const fs::path before = fs::current_path();
  SUBCASE("its own folder is the current one") {
    fs::current_path(own.parent_path());
    CHECK(find_program(name) == "./" + name);
    CHECK(program_beside(name) == "./" + name);
  }
  SUBCASE("in a folder below") {
    fs::current_path(own.parent_path().parent_path());
    CHECK(find_program(name) == own.parent_path().filename().string() + "/" + name);
  }
  SUBCASE("elsewhere") {
    const TemporaryFolder folder;
    fs::current_path(folder.path());
    CHECK(find_program(name) == shell_word(own.string()));
  }
  SUBCASE("in the folder above") {
    const fs::path above = own.parent_path().parent_path() / "a program of command_test";
    write_file_atomically(above, "");
    CHECK(find_program(above.filename().string()) == shell_word(above.string()));
    fs::remove(above);
  }
  fs::current_path(before);
  CHECK_FALSE(find_program("no such program").has_value());
}

}  // namespace
}  // namespace generous
