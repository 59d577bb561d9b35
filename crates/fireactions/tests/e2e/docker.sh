# What a CI job does with Docker, in a machine whose image has Debian's own. In MORE is what else it does: buildkit, names (and a file of
# BIG MiB; needs buildkit), compose. Ends with the first thing that is not so.
set -eu
check() { # WHAT GOT WANTED
  [ "$2" = "$3" ] || { echo "$1: '$2', not '$3'"; tail -n 40 /var/log/fireactions/dockerd.log; exit 1; }
  echo "$1: ok after $(($(date +%s) - begun)) s"
}
has() { # WORD
  case " ${MORE:-} " in *" $1 "*) ;; *) return 1 ;; esac
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
for applet in sh cat echo dd stat nc sleep mkdir httpd tee wget; do ln -s busybox "/tmp/root/bin/$applet"; done
tar -C /tmp/root -c . | docker import - base >/dev/null

# Where guests are emulated, a container takes ten seconds to start: what can be looked at in one is.
mkdir /tmp/context
cat >/tmp/context/Dockerfile <<'F'
FROM base
RUN echo built >/made
F
DOCKER_BUILDKIT=0 docker build -q -t made /tmp/context >/dev/null

# BuildKit, with a cache that one build leaves to the next. With --no-cache it would give the second one a new cache, too.
if has buildkit; then
  cat >/tmp/context/Dockerfile <<'F'
FROM base
ARG build
RUN --mount=type=cache,target=/cache if [ -e /cache/mark ]; then echo "found in $build"; else echo "new in $build"; fi | tee /state; echo x >/cache/mark
F
  for build in one two; do
    DOCKER_BUILDKIT=1 docker build --progress=plain --build-arg "build=$build" -t cached /tmp/context >/tmp/build.log 2>&1 ||
      { cat /tmp/build.log; exit 1; }
    check "cache $build" "$(grep -o -E '(new|found) in (one|two)$' /tmp/build.log)" "$([ $build = one ] && echo new || echo found) in $build"
  done
fi

docker run -d --name web -p 8080:80 base sh -c 'mkdir /www; echo page >/www/index.html; exec httpd -f -p 80 -h /www' >/dev/null
for _ in $(seq 60); do
  page=$(busybox wget -q -O - http://127.0.0.1:8080/ 2>/dev/null) && break
  sleep 0.5
done
check publish "${page:-}" page

# By its name in a network of their own; and as many MiB as the test says.
if has names; then
  docker network create net >/dev/null
  docker network connect net web
  got=$(docker run --rm --network net cached sh -c "cat /state; wget -q -O - http://web/
    dd if=/dev/zero of=/big bs=1M count=$BIG 2>/dev/null; stat -c %s /big")
  check "names, large" "$got" "found in two
page
$((BIG << 20))"
fi

# Two services of a file, one of which asks the other by its name.
if has compose; then
  mkdir /tmp/shop
  cat >/tmp/shop/compose.yaml <<'F'
services:
  web:
    image: base
    command: [sh, -c, 'mkdir /www; echo from web >/www/index.html; exec httpd -f -p 80 -h /www']
  client:
    image: base
    depends_on: [web]
    command: [sh, -c, 'for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://web/ && exit; sleep 1; done; exit 7']
F
  cd /tmp/shop
  compose=docker-compose
  ! docker compose version >/dev/null 2>&1 || compose="docker compose"
  $compose up -d >/dev/null 2>&1 || { $compose up; exit 1; }
  check compose "$(docker wait "$($compose ps -q client)")" 0
  check "compose, by name" "$($compose logs --no-color client | grep -c 'from web')" 1
  $compose down -t 0 >/dev/null 2>&1
  check "compose, gone" "$(docker ps -q | wc -l)" 1
  cd /
fi

# Its memory ends where it is said to, and what it may do does not.
code=0
got=$(docker run --rm --privileged --memory 32m --memory-swap 32m made sh -c 'cat /made
  mkdir -p /m && busybox mount -t tmpfs none /m && echo mounted; dd if=/dev/zero of=/dev/null bs=128M count=1') || code=$?
check "build, privileged" "$got" "built
mounted"
check memory "$code" 137
