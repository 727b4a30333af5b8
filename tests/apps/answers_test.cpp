// What a network's logits say of images and classes, against plain sums as they are defined.
#include "apps/evaluation/answers.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "apps/evaluation/feature_sample.h"
#include "core/random.h"

using namespace generous;

namespace {

using Row = std::vector<double>;

constexpr std::size_t images = 37;
constexpr std::size_t classes = 7;

std::vector<Row> random_logits(std::string_view name) {
  const Random random(5, name);
  std::vector<Row> rows(images, Row(classes));
  std::uint64_t element = 0;
  for (Row& row : rows)
    for (double& z : row) z = static_cast<double>(2.5F * random.normal(0, 0, element++));
  return rows;
}

/// All but class 4 are there.
std::vector<std::int64_t> labels_of_images() {
  std::vector<std::int64_t> labels;
  for (std::size_t i = 0; i < images; ++i)
    labels.push_back(std::array{0, 1, 2, 3, 5, 6}[(5 * i + i / 7) % 6]);
  return labels;
}

/// In batches of 10, 10, 10 and 7 images.
Answers answers_of(const std::vector<Row>& rows, const std::vector<std::int64_t>& labels) {
  Answers answers(static_cast<std::int64_t>(rows[0].size()));
  for (std::size_t first = 0; first < rows.size(); first += 10) {
    std::vector<float> logits;
    std::vector<std::int64_t> batch;
    for (std::size_t i = first; i < std::min(first + 10, rows.size()); ++i) {
      for (const double z : rows[i]) logits.push_back(static_cast<float>(z));
      batch.push_back(labels[i]);
    }
    const std::int64_t count = std::ssize(batch);
    answers.add(Tensor::from(logits, {count, answers.classes()}), Tensor::from(batch, {count}));
  }
  return answers;
}

/// exp(z / T) / sum exp(z / T)
Row softmax(const Row& z, double temperature = 1.0) {
  double total = 0.0;
  for (const double value : z) total += std::exp(value / temperature);
  Row p;
  for (const double value : z) p.push_back(std::exp(value / temperature) / total);
  return p;
}

Row without(Row row, std::int64_t place) {
  row.erase(row.begin() + place);
  return row;
}

double entropy(const Row& p) {
  double sum = 0.0;
  for (const double value : p) sum -= value * std::log(value);
  return sum;
}

double mean(const Row& row) {
  double sum = 0.0;
  for (const double value : row) sum += value;
  return sum / static_cast<double>(row.size());
}

/// Over C - 1, by the sum of squared differences of all pairs.
double sample_deviation(const Row& row) {
  double squares = 0.0;
  for (const double a : row)
    for (const double b : row) squares += (a - b) * (a - b);
  const auto count = static_cast<double>(row.size());
  return std::sqrt(squares / (2.0 * count * (count - 1.0)));
}

doctest::Approx near(double value) { return doctest::Approx(value).epsilon(1e-12); }

ImageMeasures measured(const std::vector<float>& logits, std::int64_t label) {
  return measure_image(logits, label);
}

}  // namespace

TEST_CASE("each image's measures are those of their definitions") {
  const std::vector<Row> rows = random_logits("student");
  const std::vector<std::int64_t> labels = labels_of_images();
  const Answers answers = answers_of(rows, labels);
  REQUIRE(answers.images().size() == images);
  std::size_t right = 0;
  std::size_t right5 = 0;
  for (std::size_t i = 0; i < images; ++i) {
    CAPTURE(i);
    const ImageMeasures& image = answers.images()[i];
    const Row p = softmax(rows[i]);
    const auto label = static_cast<std::size_t>(labels[i]);
    Row falling = rows[i];
    std::ranges::sort(falling, std::greater{});
    CHECK(image.label == labels[i]);
    CHECK(rows[i][static_cast<std::size_t>(image.predicted)] == falling[0]);
    CHECK(image.in_top5 == (rows[i][label] >= falling[4]));
    CHECK(image.loss == near(-std::log(p[label])));
    CHECK(image.confidence == near(*std::ranges::max_element(p)));
    CHECK(image.logit_mean == near(mean(rows[i])));
    CHECK(image.logit_deviation == near(sample_deviation(rows[i])));
    const Row others = without(rows[i], labels[i]);
    CHECK(image.non_target_entropy == near(entropy(softmax(others))));
    CHECK(image.non_target_entropy_at_sigma == near(entropy(softmax(others, sample_deviation(rows[i])))));
    if (image.predicted == image.label) ++right;
    if (image.in_top5) ++right5;
  }
  CHECK(right > 0);
  CHECK(right5 > right);
  CHECK(right5 < images);
}

