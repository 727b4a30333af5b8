// Text from outside (names of files, most of all) as it may be shown on a terminal or put into a log.
#pragma once

#include <string>
#include <string_view>

namespace generous {

/// Whether `text` is well-formed UTF-8 (RFC 3629: nothing overlong, no surrogates, nothing beyond U+10FFFF).
bool is_utf8(std::string_view text);

/// `text` as one line that nothing can act on: newlines become spaces; the bytes of other control characters
/// (C0, DEL and C1, which begin escape sequences) and what is not UTF-8 are spelt `\x1b`. Anything else is
/// kept.
std::string printable(std::string_view text);

}  // namespace generous
