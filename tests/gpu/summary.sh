# shellcheck shell=bash disable=SC2154  # work, results, logs: of run.sh
# The one page that tells how the steps of run.sh went. To be sourced: goes by its $work, $results and $logs.

# What a step that passed says, in one line: how many test cases or measurements, or its last line.
said() {  # LOG
  awk '
    /^\[doctest\] test cases:/ { cases = $4 }
    /^\{/ { ++measurements }
    NF > 0 { last = $0 }
    END { print cases != "" ? cases " test cases" : measurements ? measurements " measurements" : last }' "$1"
}

# Takes images/s out of lines of JSON. A column is a way to train: ours, tuned, or a mode of PyTorch's.
add_rates() {  # LOG TYPE [COLUMN]
  [ -f "$1" ] || return 0
  awk -v dtype="$2" -v column="${3:-}" '
    function value(key) {
      return match(line, "[{,]" key ":[^,}]*") ? substr(line, RSTART + length(key) + 2, RLENGTH - length(key) - 2) : ""
    }
    { line = $0; gsub(/[" ]/, "", line) }
    /^\{/ && value("images_per_s") != "" {
      print value("model"), dtype, value("batch"), column != "" ? column : value("mode"), value("images_per_s")
    }' "$1" >>"$work/rates"
}

rates_table() {
  awk '
    BEGIN { columns = split("ours tuned eager graph compile", names, " ") }
    { cell = $1 " " $2 " " $3; if (!(cell in seen)) { seen[cell] = 1; cells[++count] = cell }; rate[cell, $4] = $5 }
    function best(cell, from, to,  i, most) {
      for (i = from; i <= to; ++i) if (rate[cell, names[i]] > most) most = rate[cell, names[i]]
      return most
    }
    END {
      printf "%-14s %-5s %5s %10s %10s %10s %10s %10s  %s\n", "model", "type", "batch", "ours", "--tune 1", "eager", "graph", "compiled", "ours / PyTorch"
      for (c = 1; c <= count; ++c) {
        split(cells[c], key, " ")
        line = sprintf("%-14s %-5s %5s", key[1], key[2], key[3])
        for (i = 1; i <= columns; ++i)
          line = line (rate[cells[c], names[i]] == "" ? sprintf(" %10s", "-") : sprintf(" %10.0f", rate[cells[c], names[i]]))
        ours = best(cells[c], 1, 2)
        theirs = best(cells[c], 3, 5)
        print line (ours && theirs ? sprintf("  %.2f", ours / theirs) : "")
      }
    }' "$work/rates"
}

# The head and the text of a part, where there is some.
part() {  # HEAD FILE
  [ ! -s "$2" ] || { printf '\n== %s\n' "$1"; cat "$2"; }
}

write_summary() {
  local page
  page=$(mktemp "$results/.summary.XXXXXX")
  {
    printf '== steps: %s failed, %s passed, %s left out\n' \
      "$(grep -c '^FAIL' "$work/steps")" "$(grep -c '^pass' "$work/steps")" "$(grep -c '^skip' "$work/steps")"
    awk -F '\t' '{ printf "%-5s %-34s %4s s  %s\n", $1, $2, $3, $4 }' "$work/steps"
    part "what it ran on" "$logs/versions.log"
    if [ -s "$work/rates" ]; then
      printf '\n== images/s of whole training steps; PyTorch: eager, captured as a CUDA graph, compiled and captured\n'
      rates_table
    fi
    part "sanitizers" "$work/sanitizers"
    part "the convolutions alone, and a step op by op (each waited for)" "$logs/convolutions.log"
    part "kernels of a recorded step, a table for each model" "$work/kernels"
  } >"$page"
  chmod 644 "$page"
  mv "$page" "$results/summary.txt"
}
