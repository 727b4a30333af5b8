// Images {N, H, W, C} in another size.

#include "core/ops.h"
#include "core/ops/check.h"

namespace generous {

// y[p, q] = x[p's source, q's source];  dx = the sum of dy over the pixels that were taken from it
Tensor upsample_nearest(const Tensor& x, std::int64_t height, std::int64_t width) {
  check_floating("upsample_nearest", {&x});
  if (x.shape().rank() != 4 || x.numel() == 0 || height < 1 || width < 1)
    fail("upsample_nearest: no image of {}x{} from x {}", height, width, x.shape().str());
  if (x.size(1) == height && x.size(2) == width) return x;
  Tensor y = empty_beside(x, {x.size(0), height, width, x.size(3)});
  backend_of(x).resample_nearest(x, y);
  return record("upsample_nearest", y, {x}, [from = x.shape()](const Tensor& dy) -> Gradients {
    Tensor dx = empty_beside(dy, from);
    backend_of(dy).resample_nearest_backward(dy, dx);
    return {dx};
  });
}

Tensor adaptive_avg_pool2d(const Tensor& x, std::int64_t height, std::int64_t width) {
  if (x.shape().rank() != 4 || height < 1 || width < 1 || x.size(1) % height != 0 || x.size(2) % width != 0)
    fail("adaptive_avg_pool2d: x {} has no windows that cover it as {}x{} without overlap", x.shape().str(),
         height, width);
  if (x.size(1) == height && x.size(2) == width) return x;
  const std::int64_t kernel_h = x.size(1) / height;
  const std::int64_t kernel_w = x.size(2) / width;
  if (kernel_h == kernel_w)
    return avg_pool2d(x, {.kernel_h = kernel_h, .kernel_w = kernel_w, .stride = kernel_h, .padding = 0});
  // A window has the same stride in both directions, so one direction after the other.
  const Tensor rows = reshape(x, {x.size(0) * height, kernel_h, x.size(2), x.size(3)});
  const Tensor means = avg_pool2d(rows, {.kernel_h = kernel_h, .kernel_w = 1, .stride = 1, .padding = 0});
  const Tensor columns = reshape(means, {x.size(0) * height * width, kernel_w, 1, x.size(3)});
  const Tensor pooled = avg_pool2d(columns, {.kernel_h = kernel_w, .kernel_w = 1, .stride = 1, .padding = 0});
  return reshape(pooled, {x.size(0), height, width, x.size(3)});
}

}  // namespace generous
