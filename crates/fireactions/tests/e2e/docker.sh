# What a CI job does with Docker, in a machine whose image has Debian's own. Ends with the first thing that is not so.
set -eu
check() { # WHAT GOT WANTED
  [ "$2" = "$3" ] || { echo "$1: '$2', not '$3'"; tail -n 40 /var/log/fireactions/dockerd.log; exit 1; }
  echo "$1: ok after $(($(date +%s) - begun)) s"
}
begun=$(date +%s)

# It is ready before the job is.
check driver "$(docker info --format '{{.Driver}}')" overlay2
check cgroups "$(docker info --format '{{.CgroupVersion}}')" 2

# There is no internet: it comes through the host's cache.
check mirror "$(docker info --format '{{range .RegistryConfig.Mirrors}}{{.}}{{end}}')" http://172.30.0.1:5000/
docker pull -q busybox >/dev/null || { tail -n 40 /var/log/fireactions/dockerd.log; exit 1; }
check pull "$(docker run --rm busybox echo cached)" cached

mkdir -p /tmp/root/bin
cp /bin/busybox /tmp/root/bin/
for applet in sh cat echo dd stat nc sleep mkdir httpd wget; do ln -s busybox "/tmp/root/bin/$applet"; done
tar -C /tmp/root -c . | docker import - base >/dev/null
check run "$(docker run --rm base echo hello)" hello

mkdir /tmp/context
cat >/tmp/context/Dockerfile <<'F'
FROM base
RUN echo built >/made
CMD ["cat", "/made"]
F
DOCKER_BUILDKIT=0 docker build -q -t made /tmp/context >/dev/null
check build "$(docker run --rm made)" built

# BuildKit, with a cache that one build leaves to the next. With --no-cache it would give the second one a new cache, too.
cat >/tmp/context/Dockerfile <<'F'
FROM base
ARG build
RUN --mount=type=cache,target=/cache if [ -e /cache/mark ]; then echo found; else echo new; fi >/state; echo x >/cache/mark
CMD ["cat", "/state"]
F
for state in new found; do
  DOCKER_BUILDKIT=1 docker build -q --build-arg "build=$state" -t cached /tmp/context >/dev/null
  check "cache $state" "$(docker run --rm cached)" "$state"
done

docker run -d --name web -p 8080:80 base sh -c 'mkdir /www; echo page >/www/index.html; exec httpd -f -p 80 -h /www' >/dev/null
for _ in $(seq 60); do
  page=$(busybox wget -q -O - http://127.0.0.1:8080/ 2>/dev/null) && break
  sleep 0.5
done
check publish "${page:-}" page

docker network create net >/dev/null
docker network connect net web
check names "$(docker run --rm --network net base wget -q -O - http://web/)" page

# As many MiB as the test says.
check large "$(docker run --rm base sh -c "dd if=/dev/zero of=/big bs=1M count=$BIG 2>/dev/null; stat -c %s /big")" $((BIG << 20))
code=0
docker run --rm --memory 32m --memory-swap 32m base sh -c 'dd if=/dev/zero of=/dev/null bs=128M count=1' || code=$?
check memory "$code" 137
check privileged "$(docker run --rm --privileged base sh -c 'mkdir -p /m && busybox mount -t tmpfs none /m && echo mounted')" mounted
