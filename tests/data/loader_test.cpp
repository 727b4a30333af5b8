#include "data/loader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <thread>

#include "core/cpu/augment.h"
#include "data/augment.h"
#include "data/prefetcher.h"
#include "data/rand_augment.h"
#include "tests/temporary_folder.h"

namespace generous {
namespace {

// N images of 6 x 5 x 3; the first byte of image n is n, the rest depend on n and the place.
Dataset make_dataset(std::int64_t count) {
  Dataset dataset;
  dataset.classes = {"a", "b", "c"};
  dataset.images = Tensor::empty({count, 6, 5, 3}, DType::u8);
  const auto pixels = dataset.images.data<std::uint8_t>();
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<std::uint8_t>(i % 90 == 0 ? i / 90 : 7 * i + i / 90);
  }
  for (std::int64_t n = 0; n < count; ++n) dataset.labels.push_back(n % 3);
  return dataset;
}

const DatasetInfo info{.name = "test",
                       .normalisation = {.mean = {0.5F, 0.25F, 0.125F}, .std = {0.5F, 0.25F, 0.2F}},
                       .crop_padding = 2,
                       .rotation_degrees = 0.0F,
                       .flip = true,
                       .default_folder = {}};

struct HostBatch {
  std::vector<float> images;
  std::vector<std::int64_t> labels;
  bool operator==(const HostBatch&) const = default;
};

HostBatch to_host(const Batch& batch) {
  const auto images = batch.images.data<float>();
  const auto labels = batch.labels.data<std::int64_t>();
  return {{images.begin(), images.end()}, {labels.begin(), labels.end()}};
}

// As a batch of its own, so that both views are compared.
HostBatch second_view_of(const Batch& batch) {
  const auto images = batch.second_view.data<float>();
  return {{images.begin(), images.end()}, {}};
}

std::vector<HostBatch> rest_of_epoch(Loader& loader) {
  std::vector<HostBatch> batches;
  while (const std::optional<Batch> batch = loader.next()) {
    batches.push_back(to_host(*batch));
    if (batch->second_view.defined()) batches.push_back(second_view_of(*batch));
  }
  return batches;
}

TEST_CASE("in order and unaugmented: every image once, normalised, the last batch smaller") {
  const Dataset dataset = make_dataset(11);
  Loader loader(dataset, info, {.batch_size = 4, .workers = 1, .shuffle = false, .augment = false});
  CHECK(loader.batches() == 3);
  loader.start_epoch(0);
  const NormaliseTable table = make_normalise_table(info.normalisation);
  const auto pixels = dataset.images.data<std::uint8_t>();
  std::size_t n = 0;
  for (const std::int64_t size : {4, 4, 3}) {
    const std::optional<Batch> batch = loader.next();
    REQUIRE(batch);
    CHECK(batch->images.shape() == Shape{size, 6, 5, 3});
    CHECK(batch->labels.shape() == Shape{size});
    const HostBatch host = to_host(*batch);
    for (std::size_t i = 0; i < host.labels.size(); ++i, ++n) {
      CHECK(host.labels[i] == static_cast<std::int64_t>(n % 3));
      for (std::size_t k = 0; k < 90; ++k)
        CHECK(host.images[i * 90 + k] == table[256 * (k % 3) + pixels[n * 90 + k]]);
    }
  }
  CHECK_FALSE(loader.next());
  CHECK_FALSE(loader.next());
}

TEST_CASE("a smaller last batch can be left out of every epoch") {
  const Dataset dataset = make_dataset(11);
  Loader loader(dataset, info, {.batch_size = 4, .workers = 1, .drop_last = true});
  CHECK(loader.batches() == 2);
  CHECK(loader.images_in(2) == 8);
  for (const std::int64_t epoch : {0, 1}) {
    loader.start_epoch(epoch);
    for (int i = 0; i < 2; ++i) CHECK(loader.next()->labels.shape() == Shape{4});
    CHECK_FALSE(loader.next());
  }
  CHECK(Loader(dataset, info, {.batch_size = 4}).images_in(3) == 11);
  CHECK(Loader(dataset, info, {.batch_size = 11, .drop_last = true}).batches() == 1);
  CHECK_THROWS_AS(Loader(dataset, info, {.batch_size = 12, .drop_last = true}), Error);
}

// The sample numbers of an epoch, read off the first byte of the unaugmented images.
std::vector<int> visited(const Dataset& dataset, std::uint64_t seed, std::int64_t epoch) {
  DatasetInfo plain = info;
  plain.normalisation.mean = {};
  plain.normalisation.std = {1.0F / 255.0F, 1.0F, 1.0F};
  Loader loader(dataset, plain, {.batch_size = 4, .seed = seed, .augment = false});
  loader.start_epoch(epoch);
  std::vector<int> order;
  for (const HostBatch& batch : rest_of_epoch(loader)) {
    for (std::size_t i = 0; i < batch.labels.size(); ++i) {
      order.push_back(static_cast<int>(std::lround(batch.images[i * 90])));
      CHECK(batch.labels[i] == order.back() % 3);  // labels go with their images
    }
  }
  return order;
}

TEST_CASE("the shuffled order is a fixed permutation of seed and epoch") {
  const Dataset dataset = make_dataset(11);
  // From an independent implementation of Philox4x32-10 and Fisher-Yates in Python.
  CHECK(visited(dataset, 7, 0) == std::vector<int>{6, 8, 9, 2, 7, 4, 0, 10, 3, 5, 1});
  CHECK(visited(dataset, 7, 5) == std::vector<int>{4, 3, 6, 8, 0, 2, 5, 9, 1, 10, 7});
  CHECK(visited(dataset, 8, 0) != visited(dataset, 7, 0));
}

// Image `sample` in `epoch` as one view shows it: placed by the draws for `geometry`, changed, normalised.
std::vector<float> expected_view(const Dataset& dataset, std::uint64_t seed, std::uint32_t epoch,
                                 std::uint32_t sample, const std::string& geometry,
                                 const std::function<void(const Pixels&)>& change) {
  const ImageShape shape{6, 5, 3};
  const Augmentation drawn = draw_augmentation(info, Random(seed, geometry), epoch, sample);
  std::vector<std::uint8_t> bytes(90);
  place_image(placement_of(drawn, shape, sample), shape,
              dataset.images.data<std::uint8_t>().subspan(sample * 90, 90), bytes);
  change({.shape = shape, .bytes = bytes});
  std::vector<float> image(90);
  augment_image({}, shape, bytes, make_normalise_table(info.normalisation), image);
  return image;
}

TEST_CASE("images and strong views are augmentations of (epoch, sample), wherever the shuffle puts them") {
  const Dataset dataset = make_dataset(11);
  const std::uint64_t seed = 7;
  Loader loader(dataset, info, {.batch_size = 4, .workers = 2, .seed = seed, .second_view = true});
  loader.start_epoch(5);
  const std::vector<int> order = visited(dataset, seed, 5);
  std::size_t n = 0;
  int different = 0;
  while (const std::optional<Batch> batch = loader.next()) {
    REQUIRE(batch->second_view.shape() == batch->images.shape());
    for (std::size_t i = 0; i < static_cast<std::size_t>(batch->labels.numel()); ++i, ++n) {
      const auto sample = static_cast<std::uint32_t>(order[n]);
      CHECK(batch->indices.data<std::int64_t>()[i] == sample);
      const auto first = batch->images.data<float>().subspan(i * 90, 90);
      const auto second = batch->second_view.data<float>().subspan(i * 90, 90);
      CHECK(std::ranges::equal(first, expected_view(dataset, seed, 5, sample, "augment", [](auto&) {})));
      const Random strong(seed, "strong view");
      const auto operations = [&](const Pixels& image) {
        const ImageRandom random{strong, 5, sample};
        operate(draw_strong_operation(image.shape, random, 0), image);
        operate(draw_strong_operation(image.shape, random, 1), image);
        fill(draw_cutout(image.shape, random), {125, 123, 114}, image);
      };
      CHECK(std::ranges::equal(second,
                               expected_view(dataset, seed, 5, sample, "augment, second view", operations)));
      different += std::ranges::equal(first, second) ? 0 : 1;
    }
  }
  CHECK(n == 11);
  CHECK(different == 11);
}

TEST_CASE(
    "RandAugment comes behind crop and flip, erasing behind normalisation; neither touches other draws") {
  const Dataset dataset = make_dataset(11);
  const std::uint64_t seed = 7;
  const RandAugment policy{.operations = 3, .magnitude = 12};
  const LoaderOptions plain{.batch_size = 11, .seed = seed, .second_view = true};
  LoaderOptions options = plain;
  options.rand_augment = policy;
  options.erasing = 0.5;
  Loader usual(dataset, info, plain);
  Loader loader(dataset, info, options);
  usual.start_epoch(5);
  loader.start_epoch(5);
  const std::optional<Batch> batch = loader.next();
  CHECK(second_view_of(*batch) == second_view_of(*usual.next()));
  int erased = 0;
  for (std::size_t i = 0; i < 11; ++i) {
    const auto sample = static_cast<std::uint32_t>(batch->indices.data<std::int64_t>()[i]);
    const Random stream(seed, "randaugment");
    const Random erasing(seed, "erasing");
    std::vector<float> expected =
        expected_view(dataset, seed, 5, sample, "augment", [&](const Pixels& image) {
          for (int n = 0; n < 3; ++n)
            operate(draw_operation(policy, image.shape, {stream, 5, sample}, n), image);
        });
    const Rectangle rectangle = draw_erasing(0.5, {6, 5, 3}, {erasing, 5, sample});
    erased += rectangle.height > 0 ? 1 : 0;
    for (std::int64_t y = rectangle.top; y < rectangle.top + rectangle.height; ++y)
      for (std::int64_t x = 3 * rectangle.left; x < 3 * (rectangle.left + rectangle.width); ++x)
        expected[static_cast<std::size_t>(y * 15 + x)] = 0.0F;
    CHECK(std::ranges::equal(batch->images.data<float>().subspan(i * 90, 90), expected));
  }
  CHECK(erased > 1);
  CHECK(erased < 10);
}

TEST_CASE("no second view unless asked for") {
  const Dataset dataset = make_dataset(5);
  Loader loader(dataset, info, {.batch_size = 5});
  loader.start_epoch(0);
  CHECK_FALSE(loader.next()->second_view.defined());
}

TEST_CASE("any number of workers gives the same bits") {
  const Dataset dataset = make_dataset(101);
  std::vector<std::vector<HostBatch>> results;
  for (const int workers : {0, 1, 3}) {
    Loader loader(dataset, info,
                  {.batch_size = 7,
                   .workers = workers,
                   .seed = 3,
                   .rand_augment = {.operations = 2, .magnitude = 9},
                   .erasing = 0.5,
                   .second_view = true});
    loader.start_epoch(0);
    rest_of_epoch(loader);
    loader.start_epoch(1);
    results.push_back(rest_of_epoch(loader));
  }
  CHECK(results[0].size() == 2 * 15);
  CHECK(results[1] == results[0]);
  CHECK(results[2] == results[0]);
}

TEST_CASE("an epoch resumed at a batch goes on as it would have") {
  const Dataset dataset = make_dataset(50);
  for (const int workers : {0, 2}) {
    const LoaderOptions options{.batch_size = 8,
                                .workers = workers,
                                .seed = 5,
                                .rand_augment = {.operations = 1, .magnitude = 20},
                                .erasing = 0.5,
                                .second_view = true};
    Loader whole(dataset, info, options);
    whole.start_epoch(9);
    const std::vector<HostBatch> all = rest_of_epoch(whole);
    REQUIRE(all.size() == 2 * 7);
    for (const std::int64_t first : {0, 3, 6, 7}) {
      Loader resumed(dataset, info, options);
      resumed.start_epoch(9, first);
      CHECK(rest_of_epoch(resumed) == std::vector<HostBatch>(all.begin() + 2 * first, all.end()));
    }
    // Begun anew in the middle of another epoch: nothing of that one is delivered.
    whole.start_epoch(2);
    whole.next();
    whole.start_epoch(9, 5);
    CHECK(rest_of_epoch(whole) == std::vector<HostBatch>(all.begin() + 2 * 5, all.end()));
  }
}

// Rows [first, first + count) of a batch.
HostBatch rows_of(const HostBatch& batch, std::int64_t first, std::int64_t count) {
  constexpr std::int64_t values = 6 * 5 * 3;
  const auto images = batch.images.begin() + first * values;
  const auto labels = batch.labels.begin() + first;
  return {{images, images + count * values}, {labels, labels + count}};
}

TEST_CASE("the slices of all shares, side by side, are the batches") {
  const Dataset dataset = make_dataset(29);
  const LoaderOptions options{.batch_size = 8, .workers = 2, .seed = 4, .second_view = true};
  Loader whole(dataset, info, options);
  whole.start_epoch(3, 1);
  std::vector<HostBatch> batches;
  std::vector<HostBatch> second_views;
  while (const std::optional<Batch> batch = whole.next()) {
    CHECK(batch->first_row == 0);
    CHECK(batch->whole_rows() == batch->rows());
    batches.push_back(to_host(*batch));
    second_views.push_back(second_view_of(*batch));
  }
  REQUIRE(batches.size() == 3);  // of 8, 8 and 5 images
  for (const std::int64_t slices : {2, 3, 4}) {
    for (const std::int64_t shares : {1, 2, 3, 4}) {
      if (slices % shares != 0) continue;
      CAPTURE(slices);
      CAPTURE(shares);
      std::vector<std::unique_ptr<Loader>> loaders;
      for (std::int64_t share = 0; share < shares; ++share) {
        LoaderOptions own = options;
        own.slices = slices;
        own.share = {.index = share, .of = shares};
        loaders.push_back(std::make_unique<Loader>(dataset, info, own));
        loaders.back()->start_epoch(3, 1);
      }
      for (std::size_t batch = 0; batch < batches.size(); ++batch) {
        std::int64_t row = 0;
        for (std::int64_t slice = 0; slice < slices; ++slice) {
          const std::optional<Batch> found = loaders[static_cast<std::size_t>(slice % shares)]->next();
          REQUIRE(found);
          CHECK(found->first_row == row);
          CHECK(found->whole_rows() == std::ssize(batches[batch].labels));
          CHECK(to_host(*found) == rows_of(batches[batch], row, found->rows()));
          const HostBatch second{second_views[batch].images, batches[batch].labels};
          CHECK(second_view_of(*found).images == rows_of(second, row, found->rows()).images);
          row += found->rows();
        }
        CHECK(row == std::ssize(batches[batch].labels));
      }
      for (const auto& loader : loaders) CHECK_FALSE(loader->next());
    }
  }
}

TEST_CASE("shares of whole batches are every so manyth batch") {
  const Dataset dataset = make_dataset(29);
  const LoaderOptions options{.batch_size = 4, .shuffle = false, .augment = false};
  Loader whole(dataset, info, options);
  whole.start_epoch(0);
  const std::vector<HostBatch> batches = rest_of_epoch(whole);
  REQUIRE(batches.size() == 8);
  for (std::int64_t share = 0; share < 3; ++share) {
    LoaderOptions own = options;
    own.share = {.index = share, .of = 3};
    Loader loader(dataset, info, own);
    loader.start_epoch(0);
    std::vector<HostBatch> expected;
    for (std::size_t i = static_cast<std::size_t>(share); i < batches.size(); i += 3)
      expected.push_back(batches[i]);
    CHECK(rest_of_epoch(loader) == expected);
  }
}

TEST_CASE("after the first epochs, batches take nothing from the system") {
  const Dataset dataset = make_dataset(203);
  for (const int workers : {0, 3}) {
    Loader loader(dataset, info, {.batch_size = 10, .workers = workers});
    // As in training, the previous batch is alive while the next one is taken.
    std::optional<Batch> batch;
    const auto run_epochs = [&](std::int64_t first, std::int64_t end) {
      for (std::int64_t epoch = first; epoch < end; ++epoch) {
        loader.start_epoch(epoch);
        while (std::optional<Batch> next = loader.next()) batch = std::move(next);
      }
    };
    // As many batches at once as there ever can be: prepared, delivered, and those of an epoch broken off.
    std::vector<Batch> reserve;
    for (int i = 0; i < 5 * workers + 3; ++i)
      reserve.push_back({Tensor::empty({10, 6, 5, 3}), Tensor::empty({10}, DType::i64)});
    reserve.clear();
    run_epochs(0, 1);
    const std::size_t before = host_allocator()->statistics().system_allocations;
    run_epochs(1, 40);
    CHECK(host_allocator()->statistics().system_allocations == before);
    CHECK(batch->images.size(0) == 3);
  }
}

TEST_CASE("a loader goes away at any moment") {
  const Dataset dataset = make_dataset(200);
  for (int taken = 0; taken < 20; ++taken) {
    Loader loader(dataset, info, {.batch_size = 3, .workers = 3});
    if (taken == 0) continue;  // never started
    loader.start_epoch(0);
    for (int i = 1; i < taken; ++i) CHECK(loader.next());
  }
}

TEST_CASE("what a loader cannot work with is an error") {
  Dataset dataset = make_dataset(6);
  const auto error = [&](const LoaderOptions& options) {
    return error_of([&] { Loader(dataset, info, options); });
  };
  CHECK(error({.rand_augment = {.operations = 2, .magnitude = 31}}) ==
        "loader: RandAugment with 2 operations of magnitude 31, expected at least 0 and 0 to 30");
  CHECK(error({.erasing = 1.5}) == "loader: erasing with probability 1.5");
  CHECK(error({.batch_size = 0}) == "loader: batch size 0, expected at least 1");
  CHECK(error({.workers = -1}) == "loader: -1 workers, expected 0 to 64");
  Loader loader(dataset, info, {.batch_size = 4});
  CHECK(error_of([&] { loader.next(); }) == "prefetcher: next before start");
  CHECK(error_of([&] { loader.start_epoch(0, 3); }) == "loader: first batch 3, expected 0 to 2");
  CHECK(error_of([&] { loader.start_epoch(-1); }).starts_with("loader: epoch -1"));
  CHECK(error_of([&] { Loader(dataset, dataset_info("fashion_mnist"), {}); }) ==
        "loader: fashion_mnist gives channel 1 the standard deviation 0");
  dataset.labels[4] = 3;
  CHECK(error({}) == "loader: found label 3, expected 0 to 2");
  dataset.labels.pop_back();
  CHECK(error({}) == "loader: 5 labels for 6 images");
  dataset.images = Tensor::empty({6, 5, 5, 4}, DType::u8);
  dataset.labels.push_back(0);
  CHECK(error({}) == "loader: found images {6, 5, 5, 4}, expected at least one of 1 to 3 channels");
  dataset.images = Tensor::empty({6, 5, 5, 2}, DType::u8);
  CHECK(error({.second_view = true}) ==
        "loader: RandAugment of images {6, 5, 5, 2}, expected 1 or 3 channels");
}

// A batch that carries its index.
Prepared numbered(std::int64_t index) {
  return {.view = {},
          .second_view = {},
          .labels = Tensor::from(std::vector<std::int64_t>{index}, {1}),
          .indices = {}};
}
std::int64_t number_of(const std::optional<Prepared>& batch) { return batch->labels.data<std::int64_t>()[0]; }

TEST_CASE("an exception in a worker is thrown by next, in its turn; the batches around it are delivered") {
  for (const int workers : {0, 1, 3}) {
    Prefetcher prefetcher(workers, 2 * workers);
    prefetcher.start(0, 6, [](std::int64_t index) {
      if (index == 2) throw std::out_of_range("two");
      return numbered(index);
    });
    CHECK(number_of(prefetcher.next()) == 0);
    CHECK(number_of(prefetcher.next()) == 1);
    CHECK_THROWS_WITH_AS(prefetcher.next(), "two", std::out_of_range);
    CHECK(number_of(prefetcher.next()) == 3);
    CHECK(number_of(prefetcher.next()) == 4);
    CHECK(number_of(prefetcher.next()) == 5);
    CHECK_FALSE(prefetcher.next());
  }
}

TEST_CASE("what a worker was still preparing when a new start came is not delivered") {
  std::atomic<int> entered = 0;
  std::atomic<bool> released = false;
  Prefetcher prefetcher(2, 4);
  prefetcher.start(0, 4, [&](std::int64_t index) {
    ++entered;
    while (!released) std::this_thread::yield();
    return numbered(100 + index);
  });
  while (entered < 2) std::this_thread::yield();
  prefetcher.start(0, 4, numbered);
  released = true;
  for (std::int64_t index = 0; index < 4; ++index) CHECK(number_of(prefetcher.next()) == index);
  CHECK_FALSE(prefetcher.next());
}

TEST_CASE("batches are prepared ahead, but no further than asked, and delivered in order") {
  constexpr std::int64_t ahead = 4;
  std::atomic<std::int64_t> produced = 0;
  Prefetcher prefetcher(3, ahead);
  prefetcher.start(10, 40, [&](std::int64_t index) {
    // Later batches are faster than earlier ones.
    std::this_thread::sleep_for(std::chrono::microseconds(300 * (3 - index % 4)));
    ++produced;
    return numbered(index);
  });
  while (produced < ahead) std::this_thread::yield();  // before the first `next`
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(produced == ahead);
  for (std::int64_t index = 10; index < 40; ++index) {
    CHECK(produced <= index - 10 + ahead);
    CHECK(number_of(prefetcher.next()) == index);
  }
  CHECK(produced == 30);
}

}  // namespace
}  // namespace generous
