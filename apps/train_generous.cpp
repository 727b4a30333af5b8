// TrainingStage 2: trains a generous teacher with the non-target knowledge of a standard teacher.
#include "apps/build_state.h"
#include "apps/stages.h"
#include "apps/training/program.h"
#include "apps/training/trainer.h"

int main(int argc, char** argv) {
  using namespace generous;
  return run_program(generous_stage.program, argc, argv,
                     [](Options& options) { return train(options, generous_stage, stages, build_state()); });
}
