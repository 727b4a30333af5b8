#!/usr/bin/env bash
# Writes the configurations of the field's distillation experiments, a folder and a params.json for each run:
#   bash apps/experiments/field.sh RUNS
# RUNS/experiments/CIFAR100_240 has the common CIFAR-100 pairs by the 240-epoch recipe, RUNS/experiments/TinyImageNet_field
# the paper's Tiny-ImageNet pairs by its own recipe; each pair with every method below, from the standard and from the
# generous teacher. In each of the two, commands.txt has the programs to run, in the order in which they need each other.
# A params.json that is there already is left as it is.
set -euo pipefail
usage="usage: bash $(printf %q "$0") RUNS"
runs=${1:?$usage}
[ $# -eq 1 ] || { echo "$usage" >&2; exit 2; }

# Tian et al. 2020, Zhao et al. 2022 (DKD): weights that differ by pair. Of resnet110 -> resnet20 none were published: those
# of resnet110 -> resnet32. lr: of the student.
cifar100_pairs="
#teacher      student      lr    dkd.beta  reviewkd.weight
resnet56      resnet20     0.05  2         0.6
resnet110     resnet20     0.05  2         1
resnet110     resnet32     0.05  2         1
resnet32x4    resnet8x4    0.05  8         5
wrn_40_2      wrn_16_2     0.05  6         5
wrn_40_2      wrn_40_1     0.05  6         5
vgg13         vgg8         0.05  6         5
resnet32x4    shufflev1    0.01  8         5
resnet32x4    shufflev2    0.01  8         8
wrn_40_2      shufflev1    0.01  8         5
vgg13         mobile_half  0.01  6         8
resnet50      mobile_half  0.01  8         8"
tiny_imagenet_pairs="
resnet50      resnet18     0.1   8         5
resnext29     resnet18     0.1   8         5"

method_settings() {  # METHOD DKD_BETA REVIEWKD_WEIGHT: the settings of a method, as JSON after a comma
  case $1 in
    kd) echo ', "temperature": 4, "alpha": 0.9' ;;
    dkd) echo ", \"temperature\": 4, \"alpha\": 1, \"beta\": $2, \"warmup\": 20" ;;
    lskd) echo ', "temperature": 2, "weight": 9, "ce_weight": 0.1' ;;
    dist) echo ', "temperature": 4, "inter_weight": 2, "intra_weight": 2' ;;
    at) echo ', "weight": 1000' ;;
    crd) echo ', "weight": 0.8, "negatives": 16384, "tau": 0.07' ;;
    reviewkd) echo ", \"weight\": $3, \"warmup\": 20" ;;
  esac
}
methods="kd dkd lskd dist at crd reviewkd"

write() {  # RUN PROGRAM SETTINGS: its params.json, unless it is there, and its line in commands.txt
  local folder=$runs/experiments/$1 line
  mkdir -p "$folder"
  [ -e "$folder/params.json" ] || printf '{%s}\n' "$3" >"$folder/params.json"
  line="$2 --save_path $(printf %q "$folder")"
  if ! grep -qxF -- "$line" "$commands"; then echo "$line" >>"$commands"; fi
}

write_pairs() {  # FOLDER RECIPE TEACHER_LR PAIRS
  local root=$1 recipe=$2 teacher_lr=$3
  commands=$runs/experiments/$root/commands.txt
  mkdir -p "$runs/experiments/$root"
  : >"$commands"
  grep -v '^#' <<<"$4" | while read -r teacher student lr dkd_beta reviewkd_weight; do
    [ -n "$teacher" ] || continue
    local standard=$root/baseline/$teacher generous=$root/kd_generous_$teacher/generous_$teacher
    write "$standard" train_standard "\"model_name\": \"$teacher\", \"learning_rate\": $teacher_lr, $recipe"
    write "$generous" train_generous "\"model_name\": \"$teacher\", \"learning_rate\": $teacher_lr, $recipe,
 \"adversarial_model\": \"$teacher\", \"adversarial_resume\": \"experiments/$standard/best_model.safetensors\", \"Tn\": 1, \"alpha\": 1"
    write "$root/baseline/$student" train_standard "\"model_name\": \"$student\", \"learning_rate\": $lr, $recipe"
    for kind in standard generous; do
      for method in $methods; do
        write "$root/kd_${kind}_$teacher/$student/$method" train_kd \
          "\"model_name\": \"$student\", \"learning_rate\": $lr, $recipe,
 \"teacher_model\": \"$teacher\", \"teacher_resume\": \"experiments/${!kind}/best_model.safetensors\",
 \"method\": \"$method\"$(method_settings "$method" "$dkd_beta" "$reviewkd_weight")"
      done
    done
  done
  echo "$runs/experiments/$root: $(wc -l <"$commands") runs, in order in commands.txt"
}

write_pairs CIFAR100_240 '"dataset": "cifar100", "normalisation": "field", "batch_size": 64, "num_epochs": 240,
 "schedule": [150, 180, 210], "gamma": 0.1, "momentum": 0.9, "weight_decay": 0.0005' 0.05 "$cifar100_pairs"
write_pairs TinyImageNet_field '"dataset": "tiny_imagenet", "batch_size": 128, "num_epochs": 200,
 "schedule": [60, 120, 160], "gamma": 0.2, "momentum": 0.9, "weight_decay": 0.0005' 0.1 "$tiny_imagenet_pairs"
