// TrainingStage 1: trains a standard teacher, or a student alone, by cross-entropy.
#include "apps/build_state.h"
#include "apps/stages.h"
#include "apps/training/program.h"
#include "apps/training/trainer.h"

int main(int argc, char** argv) {
  using namespace generous;
  return run_program(standard_stage.program, argc, argv,
                     [](Options& options) { return train(options, standard_stage, stages, build_state()); });
}
