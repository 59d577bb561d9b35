# An encrypted file system whose key only the kernel has: scratch.sh start|stop FILE NAME MOUNT SIZE METHOD
set -eu
what=$1 file=$2 name=$3 mount=$4 size=$5 method=$6
case $what in
  start)
    # A restart of the unit alone finds it open.
    if [ -e "/dev/mapper/$name" ]; then
      mountpoint -q "$mount" || mount -o discard,nosuid "/dev/mapper/$name" "$mount"
      exit 0
    fi
    mkdir -p "$(dirname "$file")" "$mount"
    chmod 700 "$(dirname "$file")" "$mount"
    # What another boot left cannot be read any more.
    rm -f "$file"
    (umask 077 && truncate -s "$size" "$file")
    cryptsetup open --type plain --cipher aes-xts-plain64 --key-size 512 --key-file /dev/urandom --allow-discards "$file" "$name"
    mkfs.ext4 -q -E lazy_itable_init=1,nodiscard "/dev/mapper/$name"
    mount -o discard,nosuid "/dev/mapper/$name" "$mount"
    chmod 700 "$mount"
    ;;
  stop)
    # Machines may still run: then it stays, until the host's memory with the key goes.
    umount "$mount" || exit 0
    cryptsetup close "$name"
    if [ "$method" = zero ]; then shred -n 0 -z "$file"; fi
    rm -f "$file"
    ;;
esac
