// `evaluate --report`: its files against each other, against what evaluate prints, and against the weights.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/evaluation/csv_table.h"
#include "apps/evaluation/report_folder.h"
#include "core/backend.h"
#include "data/png.h"
#include "nn/models/registry.h"
#include "nn/state_dict.h"
#include "tests/apps/run_checks.h"

using namespace generous;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

using Cells = std::vector<std::string>;
/// Rows of cells, the header first.
using Table = std::vector<Cells>;

/// Reads RFC 4180.
Table parse_csv(const std::string& text) {
  Table rows(1, Cells(1));
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' && quoted && i + 1 < text.size() && text[i + 1] == '"')
      rows.back().back() += text[++i];
    else if (c == '"')
      quoted = !quoted;
    else if (c == ',' && !quoted)
      rows.back().emplace_back();
    else if (c == '\n' && !quoted)
      rows.emplace_back(1);
    else
      rows.back().back() += c;
  }
  rows.pop_back();  // behind the last line's end
  return rows;
}

/// Classes whose names a table must quote.
const Cells classes = {"a, \"b\"", "line\nend", "z\xc3\xbc"};

/// 15 test images, and a teacher and a network of one epoch.
struct Networks {
  TemporaryFolder folder;
  fs::path images = folder / "images";
  fs::path report = folder / "report";
  std::string weights = (folder / "run" / "last_model.safetensors").string();
  std::string teacher = (folder / "teacher" / "last_model.safetensors").string();

  Networks() {
    make_images(images);
    for (const char* split : {"train", "test"})
      for (std::size_t c = 0; c < classes.size(); ++c)
        fs::rename(images / split / fmt::format("class{}", c), images / split / classes[c]);
    fs::remove(images / "test" / classes[2] / "3.png");
    const Arguments epoch = {"--num_epochs", "1"};
    Arguments of_teacher = small_run(images, folder / "teacher");
    *(std::ranges::find(of_teacher, "--model_name") + 1) = "wrn_10_1";
    completes("train_standard", of_teacher + epoch + Arguments{"--seed", "1"});
    completes("train_standard", small_run(images, folder / "run") + epoch);
  }

  Arguments plain(const std::string& file) const {
    return {"--model_name",  "resnet8",   "--dataset", "class_folders", "--data_dir",
            images.string(), "--threads", "1",         "--batch_size",  "4",
            "--weights",     file};
  }
  Arguments with_report(const Arguments& more = {}) const {
    return plain(weights) + Arguments{"--report", report.string()} + more;
  }
  Arguments beside_teacher() const { return {"--teacher_model", "wrn_10_1", "--teacher_resume", teacher}; }

  json read_json() const { return json::parse(read_file(report / "report.json")); }
  Table read_table(const std::string& name) const {
    Table rows = parse_csv(read_file(report / name));
    for (const Cells& row : rows) REQUIRE(row.size() == rows[0].size());
    return rows;
  }
  /// The numbers of a column.
  std::vector<double> column(const std::string& table, const std::string& name) const {
    const Table rows = read_table(table);
    const auto place = std::ranges::find(rows[0], name) - rows[0].begin();
    REQUIRE(place < std::ssize(rows[0]));
    std::vector<double> values;
    for (std::size_t i = 1; i < rows.size(); ++i)
      values.push_back(std::stod(rows[i][static_cast<std::size_t>(place)]));
    return values;
  }
  Cells names() const {
    Cells found;
    for (const auto& entry : fs::recursive_directory_iterator(report))
      found.push_back(fs::relative(entry.path(), report).string());
    std::ranges::sort(found);
    return found;
  }
};

double mean(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// The number behind `word` in what evaluate prints.
double printed(const std::string& out, const std::string& word) {
  const std::size_t begin = out.find("\n" + word + " ");
  REQUIRE(begin != std::string::npos);
  return std::stod(out.substr(begin + 1 + word.size()));
}

constexpr std::size_t images = 14;
const std::vector<double> labels = {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2};

}  // namespace

TEST_CASE("cells are quoted where they must be, and read back") {
  CHECK(csv_cell(std::string("plain text")) == "plain text");
  CHECK(csv_cell(std::string("a,b")) == "\"a,b\"");
  CHECK(csv_cell(std::string("say \"a\"")) == "\"say \"\"a\"\"\"");
  CHECK(csv_cell(0.1) == "0.1");
  CHECK(csv_cell(std::nan("")).empty());
  CsvTable table({"a,b", "\r", "\"\n\""});
  table.add_row({csv_cell(std::string("\n")), csv_cell(2.0), csv_cell(std::string("\"\""))});
  CHECK(parse_csv(table.text()) == Table{{"a,b", "\r", "\"\n\""}, {"\n", "2", "\"\""}});
  CHECK_FALSE(error_of([&] { table.add_row({"1"}); }).empty());
}

