#include "apps/training/training_data.h"

#include "core/error.h"
#include "core/hash.h"

namespace generous {

namespace {

std::string hash_of(const Tensor& images) {
  Hash hash;
  hash.add(images.shape().str());
  hash.add({static_cast<const std::byte*>(images.raw()), images.bytes()});
  return hash.hex();
}

std::string hash_of(const std::vector<std::int64_t>& labels) {
  Hash hash;
  hash.add(std::as_bytes(std::span(labels)));
  return hash.hex();
}

}  // namespace

Data load_data(ImageSettings& settings) {
  Data data{dataset_info(settings.dataset), load_images(settings, Split::train),
            load_images(settings, Split::test)};
  require(data.train.classes == data.test.classes, "{}: the {} training classes are not the {} test classes",
          settings.data_dir, data.train.classes.size(), data.test.classes.size());
  const Shape train = image_shape(data.train);
  const Shape test = image_shape(data.test);
  require(train == test, "{}: training images are {}, test images {}", settings.data_dir, train.str(),
          test.str());
  return data;
}

std::map<std::string, std::string> hashes_of(const Data& data) {
  return {{"training images", hash_of(data.train.images)},
          {"training labels", hash_of(data.train.labels)},
          {"test images", hash_of(data.test.images)},
          {"test labels", hash_of(data.test.labels)}};
}

void for_each_image(const Data& data, const TrainingBatchSettings& batches, Device device,
                    const std::function<void(const Batch&)>& use) {
  Loader loader(data.train, data.info, batches.BatchSettings::loader_options(device));
  loader.start_epoch(0);
  while (const auto batch = loader.next()) use(*batch);
}

}  // namespace generous
