// Samples of other classes for contrastive methods.

#include "core/negatives.h"

#include "core/cpu/eigen_backend.h"
#include "core/cpu/parallel.h"

namespace generous {

void EigenBackend::draw_negatives(const Tensor& labels, const NegativeDraws& draws, Tensor& y) {
  const std::int64_t images = y.size(1);
  const std::int64_t* sorted = draws.sorted.data<std::int64_t>().data();
  const std::span<const std::int64_t> begin = draws.begin.data<std::int64_t>();
  const std::int64_t step = draws.step.defined() ? draws.step.data<std::int64_t>()[0] : 0;
  const auto classes = static_cast<std::int64_t>(begin.size()) - 1;
  for (const std::int64_t label : labels.data<std::int64_t>())
    require(label >= 0 && label < classes, "draw_negatives: there is no class {} of {}", label, classes);
  const std::int64_t* own = labels.data<std::int64_t>().data();
  float* out = y.data<float>().data();
  parallel_for(y.size(0), 1, [=, &draws](std::int64_t row) {
    const auto label = static_cast<std::size_t>(own[row]);
    const NegativeRow draw(images, begin[label], begin[label + 1], draws.count,
                           negative_keys(draws.key, step, row));
    float* drawn = out + row * images;
    for (std::int64_t rank = 0; rank < images; ++rank) drawn[sorted[rank]] = draw.always(rank);
    for (std::int64_t i = 0; i < draw.rest; ++i) drawn[sorted[draw.once_more(i)]] += 1.0F;
  });
}

}  // namespace generous
