#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/files.h"
#include "data/decoded_cache.h"
#include "data/folder.h"
#include "data/formats.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

constexpr ImageSize size{64, 64};
const char* const dataset_name = "tiny_imagenet";

// WordNet ids, by class index: sorted, whatever the order of the lines.
std::vector<std::string> read_wnids(const fs::path& root) {
  const fs::path path = root / "wnids.txt";
  std::vector<std::string> wnids;
  if (file_exists(path)) {
    wnids = read_lines(path);
    if (wnids.empty()) fail("{}: is empty, expected one WordNet id a line", path.string());
  } else {
    for (const fs::path& folder : list_class_folders(require_exists(root / "train", dataset_name))) {
      wnids.push_back(folder.filename().string());
    }
  }
  std::ranges::sort(wnids);
  return wnids;
}

std::map<std::string, std::int64_t> index_by_wnid(const std::vector<std::string>& wnids,
                                                  const fs::path& root) {
  std::map<std::string, std::int64_t> index;
  for (const std::string& wnid : wnids) {
    const bool fresh = index.emplace(wnid, static_cast<std::int64_t>(index.size())).second;
    if (!fresh) fail("{}: lists {} twice", (root / "wnids.txt").string(), wnid);
  }
  return index;
}

// "n01443537<tab>goldfish, Carassius auratus"; a class without a line keeps its id as its name.
std::vector<std::string> read_class_names(const fs::path& root,
                                          const std::map<std::string, std::int64_t>& index,
                                          std::vector<std::string> names) {
  if (!file_exists(root / "words.txt")) return names;
  for (const std::string& line : read_lines(root / "words.txt")) {
    const std::size_t tab = line.find('\t');
    const auto found = index.find(line.substr(0, tab));
    if (tab != std::string::npos && found != index.end()) {
      names[static_cast<std::size_t>(found->second)] = line.substr(tab + 1);
    }
  }
  return names;
}

// folder/WNID/images/ or folder/WNID/, class by class; both have exactly the listed classes.
std::vector<LabelledFile> files_in_class_folders(const fs::path& folder,
                                                 const std::vector<std::string>& wnids,
                                                 const std::map<std::string, std::int64_t>& index) {
  for (const fs::path& path : list_class_folders(folder)) {
    if (!index.contains(path.filename().string())) {
      fail("{}: wnids.txt does not list this class", path.string());
    }
  }
  std::vector<LabelledFile> files;
  for (std::size_t label = 0; label < wnids.size(); ++label) {
    const fs::path class_folder = require_exists(folder / wnids[label], dataset_name);
    for (fs::path& path :
         list_images(file_exists(class_folder / "images") ? class_folder / "images" : class_folder)) {
      files.push_back({std::move(path), static_cast<std::int64_t>(label)});
    }
  }
  return files;
}

// The original layout of val/: all images in one folder, in the order of their names here, and a table of
// labels.
std::vector<LabelledFile> files_by_annotations(const fs::path& val,
                                               const std::map<std::string, std::int64_t>& index) {
  const fs::path table = val / "val_annotations.txt";
  std::map<std::string, std::int64_t> labels;
  std::int64_t number = 0;
  for (const std::string& line : read_lines(table)) {
    ++number;
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos) {
      fail("{}: line {} has no tab, expected an image's name, a tab and a WordNet id", table.string(),
           number);
    }
    const std::string wnid = line.substr(tab + 1, line.find('\t', tab + 1) - tab - 1);
    const auto found = index.find(wnid);
    if (found == index.end()) {
      fail("{}: line {} has class '{}', which wnids.txt does not list", table.string(), number, wnid);
    }
    if (!labels.emplace(line.substr(0, tab), found->second).second) {
      fail("{}: line {} lists {} a second time", table.string(), number, line.substr(0, tab));
    }
  }
  std::vector<LabelledFile> files;
  for (fs::path& path : list_images(require_exists(val / "images", dataset_name))) {
    const auto label = labels.find(path.filename().string());
    if (label == labels.end()) fail("{}: {} does not list this image", path.string(), table.string());
    files.push_back({std::move(path), label->second});
    labels.erase(label);
  }
  if (!labels.empty()) {
    fail("{}: no such file, but {} lists it", (val / "images" / labels.begin()->first).string(),
         table.string());
  }
  return files;
}

}  // namespace

Dataset load_tiny_imagenet(const fs::path& folder, Split split) {
  const fs::path root = dataset_root(folder, "tiny-imagenet-200");
  const std::vector<std::string> wnids = read_wnids(root);
  const std::map<std::string, std::int64_t> index = index_by_wnid(wnids, root);
  const fs::path images = require_exists(root / (split == Split::train ? "train" : "val"), dataset_name);
  const bool original = split == Split::test && file_exists(images / "val_annotations.txt");
  const std::vector<LabelledFile> files =
      original ? files_by_annotations(images, index) : files_in_class_folders(images, wnids, index);
  return load_decoded(root, split, files, read_class_names(root, index, wnids), size);
}

}  // namespace generous
