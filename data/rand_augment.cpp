#include "data/rand_augment.h"

#include <algorithm>

namespace generous {

namespace {

// Places in the random stream of one sample; changing one changes every run.
enum Element : std::uint64_t { element_cutout_side, element_cutout_x, element_cutout_y, element_operations };

/// Of `index`: which operation, and its value.
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

}  // namespace

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