TEST_CASE("a report agrees with what evaluate prints, with itself and with the images") {
  const Networks networks;
  const std::string plain = completes("evaluate", networks.plain(networks.weights));
  const std::string out = completes("evaluate", networks.with_report());
  CHECK(out.substr(0, out.find("speed")) == plain.substr(0, plain.find("speed")));
  CHECK(contains(out, "report   " + networks.report.string()));

  const json report = networks.read_json();
  CHECK(report["model"] == "resnet8");
  CHECK(report["parameters"] ==
        make_model("resnet8", {.classes = 3, .image = {16, 24, 3}})->parameter_count());
  CHECK(report["weights"] == networks.weights);
  CHECK(report["dataset"] == "class_folders");
  CHECK(report["split"] == "test");
  CHECK(report["dtype"] == "f32");
  CHECK(report["normalisation"] == read_safetensors(networks.weights).metadata.at("normalisation"));
  CHECK(report["classes"] == json(classes));
  CHECK(report["images"] == images);
  CHECK(report["top5"] == 100.0);
  CHECK_FALSE(report.contains("teacher"));
  const auto number = [&](const char* key) { return report[key].get<double>(); };
  CHECK(fmt::format("{:.6f}", number("loss")) == fmt::format("{:.6f}", printed(plain, "loss")));
  CHECK(number("top1") == doctest::Approx(printed(plain, "top-1")).epsilon(1e-5));

  CHECK(networks.column("images.csv", "label") == labels);
  const auto predicted = networks.column("images.csv", "predicted");
  const auto loss = networks.column("images.csv", "loss");
  const auto confidence = networks.column("images.csv", "confidence");
  REQUIRE(loss.size() == images);
  CHECK(mean(loss) == doctest::Approx(number("loss")).epsilon(1e-6));
  const auto same_mean = [&](const char* key) {
    CHECK(mean(networks.column("images.csv", key)) == doctest::Approx(number(key)));
  };
  same_mean("logit_mean");
  same_mean("logit_deviation");
  same_mean("non_target_entropy");
  CHECK(number("non_target_entropy_at_sigma") > 0.0);
  CHECK(number("non_target_entropy_at_sigma") < std::log(2.0));

  const Table confusion = networks.read_table("confusion.csv");
  const Table logits = networks.read_table("class_logits.csv");
  const Table of_classes = networks.read_table("classes.csv");
  CHECK(confusion[0] == Cells{"label", classes[0], classes[1], classes[2]});
  CHECK(logits[0] == confusion[0]);
  double correct = 0.0;
  for (std::size_t label = 0; label < 3; ++label) {
    CHECK(confusion[label + 1][0] == classes[label]);
    CHECK(of_classes[label + 1][1] == classes[label]);
    std::vector<double> counts(3);
    std::vector<double> confidences;
    for (std::size_t i = 0; i < images; ++i) {
      if (labels[i] != static_cast<double>(label)) continue;
      ++counts[static_cast<std::size_t>(predicted[i])];
      confidences.push_back(confidence[i]);
    }
    for (std::size_t c = 0; c < 3; ++c) CHECK(std::stod(confusion[label + 1][c + 1]) == counts[c]);
    const auto row = [&](std::size_t place) { return std::stod(of_classes[label + 1][place]); };
    CHECK(row(0) == static_cast<double>(label));
    CHECK(row(2) == static_cast<double>(confidences.size()));
    CHECK(row(3) == doctest::Approx(100.0 * counts[label] / row(2)));
    CHECK(row(4) == 100.0);
    CHECK(row(5) == doctest::Approx(mean(confidences)));
    correct += counts[label];
  }
  CHECK(number("top1") == doctest::Approx(100.0 * correct / images));
  CHECK(std::ranges::count(networks.read_table("calibration.csv")[1], "") >= 2);  // no image is that unsure
  CHECK(mean(networks.column("calibration.csv", "images")) == doctest::Approx(images / 15.0));

  // The worst images, all of these few, with their own pictures.
  CHECK(networks.read_table("worst.csv").size() == images + 1);
  CHECK(std::ranges::is_sorted(networks.column("worst.csv", "loss"), std::greater{}));
  for (const double index : networks.column("worst.csv", "image")) {
    const auto place = static_cast<std::size_t>(index);
    const auto label = static_cast<std::size_t>(labels[place]);
    const std::string pixels_of = fmt::format("{}.png", place % 5);
    const auto decoded = [](const fs::path& path) {
      const std::string file = read_file(path);
      const Bytes bytes(reinterpret_cast<const std::uint8_t*>(file.data()), file.size());
      std::vector<std::uint8_t> rgb(16 * 24 * 3);
      decode_png(bytes, read_png_size(bytes), rgb);
      return rgb;
    };
    // Of the last class, image 3 is not there.
    const fs::path original =
        networks.images / "test" / classes[label] / (label == 2 && place == 13 ? "4.png" : pixels_of);
    CHECK(decoded(networks.report / worst_png(place)) == decoded(original));
  }

  const auto before = networks.names();
  const std::string same = read_file(networks.report / "images.csv");
  completes("evaluate", networks.with_report({"--num_workers", "1"}));
  CHECK(networks.names() == before);
  CHECK(read_file(networks.report / "images.csv") == same);
}

