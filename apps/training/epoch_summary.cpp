#include "apps/training/epoch_summary.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <sstream>

namespace generous {

namespace {

/// TensorBoard makes a group of what has the same word before the first '/'.
std::string tag_of(const std::string& column, std::span<const std::string> terms) {
  static const std::map<std::string, std::string> others = {
      {"lr", "learning_rate"},
      {"images_per_s", "images_per_second"},
      {"paper_top1_percent", "test/paper_top1_percent"},
      {"ema_top1_percent", "test/ema_top1_percent"},
      {"ema_validation_top1_percent", "validation/ema_top1_percent"}};
  if (const auto found = others.find(column); found != others.end()) return found->second;
  if (std::ranges::find(terms, column) != terms.end()) return "train/loss/" + column;
  for (const std::string group : {"train", "test", "validation"})
    if (column.starts_with(group + "_")) return group + "/" + column.substr(group.size() + 1);
  return column;
}

float norm_of(std::span<const float> numbers) {
  double squares = 0.0;
  for (const double number : numbers) squares += number * number;
  return static_cast<float>(std::sqrt(squares));
}

}  // namespace

EpochSummary summary_of(const EpochFacts& facts) {
  EpochSummary summary{.epoch = facts.epoch};
  for (std::size_t i = 0; i < facts.columns.size(); ++i)
    summary.scalars.emplace_back(tag_of(facts.columns[i], facts.terms), facts.values[i]);
  const std::vector<double>& deviations = facts.test.logit_deviations;
  summary.scalars.emplace_back("logits/std", std::accumulate(deviations.begin(), deviations.end(), 0.0) /
                                                 static_cast<double>(deviations.size()));
  summary.histograms.emplace_back("logits/std_by_test_image",
                                  histogram_of(std::vector<float>(deviations.begin(), deviations.end())));
  std::vector<float> norms;
  std::span<const float> classifier;
  for (const auto& [name, tensor] : facts.weights) {
    if (tensor.dtype() != DType::f32 || tensor.shape().rank() < 2) continue;
    norms.push_back(norm_of(tensor.data<float>()));
    if (tensor.shape().rank() == 2) classifier = tensor.data<float>();
  }
  if (!classifier.empty()) summary.histograms.emplace_back("weights/classifier", histogram_of(classifier));
  summary.histograms.emplace_back("weights/norm_by_layer", histogram_of(norms));
  return summary;
}

std::string as_code(const std::string& text) {
  std::istringstream in(text);
  std::string code;
  for (std::string line; std::getline(in, line);) code += "    " + line + "\n";
  return code;
}

}  // namespace generous
