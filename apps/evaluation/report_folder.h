// The folder of a report: a new report takes an earlier one's place, and nothing else's.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace generous {

struct ReportFile {
  std::string name;  ///< in the report's folder: "classes.csv", "worst/17.png"
  std::string content;
};

/// The names of a report's files; whoever finds the first one finds a whole report.
inline constexpr const char* report_json = "report.json";
inline constexpr const char* classes_csv = "classes.csv";
inline constexpr const char* confusion_csv = "confusion.csv";
inline constexpr const char* calibration_csv = "calibration.csv";
inline constexpr const char* class_logits_csv = "class_logits.csv";
inline constexpr const char* class_logit_differences_csv = "class_logit_differences.csv";
inline constexpr const char* images_csv = "images.csv";
inline constexpr const char* worst_csv = "worst.csv";
inline constexpr const char* features_csv = "features.csv";
std::string worst_png(std::size_t image);

/// Writes the files, each atomically, and report.json, which is among them, last; before that it removes an
/// earlier report's, report.json first. Other files in the folder, which is there, are left alone. Throws
/// Error or filesystem_error that names the file and the reason; the folder then has no report.json.
void replace_report(const std::filesystem::path& folder, const std::vector<ReportFile>& files);

}  // namespace generous
