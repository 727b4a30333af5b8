#!/usr/bin/env bash
# Downloads a dataset, verifies its checksum, unpacks it.
#
#   bash data/download.sh NAME [FOLDER]     in a build's folder also build/apps/download; installed: generous download
#
# NAME is fashion_mnist, cifar10, cifar100 or tiny_imagenet. FOLDER is where the dataset goes; the default is
# where the programs look: datasets/fashion-mnist, datasets/cifar10, datasets/cifar100,
# datasets/tiny-imagenet-200.
#
# What was interrupted is resumed from FOLDER.download/ by the same command. FOLDER appears in one step when it
# is complete. GENEROUS_MIRROR=URL takes the files from URL/FILE instead of the datasets' own sites. One process
# at a time works on a FOLDER: it holds a lock on FOLDER.download/, which is free again however it ends.
set -euo pipefail

usage() {
  echo "usage: $(printf %q "$0") fashion_mnist|cifar10|cifar100|tiny_imagenet [FOLDER]" >&2
  exit 2
}

die() {
  echo "error: $*" >&2
  exit 1
}

need() {
  local as_root=
  [[ $(id -u) -eq 0 ]] || as_root="sudo "
  command -v "$1" > /dev/null || die "the program $1 is missing: ${as_root}apt-get install $2"
}

