// The views of a batch's images that networks see: placed, their pixels changed, normalised.
#pragma once

#include <span>

#include "data/augment.h"
#include "data/loader.h"
#include "data/pixel_ops.h"
#include "data/prepared.h"

namespace generous {

enum class ViewKind : std::uint8_t { ordinary, strong };

/// Geometry is a placement, which any device applies; what is done to pixels is done by the threads that
/// prepare a batch.
class ViewMaker {
 public:
  /// `dataset`, on the host, must outlive it.
  ViewMaker(const Dataset& dataset, const DatasetInfo& info, const LoaderOptions& options);

  /// Of these images of the dataset, in `epoch`. From any thread.
  PreparedView prepare(ViewKind kind, std::span<const std::uint32_t> samples, std::uint32_t epoch) const;
  /// f32 {B, H, W, C} on the loader's device.
  Tensor finish(const PreparedView& prepared) const;
  /// What `finish` makes them of, on a GPU.
  UnmadeImages unmade(const PreparedView& prepared) const;

 private:
  Augmentation draw(ViewKind kind, std::uint32_t epoch, std::uint32_t sample) const;
  bool changes_pixels(ViewKind kind) const;
  void change_pixels(ViewKind kind, const Pixels& image, std::uint32_t epoch, std::uint32_t sample) const;

  const Dataset& dataset_;
  const DatasetInfo info_;
  const LoaderOptions options_;
  const ImageShape shape_;
  const NormaliseTable table_;
  const Random ordinary_;
  const Random second_;
  const Random strong_;
  const Random rand_augment_;
  const Random erasing_;
  Tensor images_on_gpu_;  ///< the dataset's, where pixels of the ordinary view are not changed before
  Tensor table_on_gpu_;
};

}  // namespace generous