TEST_CASE("by hand, at the edges: equal logits, certainty, two classes, large logits") {
  const ImageMeasures two = measured({0.0F, std::log(3.0F)}, 1);
  CHECK(two.loss == doctest::Approx(-std::log(0.75)));
  CHECK(two.confidence == doctest::Approx(0.75));
  CHECK(two.logit_deviation == doctest::Approx(std::log(3.0) / std::sqrt(2.0)));
  CHECK(two.non_target_entropy == 0.0);  // one other class
  CHECK(two.non_target_entropy_at_sigma == 0.0);

  const ImageMeasures equal = measured({2.0F, 2.0F, 2.0F, 2.0F, 2.0F, 2.0F}, 5);
  CHECK(equal.predicted == 0);
  CHECK_FALSE(equal.in_top5);
  CHECK(measured({2.0F, 2.0F, 2.0F, 2.0F, 2.0F, 2.0F}, 4).in_top5);
  CHECK(equal.confidence == 1.0 / 6.0);
  CHECK(equal.logit_deviation == 0.0);
  CHECK(equal.non_target_entropy == doctest::Approx(std::log(5.0)));
  CHECK(equal.non_target_entropy_at_sigma == doctest::Approx(std::log(5.0)));

  const ImageMeasures certain = measured({1e38F, -1e38F, 0.0F}, 0);
  CHECK(certain.confidence == 1.0);
  CHECK(certain.loss == 0.0);
  CHECK_FALSE(std::signbit(certain.loss));
  CHECK(certain.non_target_entropy == 0.0);
  CHECK(measured({1e38F, -1e38F, 0.0F}, 2).loss == doctest::Approx(1e38));
  CHECK(measured({1.0F, 2.0F}, 0).in_top5);  // of fewer than five
}

TEST_CASE("divergence: KL of the two distributions, 0 of a network and itself") {
  const std::vector<Row> rows = random_logits("student");
  const std::vector<Row> others = random_logits("teacher");
  for (std::size_t i = 0; i < images; ++i) {
    const Row p = softmax(others[i]);
    const Row q = softmax(rows[i]);
    double kl = 0.0;
    for (std::size_t c = 0; c < classes; ++c) kl += p[c] * std::log(p[c] / q[c]);
    const std::vector<float> zp(others[i].begin(), others[i].end());
    const std::vector<float> zq(rows[i].begin(), rows[i].end());
    CHECK(divergence(zp, zq) == near(kl));
    CHECK(divergence(zq, zq) == 0.0);
  }
}

TEST_CASE("classes: confusion, results and mean logits; one without images has none") {
  const std::vector<Row> rows = random_logits("student");
  const std::vector<std::int64_t> labels = labels_of_images();
  const Answers answers = answers_of(rows, labels);
  const std::vector<std::int64_t> counts = confusion(answers);
  const std::vector<ClassResult> results = by_class(answers);
  REQUIRE(counts.size() == classes * classes);
  REQUIRE(results.size() == classes);
  for (std::size_t label = 0; label < classes; ++label) {
    std::int64_t count = 0;
    std::int64_t in_top5 = 0;
    double confidence = 0.0;
    Row sums(classes);
    Row found(classes);
    for (std::size_t i = 0; i < images; ++i) {
      if (labels[i] != static_cast<std::int64_t>(label)) continue;
      ++count;
      const Row p = softmax(rows[i]);
      const auto largest = std::ranges::max_element(p);
      confidence += *largest;
      ++found[static_cast<std::size_t>(largest - p.begin())];
      if (answers.images()[i].in_top5) ++in_top5;
      for (std::size_t c = 0; c < classes; ++c) sums[c] += rows[i][c];
    }
    CHECK(results[label].images == count);
    CHECK(static_cast<double>(results[label].correct) == found[label]);
    CHECK(results[label].correct5 == in_top5);
    CHECK(results[label].confidence == near(confidence));
    for (std::size_t c = 0; c < classes; ++c) {
      CHECK(static_cast<double>(counts[label * classes + c]) == found[c]);
      const double average =
          answers.mean_logit(static_cast<std::int64_t>(label), static_cast<std::int64_t>(c));
      if (label == 4)
        CHECK(std::isnan(average));
      else
        CHECK(average == near(sums[c] / static_cast<double>(count)));
    }
  }
}

