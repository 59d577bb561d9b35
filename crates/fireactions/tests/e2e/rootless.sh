# What a CI job does with podman as a user without rights. Ends with the first thing that is not so.
set -eu
check() { # WHAT GOT WANTED
  [ "$2" = "$3" ] || { echo "$1: '$2', not '$3'"; exit 1; }
  echo "$1: ok after $(($(date +%s) - begun)) s"
}
begun=$(date +%s)
cd
check user "$(id -u)" 1000

image=$(podman pull -q oci-archive:/tmp/busybox.tar)
podman tag "$image" base
# Layers are joined by the kernel, not copied.
check storage "$(podman info --format '{{.Store.GraphDriverName}} {{index .Store.GraphStatus "Native Overlay Diff"}}')" "overlay true"

# Root inside, and nobody but this user outside; with a network of its own.
mkdir made
got=$(podman run --rm -v "$PWD/made:/made" base sh -c 'id -u; echo x >/made/file; chown 7:7 /made/file; ls /sys/class/net')
check run "$got" "0
lo
tap0"
check ids "$(stat -c %u made/file)" 100006

mkdir context
cat >context/Containerfile <<'F'
FROM base
RUN echo built >/made
F
podman build -q -t made context >/dev/null
# Its memory ends where it is said to. Twice: the first one moves this script into a group of its own.
for limit in 32 48; do
  code=0
  got=$(podman run --rm --memory "${limit}m" --memory-swap "${limit}m" --pids-limit 77 made sh -c 'cat /made /sys/fs/cgroup/memory.max \
    /sys/fs/cgroup/pids.max; dd if=/dev/zero of=/dev/null bs=128M count=1') || code=$?
  check "build, limits" "$got" "built
$((limit << 20))
77"
  check memory "$code" 137
done

podman run -d --name web -p 8080:80 base sh -c 'mkdir /www; echo page >/www/index.html; exec httpd -f -p 80 -h /www' >/dev/null
for _ in $(seq 60); do
  page=$(busybox wget -q -O - http://127.0.0.1:8080/ 2>/dev/null) && break
  sleep 0.5
done
check publish "${page:-}" page
