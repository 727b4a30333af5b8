#include "apps/training/training_data.h"

#include "core/error.h"
#include "core/hash.h"
#include "data/subset.h"

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

void PartSettings::declare(Options& options) {
  options.group("data");
  options.add("validation", validation,
              {.help = "training images that are held out and choose the best epoch; 0: the test images do",
               .min = 0,
               .max = 1e9});
  options.add(
      "subset_percent", subset_percent,
      {.help = "how much of each class's (other) training images is trained on", .min = 0.001, .max = 100});
  // Every file that this program wrote has a seed.
  whole_by_paper = subset_percent == 1.0 && options.from_file("subset_percent") && !options.from_file("seed");
  if (whole_by_paper) subset_percent = 100.0;
}

Data load_data(ImageSettings& settings, const PartSettings& parts, std::uint64_t seed,
               const std::string& so_far) {
  Data data{.info = {},
            .train = load_images(settings, Split::train),
            .validation = {},
            .test = load_images(settings, Split::test)};
  require(data.train.classes == data.test.classes, "{}: the {} training classes are not the {} test classes",
          settings.data_dir, data.train.classes.size(), data.test.classes.size());
  if (data.train.images.size(3) != data.test.images.size(3))  // one of them happens to be grey throughout
    for (Dataset* split : {&data.train, &data.test})
      if (split->images.size(3) == 1) split->images = repeat_grey(split->images);
  const Shape train = image_shape(data.train);
  const Shape test = image_shape(data.test);
  require(train == test, "{}: training images are {}, test images {}", settings.data_dir, train.str(),
          test.str());
  data.info = settings.info(train[2]);
  if (settings.by_own_numbers() && so_far != "dataset") {
    const auto parsed = parse_normalisation(so_far);
    data.info.normalisation = parsed ? parsed->values : statistics_of(data.train.images);
  }
  const auto classes = static_cast<std::int64_t>(data.train.classes.size());
  if (parts.validation > 0) {
    const auto held_out = held_out_images(data.train.labels, classes, parts.validation, seed);
    data.validation = select_images(data.train, held_out);
    data.train = select_images(data.train, other_images(held_out, data.train.size()));
  }
  if (parts.subset_percent < 100.0)
    data.train =
        select_images(data.train, subset_images(data.train.labels, classes, parts.subset_percent, seed));
  return data;
}

std::string normalisation_of(const Data& data) {
  return to_text(data.info.normalisation, data.train.images.size(3));
}

std::map<std::string, std::string> hashes_of(const Data& data) {
  std::map<std::string, std::string> hashes = {{"training images", hash_of(data.train.images)},
                                               {"training labels", hash_of(data.train.labels)},
                                               {"test images", hash_of(data.test.images)},
                                               {"test labels", hash_of(data.test.labels)}};
  if (data.validation) {
    hashes["validation images"] = hash_of(data.validation->images);
    hashes["validation labels"] = hash_of(data.validation->labels);
  }
  return hashes;
}

void for_each_image(const Data& data, const TrainingBatchSettings& batches, Device device,
                    const std::function<void(const Batch&)>& use) {
  Loader loader(data.train, data.info, batches.BatchSettings::loader_options(device));
  loader.start_epoch(0);
  while (const auto batch = loader.next()) use(*batch);
}

}  // namespace generous
