#!/usr/bin/env bash
# Downloads a dataset, verifies its checksum, unpacks it.
#
#   bash data/download.sh NAME [FOLDER]
#
# NAME is fashion_mnist, cifar10, cifar100 or tiny_imagenet. FOLDER is where the dataset goes; the default is
# where the programs look: datasets/fashion-mnist, datasets/cifar10, datasets/cifar100,
# datasets/tiny-imagenet-200.
#
# What was interrupted is resumed from FOLDER.download/ by the same command. FOLDER appears in one step when it
# is complete. GENEROUS_MIRROR=URL takes the files from URL/FILE instead of the datasets' own sites.
set -euo pipefail

usage() {
  echo "usage: bash data/download.sh fashion_mnist|cifar10|cifar100|tiny_imagenet [FOLDER]" >&2
  exit 2
}

die() {
  echo "error: $*" >&2
  exit 1
}

need() {
  command -v "$1" > /dev/null || die "the program $1 is missing: sudo apt-get install $2"
}

[[ $# -eq 1 || $# -eq 2 ]] || usage
name=$1
# Per dataset: the default folder, the site, "FILE MD5" of every file, a file that a complete folder has, and
# the folder inside the archive.
case $name in
  fashion_mnist)
    folder=datasets/fashion-mnist
    site=http://fashion-mnist.s3-website.eu-central-1.amazonaws.com
    files=("train-images-idx3-ubyte.gz 8d4fb7e6c68d591d4c3dfef9ec88bf0d"
           "train-labels-idx1-ubyte.gz 25c81989df183df01b3e8a0aad5dffbe"
           "t10k-images-idx3-ubyte.gz bef4ecab320f06d8554ea6380940ec79"
           "t10k-labels-idx1-ubyte.gz bb300cfdad3c16e7a12a480ee83cd310")
    marker=t10k-labels-idx1-ubyte.gz
    ;;
  cifar10)
    folder=datasets/cifar10
    site=https://www.cs.toronto.edu/~kriz
    files=("cifar-10-binary.tar.gz c32a1d4ab5d03f1284b67883e8d87530")
    marker=test_batch.bin
    inside=cifar-10-batches-bin
    ;;
  cifar100)
    folder=datasets/cifar100
    site=https://www.cs.toronto.edu/~kriz
    files=("cifar-100-binary.tar.gz 03b5dce01913d631647c71ecec9e9cb8")
    marker=test.bin
    inside=cifar-100-binary
    ;;
  tiny_imagenet)
    folder=datasets/tiny-imagenet-200
    site=http://cs231n.stanford.edu
    files=("tiny-imagenet-200.zip 90528d7ca1a48142e341f4ef8d21d0de")
    marker=wnids.txt
    inside=tiny-imagenet-200
    ;;
  *) usage ;;
esac
folder=${2:-$folder}
folder=${folder%/}
site=${GENEROUS_MIRROR:-$site}
work=$folder.download

if [[ -e $folder/$marker ]]; then
  echo "$name is already there: $folder"
  exit 0
fi
if [[ -e $folder ]]; then
  [[ -d $folder && -z $(ls -A "$folder") ]] || die "$folder is there already and is not a complete $name: remove it"
fi
need curl curl
need md5sum coreutils
if [[ $name == tiny_imagenet ]]; then need unzip unzip; fi
mkdir -p "$work"

# download URL PART: goes on where PART ends. Prints the HTTP status, returns curl's.
download() {
  curl --fail --location --retry 3 --connect-timeout 30 --continue-at - --output "$2" \
    --write-out '%{http_code}' "$1"
}

# fetch FILE MD5: downloads to $work/FILE.part, going on where an earlier run stopped; $work/FILE once
# verified.
fetch() {
  local file=$1 md5=$2 part=$work/$1.part url=$site/$1
  local found http_status curl_status=0
  [[ ! -e $work/$file ]] || return 0
  echo "downloading $url"
  http_status=$(download "$url" "$part") || curl_status=$?
  if [[ -e $part && ($http_status == 416 || $curl_status == 33) ]]; then
    # The part is complete or longer, or the server cannot resume: only its checksum is left to say.
    curl_status=0
    if [[ $(md5sum < "$part") != "$md5  -" ]]; then
      echo "cannot be resumed: starting again"
      rm "$part"
      download "$url" "$part" > /dev/null || curl_status=$?
    fi
  fi
  [[ $curl_status -eq 0 ]] ||
    die "$url could not be downloaded (curl's reason is above); run the same command again to resume"
  found=$(md5sum < "$part")
  found=${found%% *}
  if [[ $found != "$md5" ]]; then
    rm "$part"
    die "$url has MD5 $found, expected $md5: the bad file was removed; run the same command again"
  fi
  mv "$part" "$work/$file"
}

for entry in "${files[@]}"; do
  fetch "${entry% *}" "${entry#* }"
done

unpacked=$work/unpacked
rm -rf "$unpacked"
mkdir "$unpacked"
for entry in "${files[@]}"; do
  file=$work/${entry% *}
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
