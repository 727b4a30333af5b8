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

// y = mean over the window;  dx = the sum of dy / window size over the windows that a pixel is in
Tensor adaptive_avg_pool2d(const Tensor& x, std::int64_t height, std::int64_t width) {
  check_floating("adaptive_avg_pool2d", {&x});
  if (x.shape().rank() != 4 || x.numel() == 0 || height < 1 || width < 1)
    fail("adaptive_avg_pool2d: no {}x{} windows of x {}", height, width, x.shape().str());
  if (x.size(1) == height && x.size(2) == width) return x;
  Tensor y = empty_beside(x, {x.size(0), height, width, x.size(3)});
  backend_of(x).adaptive_avg_pool(x, y);
  return record("adaptive_avg_pool2d", y, {x}, [from = x.shape()](const Tensor& dy) -> Gradients {
    Tensor dx = empty_beside(dy, from);
    backend_of(dy).adaptive_avg_pool_backward(dy, dx);
    return {dx};
  });
}

}  // namespace generous