[[ $# -eq 1 || $# -eq 2 ]] || usage
name=$1
# Per dataset: the default folder, the site, "FILE BYTES MD5 SHA-256" of every file, a file that a complete folder
# has, and the folder inside the archive.
case $name in
  fashion_mnist)
    folder=datasets/fashion-mnist
    site=https://fashion-mnist.s3.eu-central-1.amazonaws.com
    files=("train-labels-idx1-ubyte.gz 29515 25c81989df183df01b3e8a0aad5dffbe
            a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
           "t10k-labels-idx1-ubyte.gz 5148 bb300cfdad3c16e7a12a480ee83cd310
            67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
           "train-images-idx3-ubyte.gz 26421880 8d4fb7e6c68d591d4c3dfef9ec88bf0d
            3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
           "t10k-images-idx3-ubyte.gz 4422102 bef4ecab320f06d8554ea6380940ec79
            346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073")
    marker=t10k-labels-idx1-ubyte.gz
    ;;
  cifar10)
    folder=datasets/cifar10
    site=https://www.cs.toronto.edu/~kriz
    files=("cifar-10-binary.tar.gz 170052171 c32a1d4ab5d03f1284b67883e8d87530
            c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd")
    marker=test_batch.bin
    inside=cifar-10-batches-bin
    ;;
  cifar100)
    folder=datasets/cifar100
    site=https://www.cs.toronto.edu/~kriz
    files=("cifar-100-binary.tar.gz 168513733 03b5dce01913d631647c71ecec9e9cb8
            58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec")
    marker=test.bin
    inside=cifar-100-binary
    ;;
  tiny_imagenet)
    folder=datasets/tiny-imagenet-200
    site=https://cs231n.stanford.edu
    files=("tiny-imagenet-200.zip 248100043 90528d7ca1a48142e341f4ef8d21d0de
            6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821")
    marker=wnids.txt
    inside=tiny-imagenet-200
    ;;
  *) usage ;;
esac
folder=${2:-$folder}
folder=${folder%/}
site=${GENEROUS_MIRROR:-$site}
work=$folder.download

stop_if_there() {
  [[ -e $folder/$marker ]] || return 0
  echo "$name is already there: $folder"
  exit 0
}

stop_if_there
if [[ -e $folder ]]; then
  [[ -d $folder && -z $(ls -A "$folder") ]] || die "$folder is there already and is not a complete $name: move it away, or name another folder"
fi
need curl curl
need md5sum coreutils
need flock util-linux
if [[ $name == tiny_imagenet ]]; then need unzip unzip; fi

# The lock lies on the folder itself, so that nothing is left of it. Another process may have finished, and removed
# the folder, between its opening and its locking: then it is not the same any more.
until [[ $work -ef /dev/fd/9 ]]; do
  mkdir -p "$work"
  exec 9< "$work"
  flock --nonblock 9 || die "another download.sh is at work on $folder (it holds the lock of $work): wait for it"
done
if [[ -e $folder/$marker ]]; then rmdir "$work"; fi
stop_if_there

bytes_of() {
  if [[ -e $1 ]]; then stat -c %s "$1"; else echo 0; fi
}

# download URL PART BYTES: goes on where PART ends, up to BYTES.
download() {
  local url=$1 part=$2 bytes=$3 http_status curl_status=0
  if [[ $(bytes_of "$part") -gt $bytes ]]; then
    echo "$part is longer than the file: starting again"
    rm "$part"
  fi
  if [[ $(bytes_of "$part") -eq $bytes ]]; then return; fi
  http_status=$(transfer "$url" "$part") || curl_status=$?
  if [[ -e $part && ($http_status == 416 || $curl_status == 33) ]]; then
    echo "$url cannot be resumed: starting again"
    rm "$part"
    curl_status=0
    http_status=$(transfer "$url" "$part") || curl_status=$?
  fi
  [[ $curl_status -eq 0 ]] ||
    die "$url could not be downloaded (curl's reason is above); run the same command again to resume"
}

# Prints the HTTP status, returns curl's. curl takes the place of the subshell and is stopped when this script is gone:
# no process goes on writing to PART when the lock is free.
transfer() {
  exec setpriv --pdeathsig TERM curl --fail --location --retry 3 --connect-timeout 30 --continue-at - --output "$2" \
    --write-out '%{http_code}' "$1"
}

# Sets `problem` to what is wrong with FILE, and fails, unless it has this MD5 and SHA-256.
verify() {
  local file=$1 found
  found=$(md5sum < "$file")
  problem="has MD5 ${found%% *}, expected $2"
  [[ ${found%% *} == "$2" ]] || return 1
  found=$(sha256sum < "$file")
  problem="has SHA-256 ${found%% *}, expected $3"
  [[ ${found%% *} == "$3" ]]
}

# fetch FILE BYTES MD5 SHA-256: downloads to $work/FILE.part, going on where an earlier run stopped; $work/FILE once
# verified.
fetch() {
  local file=$1 bytes=$2 md5=$3 sha256=$4 part=$work/$1.part url=$site/$1 begun=1
  [[ ! -e $work/$file ]] || return 0
  echo "downloading $url"
  while [[ $begun -gt 0 ]]; do
    begun=$(bytes_of "$part")
    download "$url" "$part" "$bytes"
    if verify "$part" "$md5" "$sha256"; then
      mv "$part" "$work/$file"
      return
    fi
    rm "$part"
    [[ $begun -eq 0 ]] || echo "what was there of $part is damaged: starting again"
  done
  die "$url $problem: the bad file was removed; run the same command again"
}

for entry in "${files[@]}"; do
  read -r -d '' -a words <<< "$entry" || true  # the entry goes over two lines
  fetch "${words[@]}"
done

unpacked=$work/unpacked
rm -rf "$unpacked"
mkdir "$unpacked"
for entry in "${files[@]}"; do
  file=$work/${entry%% *}
  case $file in
    *.tar.gz) tar -xzf "$file" -C "$unpacked" ;;
    *.zip) unzip -q "$file" -d "$unpacked" ;;
    *) cp "$file" "$unpacked" ;;
  esac || die "$file could not be unpacked (the reason is above)"
done
complete=$unpacked${inside:+/$inside}
[[ -e $complete/$marker ]] || die "$work: the unpacked files lack ${inside:+$inside/}$marker"
if [[ -d $folder ]]; then rmdir "$folder"; fi
mv "$complete" "$folder"
rm -rf "$work"
echo "$name is in $folder"
