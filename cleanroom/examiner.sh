# What an examination instance runs when it first boots, and, as /usr/bin/evidence,
# what its examiners use. The template puts two lines before it: the shell, and
# BUCKET, REGION, CASE, ROOM, TOOLKITS (prefixes of keys) and TOOLKIT (a digest).
# docs/clean-room.md describes both. ROOT is empty but in tests.
set -u
ROOT=${ROOT-}
STATE=$ROOT/var/lib/evidence.state

say() {
  echo "clean room: $*" | tee -a "$STATE"
}

# disk_of names the whole disk of a block device: nvme1n1 of nvme1n1p2.
disk_of() {
  local path
  path=$(readlink -f "$ROOT/sys/class/block/$1")
  [ -e "$path/partition" ] && path=${path%/*}
  echo "${path##*/}"
}

# root_disk is the instance's own.
root_disk() {
  local source
  source=$(findmnt -n -o SOURCE /)
  disk_of "${source##*/}"
}

# is_scratch: an instance store begins empty and ends with the instance.
is_scratch() {
  grep -qs 'Instance Storage' "$ROOT/sys/class/block/$1/device/model"
}

# volume_of is the EBS volume's ID, which Nitro instances see as the disk's serial number.
volume_of() {
  local serial
  serial=$(tr -d ' \n' 2>/dev/null <"$ROOT/sys/class/block/$1/device/serial") || return 1
  [ "${serial#vol}" != "$serial" ] && echo "vol-${serial#vol}"
}

# evidence_disks are all disks that are neither the instance's own nor scratch.
evidence_disks() {
  local path disk own
  own=$(root_disk)
  for path in "$ROOT"/sys/class/block/*; do
    disk=${path##*/}
    case $disk in nvme* | xvd* | sd*) ;; *) continue ;; esac
    [ "$(disk_of "$disk")" = "$disk" ] && [ "$disk" != "$own" ] && ! is_scratch "$disk" && echo "$disk"
  done
}

# item_of is the evidence item that a volume is a copy of: cordon tags the instance with it.
item_of() {
  local token at=http://169.254.169.254/latest
  token=$(curl -sf -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$at/api/token") || return 1
  curl -sf -m 5 -H "X-aws-ec2-metadata-token: $token" "$at/meta-data/tags/instance/cordon:evidence:$1"
}

# readonly_device is what udev runs for every disk and partition before anything else sees it.
readonly_device() {
  local disk
  disk=$(disk_of "$1")
  [ "$disk" = "$(root_disk)" ] || is_scratch "$disk" || blockdev --setro "/dev/$1"
}

# options of a mount that writes nothing, a journal's recovery included. Nothing on it runs.
options() {
  case $1 in
  ext3 | ext4) echo ro,noload,nodev,nosuid,noexec ;;
  xfs) echo ro,norecovery,nouuid,nodev,nosuid,noexec ;;
  btrfs) echo ro,rescue=nologreplay,nodev,nosuid,noexec ;;
  *) echo ro,nodev,nosuid,noexec ;;
  esac
}

list() {
  local disk volume ro
  for disk in $(evidence_disks); do
    volume=$(volume_of "$disk") || volume=-
    ro=WRITABLE
    [ "$(blockdev --getro "/dev/$disk")" = 1 ] && ro=read-only
    echo "/dev/$disk $volume $(item_of "$volume" || echo -) $ro"
  done
}

# mount_item mounts every file system of an item, or of a disk, under /evidence.
mount_item() {
  local disk volume item device type at n=0
  for disk in $(evidence_disks); do
    volume=$(volume_of "$disk") || volume=-
    item=$(item_of "$volume") || item=$disk
    [ "$1" = "$item" ] || [ "$1" = "/dev/$disk" ] || [ "$1" = "$volume" ] || continue
    for device in $(lsblk -n -l -o NAME "/dev/$disk"); do
      type=$(blkid -p -s TYPE -o value "/dev/$device") || continue
      if [ "$(blockdev --getro "/dev/$device")" != 1 ]; then
        echo "refused: /dev/$device is writable: sudo evidence readonly $device" >&2
        return 1
      fi
      at=$ROOT/evidence/$item/$device
      mkdir -p "$at"
      mount -t "$type" -o "$(options "$type")" "/dev/$device" "$at" && echo "$at" && n=$((n + 1))
    done
    [ "$n" -gt 0 ] && return 0
    echo "no file system that can be mounted is on /dev/$disk; its blocks can be read" >&2
    return 1
  done
  echo "no disk here is $1; evidence list shows those that are" >&2
  return 1
}

