#include "apps/evaluation/report_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/files.h"

namespace generous {

namespace fs = std::filesystem;

namespace {

constexpr const char* worst_folder = "worst";

/// Whether worst_png makes such names, without the folder.
bool is_worst_png(const fs::path& name) {
  const std::string stem = name.stem().string();
  return name.extension() == ".png" && !stem.empty() &&
         std::ranges::all_of(stem, [](char c) { return c >= '0' && c <= '9'; });
}

/// The files of an earlier report, report.json first.
std::vector<fs::path> earlier_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const char* name : {report_json, classes_csv, confusion_csv, calibration_csv, class_logits_csv,
                           class_logit_differences_csv, images_csv, worst_csv, features_csv})
    files.push_back(folder / name);
  const fs::path worst = folder / worst_folder;
  if (fs::is_directory(fs::symlink_status(worst)))
    for (const auto& entry : fs::directory_iterator(worst))
      if (is_worst_png(entry.path().filename())) files.push_back(entry.path());
  return files;
}

}  // namespace

std::string worst_png(std::size_t image) { return fmt::format("{}/{}.png", worst_folder, image); }

void replace_report(const fs::path& folder, const std::vector<ReportFile>& files) {
  const auto whole = std::ranges::find(files, report_json, &ReportFile::name);
  require(whole != files.end(), "a report without {}", report_json);
  const auto is_new = [&](const fs::path& path) {
    return std::ranges::any_of(files, [&](const ReportFile& file) { return folder / file.name == path; });
  };
  for (const fs::path& path : earlier_files(folder))
    if (path == folder / report_json || !is_new(path)) fs::remove(path);
  const fs::path worst = folder / worst_folder;
  remove_abandoned_files(folder);
  remove_abandoned_files(worst);
  const auto in_worst = [&](const ReportFile& file) {
    return fs::path(file.name).parent_path() == worst_folder;
  };
  if (std::ranges::any_of(files, in_worst))
    create_writable_folder(worst);
  else if (fs::is_directory(fs::symlink_status(worst)) && fs::is_empty(worst))
    fs::remove(worst);
  for (const ReportFile& file : files)
    if (file.name != report_json) write_file_atomically(folder / file.name, file.content);
  write_file_atomically(folder / report_json, whole->content);
}

}  // namespace generous
