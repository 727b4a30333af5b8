#!/usr/bin/env bash
# The whole method on real images, in minutes: on Fashion-MNIST, a standard teacher, a generous teacher, and the same
# small student three times: alone, taught by the standard teacher, taught by the generous one. Ends with a table.
#   bash apps/demo.sh [RUNS_FOLDER]          default: runs/demo-fashion-mnist; an earlier demo there is moved aside
# GENEROUS_DEMO_STEPS=N stops each run after N steps: to see that everything works, not for results.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
runs=${1:-runs/demo-fashion-mnist}
begin=$SECONDS

bash apps/setup.sh build "train_standard train_generous train_kd evaluate predict"
built=$SECONDS

# The images: Debian's package where setup.sh could install it, otherwise a verified download.
images=/usr/share/datasets/fashion-mnist
if [ ! -e $images/train-images-idx3-ubyte.gz ]; then
  images=datasets/fashion-mnist
  bash data/download.sh fashion_mnist
fi

if [ -e "$runs" ]; then
  old="$runs.$(date +%Y%m%d-%H%M%S)"
  mv "$runs" "$old"
  echo "demo: the earlier runs are now in $old"
fi
mkdir -p "$runs"

teacher=resnet14
student=resnet8
# Two epochs, the second at a tenth of the learning rate. So short a training does better without augmentation.
common=(--dataset fashion_mnist --data_dir "$images" --augmentation 0 --batch_size 64 --learning_rate 0.05 --nesterov 1
        --num_epochs 2 --schedule 1 --gamma 0.1)
[ -n "${GENEROUS_DEMO_STEPS:-}" ] && common+=(--max_steps "$GENEROUS_DEMO_STEPS")

stage() {  # NUMBER WHAT PROGRAM FOLDER FLAGS...
  printf '\n== %s of 5: %s\n' "$1" "$2"
  build/apps/"$3" --save_path "$runs/$4" "${common[@]}" "${@:5}"
}
stage 1 "the standard teacher ($teacher)" train_standard standard_teacher --model_name $teacher
stage 2 "the generous teacher ($teacher), which also absorbs the first one's non-target knowledge" \
  train_generous generous_teacher --model_name $teacher --seed 1 --Tn 1.0 --alpha 1.0 --warmup 1 \
  --adversarial_model $teacher --adversarial_resume "$runs/standard_teacher/last_model.safetensors"
stage 3 "the student alone ($student)" train_standard student_alone --model_name $student
for kind in standard generous; do
  stage $([ $kind = standard ] && echo 4 || echo 5) "the student, distilled from the $kind teacher" \
    train_kd "student_of_$kind" --model_name $student --method kd --temperature 4 --alpha 0.9 \
    --teacher_model $teacher --teacher_resume "$runs/${kind}_teacher/last_model.safetensors"
done

top1() {  # MODEL FOLDER: top-1 in percent of the run's last weights, over all test images
  build/apps/evaluate --model_name "$1" --weights "$runs/$2/last_model.safetensors" --dataset fashion_mnist \
    --data_dir "$images" | sed -n 's/.*top-1[^0-9]*\([0-9.]*\).*/\1/p' | head -n 1
}
printf '\nFashion-MNIST, top-1 on the 10,000 test images\n'
row() { printf '  %-46s %6.2f %%\n' "$1" "$(top1 "$2" "$3")"; }
row "standard teacher ($teacher)" $teacher standard_teacher
row "generous teacher ($teacher)" $teacher generous_teacher
row "student alone ($student)" $student student_alone
row "student of the standard teacher ($student)" $student student_of_standard
row "student of the generous teacher ($student)" $student student_of_generous
printf '\nRuns: %s (weights, metrics.csv and training.log of each). Build: %d s, training: %d s.\n' "$runs" \
  $((built - begin)) $((SECONDS - built))
