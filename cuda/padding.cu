#include "cuda/begin_kernel.h"
#include "cuda/cuda_backend.h"
#include "cuda/padding.h"
#include "cuda/place.h"
#include "cuda/vector_access.h"

namespace generous::cuda {
namespace {

/// y {rows, 8} = x {rows, C} with zeros beside it.
template <class T>
__global__ void pad_kernel(std::int64_t rows, std::int64_t channels, const T* __restrict__ x,
                           bfloat16* __restrict__ y) {
  begin_kernel();
  for_each_index(rows, [&](std::int64_t row) {
    Floats<padded_channels> values{};
    for (int c = 0; c < padded_channels; ++c)
      if (c < channels) values[c] = static_cast<float>(x[row * channels + c]);
    store(y + row * padded_channels, values);
  });
}

/// y {rows, C} = the first channels of x {rows, 8}, or y += them.
template <class T>
__global__ void cut_kernel(std::int64_t rows, std::int64_t channels, bool adds,
                           const bfloat16* __restrict__ x, T* __restrict__ y) {
  begin_kernel();
  for_each_index(rows, [&](std::int64_t row) {
    const auto values = load<padded_channels>(x + row * padded_channels);
    for (int c = 0; c < padded_channels; ++c) {
      if (c >= channels) break;
      T& to = y[row * channels + c];
      to = rounded<T>(adds ? static_cast<float>(to) + values[c] : values[c]);
    }
  });
}

}  // namespace

void CudaBackend::pad(const Tensor& x, Tensor& y) {
  const std::int64_t channels = x.size(-1);
  const std::int64_t rows = x.numel() / channels;
  visit_floating(x.dtype(),
                 [&]<class T>(T) { run("conv2d", grid_of(rows), pad_kernel<T>, rows, channels, x, y); });
}

void CudaBackend::cut(const Tensor& x, bool adds, Tensor& y) {
  const std::int64_t channels = y.size(-1);
  const std::int64_t rows = y.numel() / channels;
  visit_floating(y.dtype(), [&]<class T>(T) {
    run("conv2d backward", grid_of(rows), cut_kernel<T>, rows, channels, adds, x, y);
  });
}

PaddedImages* CudaBackend::room_for_padded(const Tensor& x) {
  if (channels_read({}, x.dtype(), x.size(-1)) == x.size(-1) || x.shape().rank() != 4) return nullptr;
  std::shared_ptr<Companion>& companion = x.companion();
  if (companion == nullptr) {
    const auto made = std::make_shared<PaddedImages>();
    made->padded = Tensor::empty(with_padding(x.shape()), DType::bf16, Device::cuda);
    companion = made;
  }
  auto* room = dynamic_cast<PaddedImages*>(companion.get());
  return room != nullptr && room->padded.shape() == with_padding(x.shape()) ? room : nullptr;
}

void CudaBackend::note_padded(PaddedImages& images) {
  images.fresh = true;
  images.place = place();
}

Tensor CudaBackend::padded(const Tensor& x) {
  PaddedImages* const room = room_for_padded(x);
  if (room == nullptr) {  // something else is kept beside x
    Tensor result = Tensor::empty(with_padding(x.shape()), DType::bf16, Device::cuda);
    pad(x, result);
    return result;
  }
  // What was padded outside would be missing in the replays of a recording, and the other way round.
  if (!room->fresh || room->place != place()) {
    pad(x, room->padded);
    note_padded(*room);
  }
  return room->padded;
}

}  // namespace generous::cuda
