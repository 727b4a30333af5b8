// Pooling over windows of images {N, H, W, C}.

#include "core/ops.h"
#include "core/ops/check.h"

namespace generous {
namespace {

Shape output_shape(std::string_view name, const Tensor& x, const Pool2dParams& p) {
  check_floating(name, {&x});
  const auto complain = [&](std::string_view what) {
    fail("{}: {}: x {}, kernel {}x{}, stride {}, padding {}", name, what, x.shape().str(), p.kernel_h,
         p.kernel_w, p.stride, p.padding);
  };
  if (x.shape().rank() != 4) complain("x needs four axes");
  if (p.kernel_h < 1 || p.kernel_w < 1 || p.kernel_h * p.kernel_w > 1 << 20 || p.stride < 1)
    complain("kernel or stride out of range");
  if (p.padding < 0 || p.padding >= std::min(p.kernel_h, p.kernel_w))
    complain("padding has to be below the kernel");
  const std::int64_t height = x.size(1) + 2 * p.padding - p.kernel_h;
  const std::int64_t width = x.size(2) + 2 * p.padding - p.kernel_w;
  if (height < 0 || width < 0) complain("the kernel is larger than the padded image");
  return {x.size(0), height / p.stride + 1, width / p.stride + 1, x.size(3)};
}

// y = mean over the window;  dx = dy / window size, spread over it
Tensor avg_pool(std::string_view name, const Tensor& x, const Pool2dParams& params, DType dtype) {
  Tensor y = Tensor::empty(output_shape(name, x, params), dtype, x.device());
  backend_of(x).avg_pool(params, x, y);
  return record(name, y, {x}, [params, from = x.shape(), of = x.dtype()](const Tensor& dy) -> Gradients {
    Tensor dx = Tensor::empty(from, of, dy.device());
    backend_of(dy).avg_pool_backward(params, dy, dx);
    return {dx};
  });
}

}  // namespace

// y = max over the window;  dx receives dy where the maximum was
Tensor max_pool2d(const Tensor& x, const Pool2dParams& params) {
  Tensor y = empty_beside(x, output_shape("max_pool2d", x, params));
  require(params.kernel_h * params.kernel_w <= 256, "max_pool2d: the kernel {}x{} has more than 256 elements",
          params.kernel_h, params.kernel_w);
  Tensor chosen = Tensor::empty(y.shape(), DType::u8, x.device());
  backend_of(x).max_pool(params, x, y, chosen);
  return record("max_pool2d", y, {x}, [params, chosen, from = x.shape()](const Tensor& dy) -> Gradients {
    Tensor dx = empty_beside(dy, from);
    backend_of(dy).max_pool_backward(params, dy, chosen, dx);
    return {dx};
  });
}

Tensor avg_pool2d(const Tensor& x, const Pool2dParams& params) {
  return avg_pool("avg_pool2d", x, params, x.dtype());
}

Tensor global_avg_pool(const Tensor& x) {
  require(x.shape().rank() == 4, "global_avg_pool: x needs four axes, not shape {}", x.shape().str());
  const Pool2dParams whole{.kernel_h = x.size(1), .kernel_w = x.size(2), .stride = 1, .padding = 0};
  return reshape(avg_pool("global_avg_pool", x, whole, DType::f32), {x.size(0), x.size(3)});
}

}  // namespace generous
