// Which channels of one list of parts lie side by side in another list, too.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "core/params.h"

namespace generous {

/// Neighbouring channels that a part of the one list and a part of the other have in common.
struct ChannelRun {
  const ChannelPart* from;
  const ChannelPart* to;
  std::int64_t from_first, to_first;  ///< within their parts
  std::int64_t count;
};

/// The runs in which the channels of `from`, in turn, become those of `to`; both have equally many.
inline std::vector<ChannelRun> channel_runs(std::span<const ChannelPart> from,
                                            std::span<const ChannelPart> to) {
  std::vector<ChannelRun> runs;
  std::size_t j = 0;
  std::int64_t to_first = 0;
  for (const ChannelPart& source : from)
    for (std::int64_t from_first = 0; from_first < source.channels;) {
      const std::int64_t count = std::min(source.channels - from_first, to[j].channels - to_first);
      if (count > 0) runs.push_back({&source, &to[j], from_first, to_first, count});
      from_first += count;
      to_first += count;
      if (to_first == to[j].channels) {
        ++j;
        to_first = 0;
      }
    }
  return runs;
}

/// C and the rows M of parts {..., c_i}, seen as {M, c_i}.
inline std::int64_t channels_of(std::span<const ChannelPart> parts) {
  std::int64_t sum = 0;
  for (const ChannelPart& part : parts) sum += part.channels;
  return sum;
}
inline std::int64_t rows_of(std::span<const ChannelPart> parts) {
  for (const ChannelPart& part : parts)
    if (part.tensor.defined() && part.channels > 0) return part.tensor.numel() / part.channels;
  return 0;
}

}  // namespace generous
