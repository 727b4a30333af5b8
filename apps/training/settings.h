// Everything that a training can be asked for: the settings of its parts.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "apps/training/batches.h"
#include "apps/training/device.h"
#include "apps/training/images.h"
#include "apps/training/listing.h"
#include "apps/training/model.h"
#include "apps/training/optimization.h"
#include "apps/training/report.h"
#include "apps/training/run_folder.h"
#include "apps/training/stage.h"
#include "apps/training/teacher.h"
#include "apps/training/training_loop.h"
#include "nn/distill/methods.h"

namespace generous {

struct TrainingSettings {
  RunSettings run;
  ListSettings list;
  LoopSettings loop;
  ReportSettings report;
  ModelSettings model;
  PaperModelSettings paper_model;
  ImageSettings images;
  PartSettings parts;
  TrainingBatchSettings batches;
  OptimizerSettings optimizer;
  std::int64_t seed = 0;
  std::string init;
  std::string method_name;
  std::unique_ptr<Method> method;
  TeacherSettings teacher;
  DeviceSettings device;
  DTypeSettings dtype;
  TrainStepOptions step;
  bool cuda = true;  ///< without effect

  /// Reads model, dataset and method first: they decide what else there is to declare, and its defaults.
  void declare(Options& options, const TrainingStage& stage);
};

/// For the message when a setting of another stage, method or model is given.
void tell_stages_apart(Options& options, const TrainingStage& stage, std::span<const TrainingStage> stages);

}  // namespace generous