TEST_CASE("beside a teacher; beside itself it agrees in everything") {
  const Networks networks;
  const std::string out = completes("evaluate", networks.with_report(networks.beside_teacher()));
  CHECK(contains(out, "teacher  wrn_10_1: top-1 "));
  const json teacher = networks.read_json()["teacher"];
  CHECK(teacher["model"] == "wrn_10_1");
  CHECK(teacher["weights"] == networks.teacher);
  const auto predicted = networks.column("images.csv", "predicted");
  const auto by_teacher = networks.column("images.csv", "teacher_predicted");
  const auto kl = networks.column("images.csv", "kl");
  double same = 0.0;
  double right = 0.0;
  for (std::size_t i = 0; i < images; ++i) {
    if (predicted[i] == by_teacher[i]) ++same;
    if (labels[i] == by_teacher[i]) ++right;
    CHECK(kl[i] > 0.0);
  }
  CHECK(teacher["agreement"].get<double>() == doctest::Approx(100.0 * same / images));
  CHECK(teacher["top1"].get<double>() == doctest::Approx(100.0 * right / images));
  CHECK(teacher["kl"].get<double>() == doctest::Approx(mean(kl)));

  // The teacher alone: the same loss, and class logits that are the difference away.
  const Table own = networks.read_table("class_logits.csv");
  const Table differences = networks.read_table("class_logit_differences.csv");
  Arguments alone = networks.with_report();
  *(std::ranges::find(alone, "--model_name") + 1) = "wrn_10_1";
  *(std::ranges::find(alone, "--weights") + 1) = networks.teacher;
  completes("evaluate", alone);
  CHECK(networks.read_json()["loss"].get<double>() ==
        doctest::Approx(teacher["loss"].get<double>()).epsilon(1e-6));
  const Table theirs = networks.read_table("class_logits.csv");
  std::vector<double> distances;
  for (std::size_t label = 1; label <= 3; ++label)
    for (std::size_t c = 1; c <= 3; ++c) {
      const double difference = std::stod(own[label][c]) - std::stod(theirs[label][c]);
      CHECK(std::stod(differences[label][c]) == doctest::Approx(difference).epsilon(1e-6));
      distances.push_back(std::abs(difference));
    }
  CHECK(teacher["class_logit_distance"].get<double>() == doctest::Approx(mean(distances)).epsilon(1e-6));
  CHECK_FALSE(fs::exists(networks.report / "class_logit_differences.csv"));

  completes("evaluate",
            networks.with_report({"--teacher_model", "resnet8", "--teacher_resume", networks.weights}));
  const json itself = networks.read_json()["teacher"];
  CHECK(itself["agreement"] == 100.0);
  CHECK(itself["kl"] == 0.0);
  CHECK(itself["class_logit_distance"] == 0.0);
  CHECK(itself["top1"] == networks.read_json()["top1"]);
}

