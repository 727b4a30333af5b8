# shellcheck shell=bash
# Commands that end: each has a time limit, and nothing that it started outlives it. To be sourced.

# Every process of a command has this in its environment, by which it is found wherever it went.
MARK=GENEROUS_GPU_STEP
MARK_OF_RUN=$$

# Ends every process whose mark begins with MARK: asks once, then forces, and gives up on what is stuck in the driver.
end_all() {  # MARK
  local patience signal=TERM
  for patience in 2 1 1 1; do
    local left=()
    mapfile -t left < <(grep -lsz "^$MARK=$1" /proc/[0-9]*/environ | sed 's|^/proc/||; s|/environ$||')
    [ ${#left[@]} -gt 0 ] || return 0
    kill -s "$signal" "${left[@]}" 2>/dev/null || true
    signal=KILL
    for ((; patience > 0; --patience)); do
      sleep 0.3
      kill -0 "${left[@]}" 2>/dev/null || break
    done
  done
}

# Runs the command with its output in LOG. Its exit code, or 124 where it was stopped.
limited() {  # SECONDS LOG COMMAND...
  local limit=$1 log=$2 mark=$MARK_OF_RUN-$BASHPID-$RANDOM
  shift 2
  env "$MARK=$mark" "$@" >"$log" 2>&1 </dev/null &
  local process=$! end=$((SECONDS + limit)) code=0
  while kill -0 "$process" 2>/dev/null && [ "$SECONDS" -lt "$end" ]; do sleep 0.1; done
  if kill -0 "$process" 2>/dev/null; then
    code=124
  else
    wait "$process" || code=$?
  fi
  end_all "$mark"
  return "$code"
}

# What went wrong, in one line: the first error of a suite with its values, of a program its first line with an error,
# else the last line.
first_message() {  # LOG
  awk '
    function add(text) { gsub(/^[ \t]+|[ \t]+$/, "", text); gsub(/[ \t]+/, " ", text); if (text != "") message = message (message == "" ? "" : " | ") text }
    /^TEST CASE:/ { sub(/^TEST CASE:[ \t]*/, ""); test = $0 }
    found && (/^=+$/ || /^-+$/ || /^\[doctest\]/ || ++lines > 6) { exit }
    found { if ($0 ~ /values:|logged:|:=/ || after) add($0); after = 0 }
    !found && /ERROR:/ { found = 1; sub(/^.*ERROR:/, ""); add(test); add($0); after = /exception/ }
    !found && first == "" && (/^=+ (Invalid|Error|Race|Program hit)/ || /(^|[^a-z])([Ee]rror|[Cc]annot|no CUDA backend|not found|No such)/) { first = $0 }
    NF > 0 { last = $0 }
    END {
      if (message == "") add(first != "" ? first : last)
      if (message == "") message = "it said nothing"
      print substr(message, 1, 300)
    }' "$1"
}
