#include "apps/training/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <vector>

#include "apps/training/evaluation_pass.h"
#include "apps/training/spread.h"
#include "core/finite.h"

namespace generous {

namespace {

constexpr std::int64_t paper_batch = 128;

double percent_of(std::int64_t part, std::int64_t whole) {
  return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

/// What is found out about every batch and every image. Of what another process sees, all is 0.
struct Findings {
  Findings(std::int64_t batches, std::int64_t images)
      : loss(static_cast<std::size_t>(batches)),
        correct(loss.size()),
        correct5(loss.size()),
        right(static_cast<std::size_t>(images)),
        deviation(right.size()) {}

  std::vector<double> loss;       ///< of each batch: the sum over its images
  std::vector<double> correct;    ///< likewise, Evaluation::correct
  std::vector<double> correct5;   ///< likewise
  std::vector<double> right;      ///< of each image: 1 if its label is the first class with the largest logit
  std::vector<double> deviation;  ///< of each image: of its logits
};

/// `logits` {B, C}, finite, and `labels` {B} on the host, of images from this one on.
void look_at_images(const Tensor& logits, const Tensor& labels, std::size_t image, Findings& found) {
  const auto classes = static_cast<std::size_t>(logits.size(1));
  std::span<const float> rest = logits.data<float>();
  for (const std::int64_t label : labels.data<std::int64_t>()) {
    const std::span<const float> row = rest.first(classes);
    found.right[image] = std::ranges::max_element(row) - row.begin() == label ? 1.0 : 0.0;
    found.deviation[image++] = spread_of(row).deviation;
    rest = rest.subspan(classes);
  }
}

/// A logit that is not finite.
struct BadLogit {
  std::int64_t image = 0;
  std::string words;  ///< "" for none
};

/// The first of all processes; nothing if one of them `stopped`.
std::optional<BadLogit> first_of_all(Group& group, const BadLogit& own, bool stopped) {
  BadLogit first;
  bool any_stopped = false;
  for (const std::string& text :
       group.gather(fmt::format("{} {} {}", stopped ? 1 : 0, own.image, own.words))) {
    std::istringstream in(text);
    BadLogit bad;
    bool its_stop = false;
    in >> its_stop >> bad.image;
    std::getline(in >> std::ws, bad.words);
    any_stopped = any_stopped || its_stop;
    if (!bad.words.empty() && (first.words.empty() || bad.image < first.image)) first = bad;
  }
  if (first.words.empty() && any_stopped) return std::nullopt;
  return first;
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
  const std::unique_ptr<Group> alone = options.group == nullptr ? group_of_one() : nullptr;
  Group& group = options.group == nullptr ? *alone : *options.group;
  const NoGrad no_grad;
  model.eval();
  EvaluationPass pass(model, options.dtype, loader.images_in(1), options.record);
  const std::int64_t images = loader.images_in(loader.batches());
  Findings found(loader.batches(), images);
  BadLogit bad;
  bool stopped = false;
  std::int64_t done = 0;
  loader.start_epoch(0);
  for (std::int64_t number = group.rank(); !stopped; number += group.size()) {
    const auto batch = loader.next();
    if (!batch) break;
    const std::int64_t first = loader.images_in(number);
    const EvaluationPass::Answer answer = pass.run(*batch);
    if (const auto value = first_not_finite(answer.logits)) {
      bad.image = first + value->index[0];
      bad.words = fmt::format("{} for class {} of image {}", value->value, value->index[1], bad.image);
      break;
    }
    const auto count = static_cast<std::size_t>(batch->rows());
    look_at_images(answer.logits, batch->labels.to(Device::cpu), static_cast<std::size_t>(first), found);
    if (see) see(*batch, answer.logits);
    const auto at = static_cast<std::size_t>(number);
    found.loss[at] = static_cast<double>(answer.loss) * static_cast<double>(count);
    found.correct[at] = static_cast<double>(answer.correct);
    found.correct5[at] = static_cast<double>(answer.correct5);
    done += batch->rows();
    stopped = !go_on(std::min(done * group.size(), images));
  }
  const std::optional<BadLogit> first_bad = first_of_all(group, bad, stopped);
  if (!first_bad) return std::nullopt;
  Evaluation result{.images = images, .not_finite = first_bad->words};
  if (!result.not_finite.empty()) return result;
  for (std::vector<double>* values :
       {&found.loss, &found.correct, &found.correct5, &found.right, &found.deviation})
    group.sum(*values);
  for (std::size_t i = 0; i < found.loss.size(); ++i) {
    result.loss += found.loss[i];
    result.correct += static_cast<std::int64_t>(found.correct[i]);
    result.correct5 += static_cast<std::int64_t>(found.correct5[i]);
  }
  result.loss /= static_cast<double>(images);
  PaperAccuracy paper_accuracy;
  for (const double right : found.right) paper_accuracy.add(right != 0.0);
  result.paper_accuracy = paper_accuracy.percent();
  result.logit_deviations = std::move(found.deviation);
  return result;
}

}  // namespace generous
