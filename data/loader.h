// Batches of normalised, augmented images, prepared ahead by background threads. What a batch holds depends
// on the options, the epoch and its index alone, never on the number of workers. Batches can be had in
// slices, rows n i / S to n (i + 1) / S of a batch of n images, of which several processes share the
// preparation.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/params.h"
#include "data/dataset.h"
#include "data/rand_augment.h"

namespace generous {

/// The most background threads that a loader takes.
inline constexpr int max_loader_workers = 64;

/// Every `of`th slice from slice `index` on: what one of several processes takes.
struct Share {
  std::int64_t index = 0;
  std::int64_t of = 1;
};

struct LoaderOptions {
  std::int64_t batch_size = 128;
  int workers = 1;  ///< background threads; 0 prepares each batch when it is asked for
  std::uint64_t seed = 0;
  bool shuffle = true;
  bool augment = true;            ///< crop, flip and rotation as the dataset has them
  RandAugment rand_augment = {};  ///< of the ordinary view
  double erasing = 0.0;           ///< probability of random erasing, of the ordinary view
  bool second_view = false;       ///< also a strong one, by draws of its own (data/rand_augment.h)
  bool drop_last = false;         ///< leave out the last batch where it is smaller
  std::int64_t slices = 1;        ///< of each batch, which are delivered one after the other
  Share share = {};               ///< of all slices, in their order
  Device device = Device::cpu;    ///< on a GPU the dataset's images are kept there, and augmented there
  bool unmade = false;            ///< on a GPU: whoever gets a batch makes its images
};

/// Images that are still to be made, on a GPU.
struct UnmadeImages {
  AugmentInputs of;
  bool of_dataset = true;  ///< of.images are those of the whole dataset, the same for every batch
};

/// A batch, or a slice of one: its rows [first_row, first_row + B).
struct Batch {
  Tensor images;                       ///< f32 {B, H, W, C}, normalised, on the loader's device
  Tensor labels;                       ///< i64 {B}, likewise
  Tensor indices{};                    ///< i64 {B}, likewise: which images of the dataset these are
  Tensor second_view{};                ///< like `images`, strongly augmented; undefined unless asked for
  std::vector<UnmadeImages> unmade{};  ///< in place of these two, where the loader's options ask for it
  std::int64_t first_row = 0;
  std::int64_t whole = 0;  ///< rows of the batch of which this is a slice; 0: it is none

  /// {B, H, W, C}
  Shape shape() const;
  /// The first or second view's images in f32 or bf16, made if need be.
  Tensor view(std::size_t number, DType dtype) const;
  std::int64_t rows() const { return labels.size(0); }
  std::int64_t whole_rows() const { return whole == 0 ? rows() : whole; }
};

class Loader {
 public:
  /// `dataset`, on the host, must outlive the loader. Throws Error for batches with fewer images than slices.
  Loader(const Dataset& dataset, const DatasetInfo& info, const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Batches per epoch; the last may be smaller.
  std::int64_t batches() const;
  /// Images in the first `batches` batches of an epoch.
  std::int64_t images_in(std::int64_t batches) const;
  /// Begins `epoch` at batch `first` (resuming inside an epoch), dropping whatever was prepared.
  void start_epoch(std::int64_t epoch, std::int64_t first = 0);
  /// The next batch, or slice of one, or nothing at the epoch's end.
  std::optional<Batch> next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace generous
