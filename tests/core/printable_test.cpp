#include "core/printable.h"

#include <doctest/doctest.h>

using namespace generous;

TEST_CASE("what is harmless is kept") {
  for (const char* text : {"", "a line",
                           "Gr\xc3\xbc\xc3\x9f"
                           "e",
                           "\xe6\x97\xa5\xe6\x9c\xac", "\xf0\x9f\x90\xb1", "C:\\x1b"})
    CHECK(printable(text) == text);
}

TEST_CASE("control characters and what is not UTF-8 are spelt out, newlines become spaces") {
  CHECK(printable("a\nb\n") == "a b ");
  CHECK(printable("\x1b]0;title\x07\r\t\x7f") == "\\x1b]0;title\\x07\\x0d\\x09\\x7f");
  CHECK(printable(std::string_view("\0", 1)) == "\\x00");
  CHECK(printable("\xc2\x9b"
                  "31m") == "\\xc2\\x9b31m");                      // CSI as one character
  CHECK(printable("caf\xe9!") == "caf\\xe9!");                     // Latin-1
  CHECK(printable("\xc3") == "\\xc3");                             // cut short
  CHECK(printable("\xc0\x9b") == "\\xc0\\x9b");                    // overlong
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");           // a surrogate
  CHECK(printable("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
  CHECK(printable("\xff\xfe") == "\\xff\\xfe");
}

TEST_CASE("is_utf8") {
  CHECK(is_utf8(""));
  CHECK(
      is_utf8("Gr\xc3\xbc\xc3\x9f"
              "e\n\x1b"));
  CHECK_FALSE(is_utf8("caf\xe9"));
  CHECK_FALSE(is_utf8("\x80"));
  CHECK_FALSE(is_utf8("\xe2\x82"));
}
