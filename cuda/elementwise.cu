// Elementwise kernels: bound by memory, so every thread moves 16 bytes at a time. The mathematics is in
// core/functors.h. An output may be one of the inputs.

#include "core/functors.h"
#include "core/random.h"
#include "cuda/begin_kernel.h"
#include "cuda/cuda_backend.h"
#include "cuda/vector_access.h"

namespace generous::cuda {
namespace {

/// A thread for every vector of a tensor with elements of type T.
template <class T>
LaunchShape vectors_of(const Tensor& x) {
  return grid_of((x.numel() + vector_width<T> - 1) / vector_width<T>);
}

template <class T>
__global__ void fill_kernel(std::int64_t count, T value, T* y) {
  begin_kernel();
  for_each_vector<vector_width<T>>(count, [&]<int width>(Width<width>, std::int64_t i) {
    Elements<T, width> elements;
    for (int k = 0; k < width; ++k) elements.values[k] = value;
    *reinterpret_cast<Elements<T, width>*>(y + i) = elements;
  });
}

template <class From, class To>
__global__ void cast_kernel(std::int64_t count, const From* x, To* y) {
  begin_kernel();
  for_each_vector<8>(
      count, [&]<int width>(Width<width>, std::int64_t i) { store<width>(y + i, load<width>(x + i)); });
}

template <class T, class Function>
__global__ void unary_kernel(std::int64_t count, const T* x, T* y) {
  begin_kernel();
  for_each_vector<vector_width<T>>(count, [&]<int width>(Width<width>, std::int64_t i) {
    Floats<width> values = load<width>(x + i);
    for (int k = 0; k < width; ++k) values[k] = Function::forward(values[k]);
    store(y + i, values);
  });
}

template <class T, class Function>
__global__ void unary_backward_kernel(std::int64_t count, const T* x, const T* y, const T* dy, T* dx) {
  begin_kernel();
  for_each_vector<vector_width<T>>(count, [&]<int width>(Width<width>, std::int64_t i) {
    const Floats<width> in = load<width>(x + i);
    const Floats<width> out = load<width>(y + i);
    Floats<width> gradient = load<width>(dy + i);
    for (int k = 0; k < width; ++k) gradient[k] *= Function::derivative(in[k], out[k]);
    store(dx + i, gradient);
  });
}

template <class T, class Function>
__global__ void binary_kernel(std::int64_t count, const T* a, const T* b, T* y) {
  begin_kernel();
  for_each_vector<vector_width<T>>(count, [&]<int width>(Width<width>, std::int64_t i) {
    const Floats<width> left = load<width>(a + i);
    const Floats<width> right = load<width>(b + i);
    Floats<width> out;
    for (int k = 0; k < width; ++k) out[k] = Function::forward(left[k], right[k]);
    store(y + i, out);
  });
}

/// da and db may be null: not wanted.
template <class T, class Function>
__global__ void binary_backward_kernel(std::int64_t count, const T* a, const T* b, const T* dy, T* da,
                                       T* db) {
  begin_kernel();
  for_each_vector<vector_width<T>>(count, [&]<int width>(Width<width>, std::int64_t i) {
    const Floats<width> left = load<width>(a + i);
    const Floats<width> right = load<width>(b + i);
    const Floats<width> gradient = load<width>(dy + i);
    Floats<width> dleft;
    Floats<width> dright;
    for (int k = 0; k < width; ++k) {
      dleft[k] = gradient[k] * Function::derivative_a(left[k], right[k]);
      dright[k] = gradient[k] * Function::derivative_b(left[k], right[k]);
    }
    if (da != nullptr) store(da + i, dleft);
    if (db != nullptr) store(db + i, dright);
  });
}

template <class T>
__global__ void affine_kernel(std::int64_t count, float scale, float shift, const T* x, T* y) {
  begin_kernel();
  for_each_vector<vector_width<T>>(count, [&]<int width>(Width<width>, std::int64_t i) {
    Floats<width> values = load<width>(x + i);
    for (int k = 0; k < width; ++k) values[k] = scale * values[k] + shift;
    store(y + i, values);
  });
}

template <class T>
__global__ void accumulate_kernel(std::int64_t count, const T* x, T* y) {
  begin_kernel();
  for_each_vector<vector_width<T>>(count, [&]<int width>(Width<width>, std::int64_t i) {
    Floats<width> sum = load<width>(y + i);
    sum += load<width>(x + i);
    store(y + i, sum);
  });
}

__global__ void accumulate_integers_kernel(std::int64_t count, const std::int64_t* x, std::int64_t* y) {
  begin_kernel();
  for_each_vector<1>(count, [&]<int width>(Width<width>, std::int64_t i) { y[i] += x[i]; });
}

/// One block of random bits serves four elements, as on the CPU. `step` may be null: 0.
template <class T>
__global__ void dropout_kernel(std::int64_t count, float p, std::uint64_t key, const std::int64_t* step,
                               std::int64_t first, const T* x, T* y) {
  begin_kernel();
  const float scale = 1.0F / (1.0F - p);
  const std::uint32_t now = step == nullptr ? 0U : static_cast<std::uint32_t>(*step);
  for_each_vector<vector_width<T>>(count, [&]<int width>(Width<width>, std::int64_t i) {
    Floats<width> values = load<width>(x + i);
    PhiloxBlock bits{};
    for (int k = 0; k < width; ++k) {
      const std::int64_t place = first + i + k;
      const int word = static_cast<int>(place % 4);
      if (k == 0 || word == 0) {
        const std::int64_t block = place / 4;
        bits =
            philox(key, {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), now, 0});
      }
      // By comparison: registers have no index.
      const std::uint32_t drawn =
          word < 2 ? (word == 0 ? bits[0] : bits[1]) : (word == 2 ? bits[2] : bits[3]);
      values[k] = uniform01(drawn) >= p ? values[k] * scale : 0.0F;
    }
    store(y + i, values);
  });
}

}  // namespace

