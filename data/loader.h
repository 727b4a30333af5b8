// Batches of normalised, augmented images, prepared ahead by background threads. What a batch holds depends
// on the options, the epoch and its index alone, never on the number of workers.
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
  Device device = Device::cpu;    ///< on a GPU the dataset's images are kept there, and augmented there
  bool unmade = false;            ///< on a GPU: whoever gets a batch makes its images
};

/// Images that are still to be made, on a GPU.
struct UnmadeImages {
  AugmentInputs of;
  bool of_dataset = true;  ///< of.images are those of the whole dataset, the same for every batch
};

struct Batch {
  Tensor images;                       ///< f32 {B, H, W, C}, normalised, on the loader's device
  Tensor labels;                       ///< i64 {B}, likewise
  Tensor indices{};                    ///< i64 {B}, likewise: which images of the dataset these are
  Tensor second_view{};                ///< like `images`, strongly augmented; undefined unless asked for
  std::vector<UnmadeImages> unmade{};  ///< in place of these two, where the loader's options ask for it

  /// {B, H, W, C}
  Shape shape() const;
  /// The first or second view's images in f32 or bf16, made if need be.
  Tensor view(std::size_t number, DType dtype) const;
};

class Loader {
 public:
  /// `dataset`, on the host, must outlive the loader.
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
  /// The next batch, or nothing at the epoch's end.
  std::optional<Batch> next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace generous
