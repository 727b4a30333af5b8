// Pooling and matrix products by oneDNN.

#include <atomic>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/onednn_backend.h"
#include "core/cpu/parallel.h"

namespace generous {
namespace onednn {
namespace {

enum Kind : std::int64_t { max_forward, max_backward, avg_forward, avg_backward };

Pooling plan(Kind kind, const Pool2dParams& p, const memory::desc& x, const memory::desc& y) {
  const bool is_max = kind == max_forward || kind == max_backward;
  const auto algorithm = is_max ? dnnl::algorithm::pooling_max : dnnl::algorithm::pooling_avg_include_padding;
  const memory::dims strides{p.stride, p.stride};
  const memory::dims kernel{p.kernel_h, p.kernel_w};
  const memory::dims padding{p.padding, p.padding};
#if DNNL_VERSION_MAJOR >= 3
  const memory::dims no_dilation{0, 0};
  const auto window = std::tuple(strides, kernel, no_dilation, padding, padding);
#else
  const auto window = std::tuple(strides, kernel, padding, padding);
#endif
  const auto forward = describe<dnnl::pooling_forward>(
      std::tuple_cat(std::tuple(dnnl::prop_kind::forward_training, algorithm, x, y), window));
  if (kind == max_forward || kind == avg_forward)
    return {dnnl::pooling_forward(forward), forward.workspace_desc()};
  const auto backward =
      describe<dnnl::pooling_backward>(std::tuple_cat(std::tuple(algorithm, x, y), window), forward);
  return {dnnl::pooling_backward(backward), forward.workspace_desc()};
}

}  // namespace
}  // namespace onednn

using onednn::image_desc;
using onednn::stream;
using onednn::wrap;

onednn::Pooling& OneDnnBackend::pooling(std::int64_t kind, const Pool2dParams& p, const Tensor& x,
                                        const Tensor& y) {
  const Key key{kind,
                x.size(0),
                x.size(1),
                x.size(2),
                x.size(3),
                y.size(1),
                y.size(2),
                p.kernel_h,
                p.kernel_w,
                p.stride,
                p.padding,
                0,
                static_cast<std::int64_t>(x.dtype())};
  const auto found = poolings_.find(key);
  if (found != poolings_.end()) return found->second;
  return poolings_.emplace(key, plan(static_cast<onednn::Kind>(kind), p, image_desc(x), image_desc(y)))
      .first->second;
}

void OneDnnBackend::max_pool(const Pool2dParams& params, const Tensor& x, Tensor& y, Tensor& chosen) {
  onednn::Pooling& planned = pooling(onednn::max_forward, params, x, y);
  require(planned.workspace.get_size() <= chosen.bytes(),
          "max_pool: oneDNN's workspace takes {} bytes, not {}", planned.workspace.get_size(),
          chosen.bytes());
  planned.primitive.execute(stream(), {{DNNL_ARG_SRC, wrap(image_desc(x), x)},
                                       {DNNL_ARG_DST, wrap(image_desc(y), y)},
                                       {DNNL_ARG_WORKSPACE, wrap(planned.workspace, chosen)}});
  stream().wait();
}

void OneDnnBackend::max_pool_backward(const Pool2dParams& params, const Tensor& dy, const Tensor& chosen,
                                      Tensor& dx) {
  onednn::Pooling& planned = pooling(onednn::max_backward, params, dx, dy);
  planned.primitive.execute(stream(), {{DNNL_ARG_DIFF_DST, wrap(image_desc(dy), dy)},
                                       {DNNL_ARG_WORKSPACE, wrap(planned.workspace, chosen)},
                                       {DNNL_ARG_DIFF_SRC, wrap(image_desc(dx), dx)}});
  stream().wait();
}

void OneDnnBackend::avg_pool(const Pool2dParams& params, const Tensor& x, Tensor& y) {
  if (x.dtype() != y.dtype()) return EigenBackend::avg_pool(params, x, y);
  onednn::Pooling& planned = pooling(onednn::avg_forward, params, x, y);
  planned.primitive.execute(stream(),
                            {{DNNL_ARG_SRC, wrap(image_desc(x), x)}, {DNNL_ARG_DST, wrap(image_desc(y), y)}});
  stream().wait();
}

void OneDnnBackend::avg_pool_backward(const Pool2dParams& params, const Tensor& dy, Tensor& dx) {
  if (dy.dtype() != dx.dtype()) return EigenBackend::avg_pool_backward(params, dy, dx);
  onednn::Pooling& planned = pooling(onednn::avg_backward, params, dx, dy);
  planned.primitive.execute(stream(), {{DNNL_ARG_DIFF_DST, wrap(image_desc(dy), dy)},
                                       {DNNL_ARG_DIFF_SRC, wrap(image_desc(dx), dx)}});
  stream().wait();
}

void OneDnnBackend::gemm(const GemmParams& params, const Tensor& a, const Tensor& b, Tensor& c) {
  require_address_space();
  const std::int64_t depth = a.size(params.transpose_a ? -2 : -1);
  /// The first element of matrix i of x.
  const auto matrix = [](auto& x, std::int64_t i) {
    return x.template data<float>().data() + i * x.size(-2) * x.size(-1);
  };
  const auto multiply = [&](std::int64_t i) {
    return dnnl::sgemm(params.transpose_a ? 'T' : 'N', params.transpose_b ? 'T' : 'N', c.size(-2), c.size(-1),
                       depth, params.alpha, matrix(a, i), a.size(-1), matrix(b, i), b.size(-1), params.beta,
                       matrix(c, i), c.size(-1)) == dnnl::status::success;
  };
  const std::int64_t count = c.shape().rank() == 3 ? c.size(0) : 1;
  std::atomic<bool> done = true;
  if (count < settle_threads()) {
    for (std::int64_t i = 0; i < count; ++i)
      if (!multiply(i)) done = false;
  } else {  // each product by one thread: sharing out small ones costs more than it gains
    const std::int64_t products = std::max<std::int64_t>(1, c.size(-2) * c.size(-1) * depth);
    parallel_for(count, 1 + elementwise_grain / products, [&](std::int64_t i) {
      if (!multiply(i)) done = false;
    });
  }
  require(done, "gemm: oneDNN refused {} times {}", a.shape().str(), b.shape().str());
}

std::string OneDnnBackend::description() const {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("CPU (oneDNN {}.{}.{}, {})", version->major, version->minor, version->patch,
                     cpu_description());
}

std::string OneDnnBackend::why_no_bf16() const {
  if (onednn::has_instructions(dnnl::cpu_isa::avx512_core_bf16)) return "";
  return "it needs AVX512-BF16 instructions, and this CPU has none";
}

std::unique_ptr<Backend> make_onednn_backend() { return std::make_unique<OneDnnBackend>(); }

}  // namespace generous