void CudaBackend::fill(Tensor& y, double value) {
  const auto fill_with = [&]<class T>(T element) {
    run("fill", vectors_of<T>(y), fill_kernel<T>, y.numel(), element, y);
  };
  switch (y.dtype()) {
    case DType::f32:
      return fill_with(static_cast<float>(value));
    case DType::bf16:
      return fill_with(bfloat16(static_cast<float>(value)));
    case DType::i64:
      return fill_with(static_cast<std::int64_t>(value));
    case DType::u8:
      return fill_with(static_cast<std::uint8_t>(value));
  }
}

void CudaBackend::cast(const Tensor& x, Tensor& y) {
  const auto cast_as = [&]<class From, class To>(From, To) {
    run("cast", grid_of((x.numel() + 7) / 8), cast_kernel<From, To>, x.numel(), x, y);
  };
  if (x.dtype() == DType::f32 && y.dtype() == DType::bf16) return cast_as(float{}, bfloat16{});
  if (x.dtype() == DType::bf16 && y.dtype() == DType::f32) return cast_as(bfloat16{}, float{});
  if (x.dtype() == DType::u8 && y.dtype() == DType::f32) return cast_as(std::uint8_t{}, float{});
  fail("cast: no conversion from {} to {}", name_of(x.dtype()), name_of(y.dtype()));
}

void CudaBackend::unary(Unary op, const Tensor& x, Tensor& y) {
  visit_floating(x.dtype(), [&]<class T>(T) {
    visit(op, [&]<class Function>(Function) {
      run("unary", vectors_of<T>(x), unary_kernel<T, Function>, x.numel(), x, y);
    });
  });
}

void CudaBackend::unary_backward(Unary op, const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) {
  visit_floating(x.dtype(), [&]<class T>(T) {
    visit(op, [&]<class Function>(Function) {
      run("unary_backward", vectors_of<T>(x), unary_backward_kernel<T, Function>, x.numel(), x, y, dy, dx);
    });
  });
}

void CudaBackend::binary(Binary op, const Tensor& a, const Tensor& b, Tensor& y) {
  visit_floating(y.dtype(), [&]<class T>(T) {
    visit(op, [&]<class Function>(Function) {
      run("binary", vectors_of<T>(y), binary_kernel<T, Function>, y.numel(), a, b, y);
    });
  });
}

void CudaBackend::binary_backward(Binary op, const Tensor& a, const Tensor& b, const Tensor& dy, Tensor& da,
                                  Tensor& db) {
  visit_floating(dy.dtype(), [&]<class T>(T) {
    visit(op, [&]<class Function>(Function) {
      run("binary_backward", vectors_of<T>(dy), binary_backward_kernel<T, Function>, dy.numel(), a, b, dy, da,
          db);
    });
  });
}

void CudaBackend::affine(const Tensor& x, float scale, float shift, Tensor& y) {
  visit_floating(x.dtype(), [&]<class T>(T) {
    run("affine", vectors_of<T>(x), affine_kernel<T>, x.numel(), scale, shift, x, y);
  });
}

void CudaBackend::accumulate(const Tensor& x, Tensor& y) {
  if (x.dtype() == DType::i64)
    return run("accumulate", grid_of(x.numel()), accumulate_integers_kernel, x.numel(), x, y);
  visit_floating(x.dtype(), [&]<class T>(T) {
    run("accumulate", vectors_of<T>(x), accumulate_kernel<T>, x.numel(), x, y);
  });
}

void CudaBackend::dropout(const Tensor& x, const DropoutParams& params, Tensor& y) {
  visit_floating(x.dtype(), [&]<class T>(T) {
    run("dropout", vectors_of<T>(x), dropout_kernel<T>, x.numel(), params.p, params.key, params.step,
        params.first, x, y);
  });
}

}  // namespace generous::cuda