TEST_CASE("calibration: 15 bins, each with its upper end; certainty is in the last") {
  const std::vector<Row> rows = random_logits("student");
  const std::vector<std::int64_t> labels = labels_of_images();
  const Answers answers = answers_of(rows, labels);
  const std::vector<CalibrationBin> bins = calibration(answers.images());
  REQUIRE(bins.size() == 15);
  double error = 0.0;
  for (std::size_t b = 0; b < bins.size(); ++b) {
    CHECK(bins[b].lower == static_cast<double>(b) / 15.0);
    CHECK(bins[b].upper == static_cast<double>(b + 1) / 15.0);
    double count = 0.0;
    double correct = 0.0;
    double confidence = 0.0;
    for (const ImageMeasures& image : answers.images()) {
      if (image.confidence <= bins[b].lower || image.confidence > bins[b].upper) continue;
      ++count;
      if (image.predicted == image.label) ++correct;
      confidence += image.confidence;
    }
    CHECK(static_cast<double>(bins[b].images) == count);
    CHECK(static_cast<double>(bins[b].correct) == correct);
    CHECK(bins[b].confidence == near(confidence));
    if (count > 0) error += count / images * std::abs(correct / count - confidence / count);
  }
  CHECK(expected_calibration_error(bins) == near(error));

  // Confidences of 1, of 3/15 to the bit and of 1/2, all wrong but the first.
  const Answers certain = answers_of({{90, 0}}, {0});
  CHECK(calibration(certain.images())[14].images == 1);
  CHECK(expected_calibration_error(calibration(certain.images())) == 0.0);
  CHECK(calibration(answers_of({{1, 1, 1, 1, 1}}, {2}).images())[2].images == 1);
  const auto half = calibration(answers_of({{1, 1}}, {1}).images());
  CHECK(half[7].images == 1);
  CHECK(expected_calibration_error(half) == 0.5);
}

TEST_CASE("moments, agreement, distance of class logits, worst images") {
  const std::vector<std::int64_t> labels = labels_of_images();
  const std::vector<Row> rows = random_logits("student");
  const std::vector<Row> others = random_logits("teacher");
  const Answers student = answers_of(rows, labels);
  const Answers teacher = answers_of(others, labels);
  Row deviations;
  std::int64_t same = 0;
  for (std::size_t i = 0; i < images; ++i) {
    deviations.push_back(sample_deviation(rows[i]));
    if (student.images()[i].predicted == teacher.images()[i].predicted) ++same;
  }
  const Moments found = moments_of(student.images(), &ImageMeasures::logit_deviation);
  CHECK(found.mean == near(mean(deviations)));
  const double sample = sample_deviation(deviations);
  CHECK(found.deviation == near(sample * std::sqrt((images - 1.0) / images)));
  CHECK(same > 0);
  CHECK(agreement(student.images(), teacher.images()) == same);
  CHECK(agreement(student.images(), student.images()) == std::ssize(student.images()));

  Row distances;
  for (std::int64_t label = 0; label < 7; ++label)
    for (std::int64_t c = 0; c < 7; ++c)
      if (label != 4)
        distances.push_back(std::abs(student.mean_logit(label, c) - teacher.mean_logit(label, c)));
  CHECK(class_logit_distance(student, teacher) == near(mean(distances)));
  CHECK(class_logit_distance(student, student) == 0.0);

  const auto worst = worst_images(student.images(), 5);
  REQUIRE(worst.size() == 5);
  Row losses;
  for (const ImageMeasures& image : student.images()) losses.push_back(image.loss);
  std::ranges::sort(losses, std::greater{});
  for (std::size_t i = 0; i < 5; ++i) CHECK(student.images()[worst[i]].loss == losses[i]);
  CHECK(worst_images(student.images(), 1000).size() == images);
  CHECK(worst_images(student.images(), 0).empty());
  CHECK(worst_images(answers_of({{0, 1}, {1, 0}, {0, 2}, {1, 0}}, {0, 1, 0, 1}).images(), 3) ==
        std::vector<std::size_t>{2, 0, 1});  // of equal losses the first
}

TEST_CASE("a sample has of each class equally many images, as far as there are, at even distances") {
  const std::vector<std::int64_t> labels = {2, 0, 0, 2, 0, 2, 0, 2, 0, 2, 0, 3};  // none of class 1
  const auto spread = [&](std::int64_t count) { return spread_over_classes(labels, 4, count); };
  CHECK(spread(0).empty());
  CHECK(spread(1) == std::vector<std::int64_t>{1});
  CHECK(spread(3) == std::vector<std::int64_t>{0, 1, 11});
  CHECK(spread(7) == std::vector<std::int64_t>{0, 1, 3, 4, 7, 8, 11});  // 3, 0, 3, 1
  CHECK(spread(12).size() == 12);
  CHECK(spread(1000) == std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
}
