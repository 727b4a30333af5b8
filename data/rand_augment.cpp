#include "data/rand_augment.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace generous {

namespace {

// Places in the random streams of one sample; changing one changes every run.
enum Element : std::uint64_t { element_cutout_side, element_cutout_x, element_cutout_y, element_operations };

/// Of operation `index`: which it is, and behind it its value or sign.
std::uint64_t element_of(int index) { return element_operations + 2 * static_cast<std::uint64_t>(index); }

PixelOp draw_op(const ImageRandom& random, int index) {
  return static_cast<PixelOp>(random.below(pixel_op_count, element_of(index)));
}

struct Range {
  double low = 0.0;
  double high = 0.0;
};

Range strong_range(PixelOp op, const ImageShape& shape) {
  switch (op) {
    case PixelOp::identity:
    case PixelOp::auto_contrast:
    case PixelOp::equalize:
      return {};
    case PixelOp::brightness:
    case PixelOp::color:
    case PixelOp::contrast:
    case PixelOp::sharpness:
      return {0.05, 0.95};
    case PixelOp::posterize:
      return {4, 8};
    case PixelOp::solarize:
      return {0, 256};
    case PixelOp::rotate:
      return {-30, 30};
    case PixelOp::shear_x:
    case PixelOp::shear_y:
      return {-0.3, 0.3};
    case PixelOp::translate_x:
      return {-0.3 * static_cast<double>(shape.width), 0.3 * static_cast<double>(shape.width)};
    case PixelOp::translate_y:
      return {-0.3 * static_cast<double>(shape.height), 0.3 * static_cast<double>(shape.height)};
  }
  return {};
}

/// The value of an operation at magnitude m, which is `part` of the largest, without its sign.
double value_at(PixelOp op, double part, const ImageShape& shape) {
  switch (op) {
    case PixelOp::identity:
    case PixelOp::auto_contrast:
    case PixelOp::equalize:
      return 0.0;
    case PixelOp::brightness:
    case PixelOp::color:
    case PixelOp::contrast:
    case PixelOp::sharpness:
      return 0.9 * part;
    case PixelOp::posterize:
      return 8.0 - std::nearbyint(4.0 * part);
    case PixelOp::solarize:
      return 255.0 - 255.0 * part;
    case PixelOp::rotate:
      return 30.0 * part;
    case PixelOp::shear_x:
    case PixelOp::shear_y:
      return 0.3 * part;
    case PixelOp::translate_x:
      return std::trunc(150.0 / 331.0 * static_cast<double>(shape.width) * part);
    case PixelOp::translate_y:
      return std::trunc(150.0 / 331.0 * static_cast<double>(shape.height) * part);
  }
  return 0.0;
}

bool is_factor(PixelOp op) {
  return op == PixelOp::brightness || op == PixelOp::color || op == PixelOp::contrast ||
         op == PixelOp::sharpness;
}

}  // namespace

PixelOperation draw_operation(const RandAugment& policy, const ImageShape& shape, const ImageRandom& random,
                              int index) {
  const PixelOp op = draw_op(random, index);
  const double part = static_cast<double>(policy.magnitude) / static_cast<double>(max_magnitude);
  const double value = value_at(op, part, shape);
  if (op == PixelOp::posterize || op == PixelOp::solarize) return {.op = op, .value = value};
  const double either = random.below(2, element_of(index) + 1) == 0 ? value : -value;
  return {.op = op, .value = is_factor(op) ? 1.0 + either : either};
}

Rectangle draw_erasing(double probability, const ImageShape& shape, const ImageRandom& random) {
  if (random.uniform(0, 1, 0) >= probability) return {};
  const double area = static_cast<double>(shape.height * shape.width);
  for (std::uint64_t element = 1; element <= 4 * 10; element += 4) {
    const double erased = area * random.uniform(0.02, 0.33, element);
    const double ratio = std::exp(random.uniform(std::log(0.3), std::log(3.3), element + 1));
    const auto height = static_cast<std::int64_t>(std::nearbyint(std::sqrt(erased * ratio)));
    const auto width = static_cast<std::int64_t>(std::nearbyint(std::sqrt(erased / ratio)));
    if (height >= shape.height || width >= shape.width) continue;
    const auto place = [&](std::int64_t free, std::uint64_t at) {
      return static_cast<std::int64_t>(random.below(static_cast<std::uint32_t>(free + 1), at));
    };
    return {.top = place(shape.height - height, element + 2),
            .left = place(shape.width - width, element + 3),
            .height = height,
            .width = width};
  }
  return {};
}

PixelOperation draw_strong_operation(const ImageShape& shape, const ImageRandom& random, int index) {
  const PixelOp op = draw_op(random, index);
  const auto [low, high] = strong_range(op, shape);
  return {.op = op, .value = random.uniform(low, high, element_of(index) + 1)};
}

Rectangle draw_cutout(const ImageShape& shape, const ImageRandom& random) {
  const auto width = static_cast<double>(shape.width);
  const double side = random.uniform(0, 0.5 * width, element_cutout_side);
  // From the centre to the first pixel and the last, along one axis.
  const auto span = [&](std::int64_t size, Element element) {
    const double centre = random.uniform(0, static_cast<double>(size), element);
    const auto first = static_cast<std::int64_t>(std::max(0.0, centre - side / 2));
    const auto last = std::min(size - 1, static_cast<std::int64_t>(static_cast<double>(first) + side));
    return std::pair(first, last - first + 1);
  };
  const auto [left, columns] = span(shape.width, element_cutout_x);
  const auto [top, rows] = span(shape.height, element_cutout_y);
  return {.top = top, .left = left, .height = rows, .width = columns};
}

}  // namespace generous
