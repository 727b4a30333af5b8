// Ops that move channels, the last axis, and change none. All are one kernel, whose gradient is the same
// kernel backwards: the parts trade places, and shuffling by C / groups undoes shuffling by groups.

#include <fmt/ranges.h>

#include "core/ops.h"
#include "core/ops/check.h"

namespace generous {
namespace {

void check_part(std::string_view op, const Tensor& x) {
  check_floating(op, {&x});
  require(x.shape().rank() >= 1, "{}: needs an axis of channels, not shape {}", op, x.shape().str());
}

struct Rearrangement {
  std::int64_t groups;
  std::vector<std::int64_t> counts;  ///< channels of each part of the result
  std::vector<bool> wanted;          ///< which of these
};

std::vector<ChannelPart> parts_of(const std::vector<Tensor>& tensors,
                                  const std::vector<std::int64_t>& counts) {
  std::vector<ChannelPart> parts;
  for (std::size_t i = 0; i < tensors.size(); ++i) parts.push_back({tensors[i], counts[i]});
  return parts;
}

/// y as parts with the channels of xs; undefined where not wanted.
std::vector<Tensor> rearrange(std::string_view op, const std::vector<Tensor>& xs,
                              const Rearrangement& params) {
  std::vector<std::int64_t> from_counts;
  std::vector<Tensor> from;
  for (const Tensor& x : xs) {
    from_counts.push_back(x.size(-1));
    from.push_back(x.detach());
  }
  std::vector<Tensor> ys;
  for (std::size_t i = 0; i < params.counts.size(); ++i)
    ys.push_back(params.wanted[i] ? empty_beside(xs[0], with_channels(xs[0].shape(), params.counts[i]))
                                  : Tensor());
  backend_of(xs[0]).rearrange_channels(params.groups, parts_of(from, from_counts),
                                       parts_of(ys, params.counts));
  std::vector<bool> needed;
  needed.reserve(xs.size());
  for (const Tensor& x : xs) needed.push_back(needs_gradient(x));
  return record_joint(
      op, ys, xs, [params, needed, from_counts, shape = xs[0].shape()](const std::vector<Tensor>& dys) {
        const Tensor* like = nullptr;
        std::int64_t channels = 0;
        for (const Tensor& dy : dys)
          if (dy.defined()) like = &dy;
        for (const std::int64_t count : from_counts) channels += count;
        Gradients dxs;
        for (std::size_t i = 0; i < from_counts.size(); ++i)
          dxs.push_back(needed[i] ? empty_beside(*like, with_channels(shape, from_counts[i])) : Tensor());
        backend_of(*like).rearrange_channels(channels / params.groups, parts_of(dys, params.counts),
                                             parts_of(dxs, from_counts));
        return dxs;
      });
}

}  // namespace

Tensor concat(const std::vector<Tensor>& parts) {
  require(!parts.empty(), "concat: no parts");
  std::int64_t channels = 0;
  for (const Tensor& part : parts) {
    check_part("concat", part);
    check_floating("concat", {&parts[0], &part});
    if (with_channels(part.shape(), 0) != with_channels(parts[0].shape(), 0))
      fail("concat: parts {} and {} differ in more than the last axis", parts[0].shape().str(),
           part.shape().str());
    channels += part.size(-1);
  }
  if (parts.size() == 1) return parts[0];
  return rearrange("concat", parts, {.groups = 1, .counts = {channels}, .wanted = {true}})[0];
}

std::vector<Tensor> split_channels(const Tensor& x, const std::vector<std::int64_t>& counts) {
  check_part("split_channels", x);
  std::int64_t channels = 0;
  bool positive = true;
  for (const std::int64_t count : counts) {
    channels += count;
    positive = positive && count > 0;
  }
  if (!positive || channels != x.size(-1))
    fail("split_channels: counts {{{}}} have to be positive and to sum to the channels of x {}",
         fmt::join(counts, ", "), x.shape().str());
  return rearrange("split_channels", {x},
                   {.groups = 1, .counts = counts, .wanted = std::vector<bool>(counts.size(), true)});
}

Tensor slice_channels(const Tensor& x, std::int64_t first, std::int64_t count) {
  check_part("slice_channels", x);
  const std::int64_t channels = x.size(-1);
  if (first < 0 || count < 1 || first > channels - count)
    fail("slice_channels: x {} has no {} channels from {} on", x.shape().str(), count, first);
  return rearrange(
      "slice_channels", {x},
      {.groups = 1, .counts = {first, count, channels - first - count}, .wanted = {false, true, false}})[1];
}

Tensor channel_shuffle(const Tensor& x, std::int64_t groups) {
  check_part("channel_shuffle", x);
  if (groups < 1 || x.size(-1) % groups != 0)
    fail("channel_shuffle: {} groups do not divide the channels of x {}", groups, x.shape().str());
  return rearrange("channel_shuffle", {x}, {.groups = groups, .counts = {x.size(-1)}, .wanted = {true}})[0];
}

std::array<Tensor, 2> shuffled_halves(const Tensor& a, const Tensor& b) {
  check_part("shuffled_halves", a);
  check_floating("shuffled_halves", {&a, &b});
  if (a.shape() != b.shape() || a.size(-1) % 2 != 0)
    fail("shuffled_halves: a {} and b {} have to be equal in shape and even in channels", a.shape().str(),
         b.shape().str());
  const std::int64_t half = a.size(-1);
  const std::vector<Tensor> ys =
      rearrange("shuffled_halves", {a, b}, {.groups = 2, .counts = {half, half}, .wanted = {true, true}});
  return {ys[0], ys[1]};
}

}  // namespace generous