TEST_CASE("a new report leaves nothing of the earlier one, and all that is not of a report") {
  const Networks networks;
  write_text(networks.report / "params.json", "{}");
  write_text(networks.report / "worst" / "mine.png", "picture");
  write_text(networks.report / ".images.csv.1-0.tmp", "left by a killed program");
  completes("evaluate", networks.with_report(networks.beside_teacher() +
                                             Arguments{"--report_features", "5", "--report_worst", "3"}));
  CHECK(networks.column("features.csv", "image") == std::vector<double>{0, 2, 5, 7, 10});
  CHECK(networks.read_table("features.csv")[0].size() == 2 + 64);
  CHECK(networks.names().size() == 9 + 3 + 3);  // tables; pictures; "worst", and the two that were there
  completes("evaluate", networks.with_report({"--report_worst", "0"}));
  CHECK(networks.names() == Cells{"calibration.csv", "class_logits.csv", "classes.csv", "confusion.csv",
                                  "images.csv", "params.json", "report.json", "worst", "worst/mine.png"});
  fs::remove(networks.report / "worst" / "mine.png");
  completes("evaluate", networks.with_report({"--report_worst", "0"}));
  CHECK_FALSE(fs::exists(networks.report / "worst"));
}

TEST_CASE("features are what the classifier sees") {
  const Networks networks;
  completes("evaluate", networks.with_report({"--report_features", "1000"}));
  const Table features = networks.read_table("features.csv");
  REQUIRE(features.size() == images + 1);
  const SafetensorsFile file = read_safetensors(networks.weights);
  const auto tensor = [&](const std::string& name) {
    const auto found = std::ranges::find(file.tensors, name, [](const auto& named) { return named.first; });
    return found->second.data<float>();
  };
  const std::span<const float> weight = tensor("fc.weight");
  const std::span<const float> bias = tensor("fc.bias");
  const auto predicted = networks.column("images.csv", "predicted");
  const auto logit_mean = networks.column("images.csv", "logit_mean");
  for (std::size_t i = 0; i < images; ++i) {
    std::vector<double> logits;
    for (std::size_t c = 0; c < 3; ++c) {
      logits.push_back(bias[c]);
      for (std::size_t k = 0; k < 64; ++k)
        logits[c] += static_cast<double>(weight[c * 64 + k]) * std::stod(features[i + 1][k + 2]);
    }
    CHECK(static_cast<double>(std::ranges::max_element(logits) - logits.begin()) == predicted[i]);
    CHECK(mean(logits) == doctest::Approx(logit_mean[i]).epsilon(1e-4));
  }
}

TEST_CASE("every kind of model, a student with a reused classifier, bf16") {
  const Networks networks;
  const std::string file = (networks.folder / "weights.safetensors").string();
  const auto report_of = [&](const std::string& model, const std::string& weights, const Arguments& more) {
    CAPTURE(model);
    Arguments arguments = networks.with_report(Arguments{"--report_features", "2"} + more);
    *(std::ranges::find(arguments, "--model_name") + 1) = model;
    *(std::ranges::find(arguments, "--weights") + 1) = weights;
    completes("evaluate", arguments);
    CHECK(networks.read_table("features.csv").size() == 3);
    return networks.read_table("features.csv")[0].size() - 2;
  };
  const std::pair<const char*, std::size_t> widths[] = {
      {"mlp", 512},  {"net", 128},      {"preresnet20", 64},   {"wrn_10_2", 128},
      {"vgg8", 512}, {"resnet18", 512}, {"mobile_half", 1280}, {"densenet121", 1024}};
  for (const auto& [model, width] : widths) {
    write_safetensors(file, state_dict(*make_model(model, {.classes = 3, .image = {16, 24, 3}})));
    CHECK(report_of(model, file, {}) == width);
  }
  completes("train_kd", small_run(networks.images, networks.folder / "simkd") + networks.beside_teacher() +
                            Arguments{"--method", "simkd", "--num_epochs", "1"});
  const std::string simkd = (networks.folder / "simkd" / "last_model.safetensors").string();
  CHECK(report_of("resnet8", simkd, networks.beside_teacher()) == 64);
  if (!backend(Device::cpu).why_no_bf16().empty()) return;
  completes("evaluate", networks.with_report(networks.beside_teacher()));
  const json f32 = networks.read_json();
  CHECK(report_of("resnet8", networks.weights, networks.beside_teacher() + Arguments{"--dtype", "bf16"}) ==
        64);
  const json bf16 = networks.read_json();
  CHECK(bf16["dtype"] == "bf16");
  for (const char* key : {"loss", "logit_deviation", "non_target_entropy"}) {
    CHECK(bf16[key] != f32[key]);
    CHECK(bf16[key].get<double>() == doctest::Approx(f32[key].get<double>()).epsilon(0.05));
  }
}

