#include "apps/training/evaluation.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/training/evaluation_pass.h"
#include "core/finite.h"

namespace generous {

namespace {

constexpr std::int64_t paper_batch = 128;

double percent_of(std::int64_t part, std::int64_t whole) {
  return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

/// `logits` {B, C}, finite, and `labels` {B} on the host. Of equal logits the first class counts.
void add_rows(PaperAccuracy& accuracy, const Tensor& logits, const Tensor& labels) {
  const auto classes = static_cast<std::size_t>(logits.size(1));
  std::span<const float> rest = logits.data<float>();
  for (const std::int64_t label : labels.data<std::int64_t>()) {
    const std::span<const float> row = rest.first(classes);
    accuracy.add(std::ranges::max_element(row) - row.begin() == label);
    rest = rest.subspan(classes);
  }
}

}  // namespace

void declare_paper_metrics(Options& options, bool& paper_metrics) {
  options.add("paper_metrics", paper_metrics,
              {.help = "also measure as the paper's program does: mean over batches, the latest best epoch",
               .left_out = true});
}

void PaperAccuracy::add(bool correct) {
  ++images_;
  if (correct) ++correct_;
  if (images_ < paper_batch) return;
  sum_ += percent_of(correct_, images_);
  ++batches_;
  images_ = 0;
  correct_ = 0;
}

double PaperAccuracy::percent() const {
  const bool begun = images_ > 0;
  const std::int64_t batches = batches_ + (begun ? 1 : 0);
  if (batches == 0) return 0.0;
  return (sum_ + (begun ? percent_of(correct_, images_) : 0.0)) / static_cast<double>(batches);
}

std::optional<Evaluation> evaluate(Module& model, Loader& loader, const EvaluationOptions& options,
                                   const std::function<bool(std::int64_t images)>& go_on,
                                   const SeeLogits& see) {
  const NoGrad no_grad;
  model.eval();
  EvaluationPass pass(model, options.dtype, loader.images_in(1), options.record);
  Evaluation result;
  PaperAccuracy paper_accuracy;
  loader.start_epoch(0);
  while (const auto batch = loader.next()) {
    const EvaluationPass::Answer answer = pass.run(*batch);
    if (const auto bad = first_not_finite(answer.logits)) {
      result.not_finite = fmt::format("{} for class {} of image {}", bad->value, bad->index[1],
                                      result.images + bad->index[0]);
      return result;
    }
    add_rows(paper_accuracy, answer.logits, batch->labels.to(Device::cpu));
    if (see) see(*batch, answer.logits);
    const std::int64_t count = batch->labels.numel();
    result.loss += static_cast<double>(answer.loss) * static_cast<double>(count);
    result.correct += static_cast<std::int64_t>(answer.correct);
    result.correct5 += static_cast<std::int64_t>(answer.correct5);
    result.images += count;
    if (!go_on(result.images)) return std::nullopt;
  }
  result.loss /= static_cast<double>(result.images);
  result.paper_accuracy = paper_accuracy.percent();
  return result;
}

}  // namespace generous