# stored lists what the case has in the evidence bucket, or fetches one object of it.
stored() {
  [ -n "$BUCKET" ] || { echo "this room has no evidence bucket" >&2; return 1; }
  if [ $# = 0 ]; then
    aws s3 ls --region "$REGION" --recursive "s3://$BUCKET/$CASE"
  else
    aws s3 cp --region "$REGION" "s3://$BUCKET/$CASE${1#"$CASE"}" .
  fi
}

# finding leaves files where closing the room takes them into custody.
finding() {
  local file
  [ -n "$BUCKET" ] || { echo "this room has no evidence bucket" >&2; return 1; }
  for file in "$@"; do
    sha256sum -- "$file" || return 1
    aws s3 cp --region "$REGION" --only-show-errors --checksum-algorithm SHA256 "$file" "s3://$BUCKET/${ROOM}findings/${file##*/}" || return 1
  done
}

# fetch KEY FILE tries for three minutes: credentials and endpoints can come late.
fetch() {
  local try
  mkdir -p "${2%/*}" || return 1
  for try in 1 2 3 4 5 6 7 8 9 10; do
    aws s3 cp --region "$REGION" --only-show-errors "s3://$BUCKET/$1" "$2" && return 0
    [ "$try" = 10 ] || sleep "${PAUSE-20}"
  done
  return 1
}

# Only what the manifest lists is fetched: SHA256, mode and path of each file, a path
# never leading out of the toolkit's folder.
readonly LISTED='
import json, re, sys
m = json.load(open(sys.argv[1]))
assert m["schema"] == "cordon.toolkit/1", "schema " + m["schema"]
def line(f):
    p = f["path"]
    assert re.fullmatch(r"[A-Za-z0-9._+@~=,-]+(/[A-Za-z0-9._+@~=,-]+)*", p) and not {".", ".."} & set(p.split("/")), "path " + p
    assert re.fullmatch(r"[0-9a-f]{64}", f["sha256"]), "digest of " + p
    return " ".join([f["sha256"], "755" if f.get("executable") else "644", p])
print(*map(line, m["files"]), sep="\n")
'

# toolkit fetches the tools and checks every digest. Only then are they where an examiner finds them.
toolkit() {
  local part=$ROOT/var/lib/toolkit.part to=$ROOT/opt/toolkit sum mode path
  [ -n "$TOOLKIT" ] || { say "no toolkit was asked for"; return 0; }
  rm -rf "$part" "$to"
  fetch "$TOOLKITS$TOOLKIT/manifest.json" "$part/manifest.json" || { say "toolkit REFUSED: $TOOLKIT can't be fetched"; rm -rf "$part"; return 1; }
  echo "$TOOLKIT  $part/manifest.json" | sha256sum --check --status || { say "toolkit REFUSED: its manifest has not the digest $TOOLKIT"; rm -rf "$part"; return 1; }
  python3 -I -c "$LISTED" "$part/manifest.json" >"$part.list" || { say "toolkit REFUSED: its manifest can't be read"; rm -rf "$part"; return 1; }
  while read -r sum mode path; do
    fetch "$TOOLKITS$TOOLKIT/files/$path" "$part/$path" || { say "toolkit REFUSED: $path can't be fetched"; rm -rf "$part"; return 1; }
    echo "$sum  $part/$path" | sha256sum --check --status || { say "toolkit REFUSED: $path has not the digest $sum"; rm -rf "$part"; return 1; }
    chmod "$mode" "$part/$path"
  done <"$part.list"
  mkdir -p "${to%/*}"
  mv "$part" "$to"
  say "toolkit $TOOLKIT is in /opt/toolkit: every digest is as its manifest says"
  if [ -f "$to/install.sh" ]; then
    if (cd "$to" && bash ./install.sh) >"$ROOT/var/log/toolkit.log" 2>&1; then
      say "toolkit installed"
    else
      say "toolkit: its install.sh FAILED: /var/log/toolkit.log"
    fi
  fi
}

# prepare is the first boot.
prepare() {
  local disk
  mkdir -p "$ROOT/var/lib" "$ROOT/var/log" "$ROOT/usr/bin" "$ROOT/etc/udev/rules.d" "$ROOT/etc/lvm" "$ROOT/etc/profile.d" "$ROOT/evidence"
  : >"$STATE"
  install -m 0755 "$0" "$ROOT/usr/bin/evidence"
  # 00: before the rules that assemble arrays. PROGRAM runs at once, RUN would after all rules.
  echo 'ACTION=="add|change", SUBSYSTEM=="block", KERNEL=="nvme*|xvd*|sd*", PROGRAM="/usr/bin/evidence readonly %k"' >"$ROOT/etc/udev/rules.d/00-evidence.rules"
  # Nothing assembles arrays, activates volume groups or mounts by itself.
  echo 'AUTO -all' >"$ROOT/etc/mdadm.conf"
  echo 'activation { auto_activation_volume_list = [] }' >"$ROOT/etc/lvm/lvmlocal.conf"
  systemctl mask --now udisks2.service autofs.service >"$ROOT/var/log/evidence.log" 2>&1
  udevadm control --reload
  for disk in $(evidence_disks); do readonly_device "$disk"; done
  echo 'cat /var/lib/evidence.state; echo "evidence list | mount ITEM | stored [KEY] | finding FILE..."' >"$ROOT/etc/profile.d/evidence.sh"
  say "evidence disks are read-only"
  toolkit
}

case ${1-prepare} in
prepare) prepare ;;
readonly) readonly_device "$2" ;;
list) list ;;
mount) mount_item "$2" ;;
stored) shift && stored "$@" ;;
finding) shift && finding "$@" ;;
options) options "$2" ;;
disks) evidence_disks ;;
*) echo "usage: evidence list | mount ITEM | stored [KEY] | finding FILE... | readonly DEVICE" >&2; exit 2 ;;
esac