TEST_CASE("what is refused leaves the folder as it is") {
  const Networks networks;
  const std::string broken = (networks.folder / "broken.safetensors").string();
  NamedTensors all = state_dict(*make_model("resnet8", {.classes = 3, .image = {16, 24, 3}}));
  for (auto& [name, tensor] : all)
    if (name == "bn1.running_var") tensor = Tensor::full(tensor.shape(), -1.0F);
  write_safetensors(broken, all);
  completes("evaluate", networks.with_report());
  const auto before = content_of(networks.report / "worst");
  const std::string report = read_file(networks.report / "report.json");

  Arguments arguments = networks.with_report();
  *(std::ranges::find(arguments, "--weights") + 1) = broken;
  refuses("evaluate", arguments, {broken, "nan for class 0 of image 0"});
  const Arguments as_teacher = {"--teacher_model", "resnet8", "--teacher_resume", broken};
  refuses("evaluate", networks.with_report(as_teacher), {"the teacher " + broken + " gives nan for class 0"});
  refuses("evaluate", networks.with_report({"--teacher_model", "resnet9", "--teacher_resume", broken}),
          {"unknown model 'resnet9'", "resnet8, "});
  refuses("evaluate",
          networks.with_report({"--teacher_model", "resnet14", "--teacher_resume", networks.weights}),
          {networks.weights, "holds resnet8, you asked for resnet14"});
  refuses("evaluate", networks.with_report({"--teacher_model", "resnet8", "--teacher_resume", "none"}),
          {"teacher_resume", "there is no file none"});
  const std::string other = (networks.folder / "other.safetensors").string();
  const auto changed = [&](const char* key, const std::string& value) {
    fs::copy(networks.weights, other, fs::copy_options::overwrite_existing);
    change_metadata(other, [&](auto& metadata) { metadata[key] = value; });
    return Arguments{"--teacher_model", "resnet8", "--teacher_resume", other};
  };
  refuses("evaluate", networks.with_report(changed("normalisation", "0.5,0.5,0.5/0.25,0.25,0.25")),
          {other, "trained on images normalised by 0.5,0.5,0.5/0.25,0.25,0.25"});
  refuses("evaluate",
          networks.with_report(changed("classes", json({classes[1], classes[0], classes[2]}).dump())),
          {other, "the dataset's classes in another order"});
  const std::string others =
      completes("evaluate", networks.with_report(changed("classes", "[\"a\",\"b\",\"c\"]")));
  CHECK(contains(others, "note     " + other + ": trained on classes of other names"));
  completes("evaluate", networks.with_report());
  CHECK(content_of(networks.report / "worst") == before);
  CHECK(read_file(networks.report / "report.json") == report);

  write_text(networks.folder / "file", "");
  const auto into = [&](const fs::path& folder) {
    return networks.plain(networks.weights) + Arguments{"--report", folder.string()};
  };
  refuses("evaluate", into(networks.folder / "file"), {(networks.folder / "file").string()});
  fs::remove(networks.report / "classes.csv");
  fs::create_directory(networks.report / "classes.csv");
  write_text(networks.report / "classes.csv" / "mine", "");
  refuses("evaluate", networks.with_report(), {(networks.report / "classes.csv").string(), "it is a folder"});
  CHECK_FALSE(fs::exists(networks.report / "report.json"));  // so nobody takes the rest for a report
  CHECK(fs::exists(networks.report / "classes.csv" / "mine"));

  // A disk that fills up while the second report is written.
  fs::remove_all(networks.report / "classes.csv");
  completes("evaluate", networks.with_report());
  const Finished full =
      run_app("evaluate", networks.with_report(networks.beside_teacher()), {.largest_file = 700});
  CHECK(full.exit_code == 1);
  CHECK(contains(full.err, "images.csv: File too large"));
  CHECK_FALSE(fs::exists(networks.report / "report.json"));
  completes("evaluate", networks.with_report());
  CHECK(read_file(networks.report / "report.json") == report);

  const auto misused = [&](const Arguments& more, const std::string& message) {
    const Finished finished = run_app("evaluate", networks.plain(networks.weights) + more);
    CHECK(finished.exit_code == 2);
    CHECK(contains(finished.err, message));
  };
  misused(as_teacher, "--teacher_model is for a report: give --report DIR");
  misused({"--report_features", "3"}, "--report_features is for a report");
  misused({"--report_worst", "3"}, "--report_worst is for a report");
  misused({"--report", "x", "--teacher_model", "resnet8"}, "give --teacher_resume, its weights");
  misused({"--report", "x", "--teacher_resume", broken}, "does not say which network it holds");
  misused({"--report", "x", "--report_worst", "-1"}, "--report_worst must be an integer from 0");
}
