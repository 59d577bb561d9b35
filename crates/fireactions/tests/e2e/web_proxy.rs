//! The proxy for the guests' web with real parts: Squid as `fireactions cache run` keeps it, a server of the internet, and a guest, in whose
//! image nothing is made for it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fireactions_testkit::{busybox, skip};

use crate::world::{BOOT, NO_TEMPLATE, Setup, World, pool_of, text};

const SOON: Duration = Duration::from_secs(60);

/// A server of the internet, and the host's own address there.
const WEB: &str = "93.184.216.34";
const PUBLIC: &str = "93.184.216.1";

/// Where no guest may go, in every form that there is; the names are an attacker's. A server listens there that says [`SECRET`].
const INSIDE: [&str; 22] = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0.0.0.0",
    "localhost",
    "169.254.169.254",
    "10.9.9.9",
    "172.30.0.1",
    "192.168.7.1",
    "100.64.0.7",
    PUBLIC,
    "[::1]",
    "[::]",
    "[fd00::7]",
    "[::ffff:127.0.0.1]",
    "[::ffff:192.168.7.1]",
    "[::ffff:93.184.216.1]",
    "[64:ff9b::7f00:1]",
    "[::127.0.0.1]",
    "one.test",
    "two.test",
];
/// Of these, what the host itself reaches that server by.
const HEARD: [&str; 9] = [
    "127.0.0.1",
    "169.254.169.254",
    "10.9.9.9",
    "172.30.0.1",
    "192.168.7.1",
    "100.64.0.7",
    PUBLIC,
    "[::1]",
    "[fd00::7]",
];
const SECRET: &str = "inside";

/// OpenSSL's own program, with what it is linked to, as layers.
fn openssl() -> Vec<Vec<u8>> {
    let found = text(&Command::new("sh").args(["-c", "ldd $(command -v openssl)"]).output().unwrap().stdout);
    let libraries = found.split_whitespace().filter(|word| word.starts_with('/'));
    let program = text(&Command::new("sh").args(["-c", "command -v openssl"]).output().unwrap().stdout);
    let layer =
        |path: &str, at: &str| busybox::layer_of(at.trim_start_matches('/'), &fs::read(path).unwrap());
    let mut layers = vec![layer(program.trim(), "/bin/openssl")];
    layers.extend(libraries.map(|path| {
        // The loader is at its place; it finds all others where it looks first.
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        layer(path, &if name.starts_with("ld-") { path.to_owned() } else { format!("/lib/{name}") })
    }));
    layers
}

/// Shell for a guest: fetches from a server of this name, through the proxy.
const TLS: &str = r"tls() {
  printf 'GET /index.html HTTP/1.0\r\nHost: %s\r\n\r\n' $1 | openssl s_client -proxy 172.30.0.1:3128 -connect $1:443 -servername $1 \
    -quiet -verify_return_error -verify_hostname $1 $2 $3 2>&1
}";

fn answers(world: &World) -> bool {
    world.namespace.inside(|| TcpStream::connect(SocketAddr::from(([172, 30, 0, 1], 3128))).is_ok())
}

/// Ends `fireactions cache run`, and Squid with it.
fn end_cache(world: &World) {
    let pid = text(&world.in_namespace(&["cat", "/mnt/pid"]).stdout).trim().to_owned();
    assert!(world.in_namespace(&["kill", &pid]).status.success());
    world.wait(SOON, "Squid to end with who keeps it", || (!answers(world)).then_some(()));
}

/// The certificate of an authority that the image trusts.
fn certificate(dir: &Path) -> PathBuf {
    let file = dir.join("own.pem");
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=own", "-keyout"]);
    let made = make.arg(dir.join("own.key")).arg("-out").arg(&file).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    file
}

#[test]
fn a_guest_fetches_by_it_trusts_it_and_gets_nowhere_else() {
    let cache = std::env::var("FIREACTIONS_CACHE").unwrap_or_else(|_| "/var/cache/fireactions".to_owned());
    let tools = Path::new(&cache).join("tools/usr");
    if !tools.join("sbin/squid").exists() || !tools.join("lib/squid/security_file_certgen").exists() {
        let why = "there is no squid with OpenSSL (`scripts/setup --test` fetches Debian's squid-openssl)";
        skip::say(skip::Kind::Squid, "a_guest_fetches_by_it_trusts_it_and_gets_nowhere_else", why);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("image.tar");
    let own = fs::read(certificate(dir.path())).unwrap();
    let bundle = [b"# the image's own\n".as_slice(), &own].concat();
    let mut layers = vec![busybox::layer(), busybox::layer_of("etc/ssl/certs/ca-certificates.crt", &bundle)];
    layers.extend(openssl());
    fs::write(&archive, busybox::archive(&layers)).unwrap();
    let pools = pool_of("default", 0, 1, &format!("oci-archive:{}", archive.display()), NO_TEMPLATE);
    // Squid as if it were installed, names that need no server of names, and one server that this host trusts.
    let before = format!(
        "mount -t tmpfs tmpfs /run
         mount -t overlay overlay -o lowerdir={tools}:/usr /usr
         mount -t tmpfs tmpfs /mnt; mount -t tmpfs tmpfs /etc/ssl/certs
         printf '127.0.0.1 localhost\\n{WEB} web.test page.test bump.test\\n127.0.0.1 one.test\\n{WEB} two.test\\n192.168.7.1 two.test\\n' >/mnt/hosts
         mount --bind /mnt/hosts /etc/hosts
         ip netns add web; ip link add out type veth peer name eth0 netns web
         ip addr add {PUBLIC}/24 dev out; ip link set out up; ip -n web addr add {WEB}/24 dev eth0; ip -n web link set eth0 up
         ip -n web link set lo up
         openssl req -new -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=web -keyout /mnt/web.key -out /mnt/web.pem \\
           -addext subjectAltName=DNS:page.test,DNS:bump.test 2>/dev/null
         cp /mnt/web.pem /etc/ssl/certs/$(openssl x509 -noout -hash -in /mnt/web.pem).0
         for address in 169.254.169.254/32 10.9.9.9/32 192.168.7.1/32 100.64.0.7/32 fd00::7/128; do ip addr add $address dev lo; done
         mkdir /mnt/www /mnt/in; echo from the web >/mnt/www/index.html; echo {SECRET} >/mnt/in/index.html
         for port in 80 8080; do setpriv --pdeathsig KILL busybox httpd -f -p [::]:$port -h /mnt/in >/dev/null 2>&1 & done
         cd /mnt/www
         setpriv --pdeathsig KILL ip netns exec web openssl s_server -WWW -quiet -accept {WEB}:443 -key /mnt/web.key -cert /mnt/web.pem >/dev/null 2>&1 &
         setpriv --pdeathsig KILL ip netns exec web busybox httpd -f -p {WEB}:80 -h /mnt/www >/dev/null 2>&1 &
         cd /
         mkdir /mnt/cache /mnt/tmp; install -m 644 $DIR/config.yaml /mnt/config.yaml; cp {fireactions} /mnt/fireactions
         chown -R nobody /mnt/cache /mnt/tmp
         echo \"echo \\$\\$ >/mnt/pid; TMPDIR=/mnt/tmp exec setpriv \\$1 --reuid nobody --regid nogroup --clear-groups \\
           /mnt/fireactions cache run --config /mnt/config.yaml >>$DIR/cache.log 2>&1\" >/mnt/start
         sh /mnt/start --pdeathsig=KILL &
         n=0; until [ -e /mnt/cache/ca.pem ]; do n=$((n + 1)); [ $n -lt 300 ] || {{ cat $DIR/cache.log >&2; exit 1; }}; sleep 0.2; done",
        tools = tools.display(),
        fireactions = env!("CARGO_BIN_EXE_fireactions"),
    );
    let more = "registry_cache: {enabled: true, program: docker-registry, storage_dir: /mnt/cache, mirrors: {docker.io: {url: 'http://127.0.0.1:5100'}}, \
                proxy: {enabled: true, max_size_mib: 64, memory_cache_mib: 8, ssl_bump: {mode: selective, domains: [bump.test]}}}";
    let world = World::start(Setup { pools, before, more: more.to_owned(), ..Setup::default() });
    world.wait(BOOT, "the proxy to answer", || {
        (world.json(&["cache", "status"])["registries"]["proxy"]["up"] == true).then_some(())
    });

    // Else no answer proves nothing.
    for address in HEARD {
        let url = format!("http://{address}/index.html");
        let direct = world.in_namespace(&["busybox", "wget", "-q", "-O", "-", &url]);
        assert_eq!(text(&direct.stdout).trim(), SECRET, "{address}: {}", text(&direct.stderr));
    }

    let script = format!(
        "set -e
         echo $HTTP_PROXY $https_proxy $NODE_EXTRA_CA_CERTS $JAVA_TOOL_OPTIONS; case $no_proxy in *172.30.0.1*) echo direct;; esac
         wget -qO- http://web.test/index.html
         head -n 1 /etc/ssl/certs/ca-certificates.crt
         echo Java trusts $(head -c 12 /etc/ssl/fireactions-cache.jks | tail -c 1 | od -An -td1)
         {TLS}
         echo \"opened: $(tls bump.test -CApath /etc/ssl/certs | tail -n 1)\"
         echo \"opened: $(tls bump.test -CAfile /etc/ssl/certs/ca-certificates.crt | tail -n 1)\"
         tls page.test -CApath /etc/ssl/certs | grep '^depth='
         asked=0
         for host in {inside}; do
           for ask in 'GET http://HOST/index.html HTTP/1.0' 'GET http://HOST:8080/index.html HTTP/1.0' 'CONNECT HOST:80 HTTP/1.0' 'CONNECT HOST:443 HTTP/1.0'; do
             ask=${{ask/HOST/$host}}
             said=$(printf '%s\\r\\n\\r\\nGET /index.html HTTP/1.0\\r\\n\\r\\n' \"$ask\" | nc -w 20 172.30.0.1 3128)
             case $said in '') echo \"$ask: no answer\";; *{SECRET}*) echo \"$ask: $said\";; esac
             asked=$((asked + 1))
           done
         done
         echo asked $asked times
         echo denied: $(printf 'GET http://169.254.169.254/ HTTP/1.0\\r\\n\\r\\n' | nc -w 20 172.30.0.1 3128 | head -n 1)",
        inside = INSIDE.join(" "),
    );
    let ran = world.cli(&["run", "--", "sh", "-c", &script]);
    let log = || fs::read_to_string(world.path("cache.log")).unwrap_or_default();
    assert_eq!(
        text(&ran.stdout),
        "http://172.30.0.1:3128 http://172.30.0.1:3128 /etc/ssl/fireactions-cache.pem \
         -Djavax.net.ssl.trustStore=/etc/ssl/fireactions-cache.jks\ndirect\nfrom the web\n# the image's own\nJava trusts 2\n\
         opened: from the web\nopened: from the web\ndepth=0 CN = web\nasked 88 times\ndenied: HTTP/1.1 403 Forbidden\r\n",
        "{}\n{}\n{}",
        text(&ran.stderr),
        world.log(),
        log()
    );
    // Its key is nobody else's.
    assert_eq!(
        text(&world.in_namespace(&["stat", "-c", "%a %U", "/mnt/cache/ca.key"]).stdout),
        "600 nobody\n"
    );
    end_cache(&world);

    // Another authority is there while the server runs: guests that start from now on trust that.
    let again = "rm /mnt/cache/ca.*; setsid sh /mnt/start </dev/null >/dev/null 2>&1 &";
    assert!(world.in_namespace(&["sh", "-c", again]).status.success());
    world.wait(SOON, "the server to see it", || {
        world.log().contains("new guests trust the proxy's authority").then_some(())
    });
    world.wait(SOON, "the proxy to answer", || answers(&world).then_some(()));
    let ran = world.cli(&[
        "run",
        "--",
        "sh",
        "-c",
        &format!("{TLS}\ntls bump.test -CApath /etc/ssl/certs | tail -n 1"),
    ]);
    assert_eq!(text(&ran.stdout), "from the web\n", "{}\n{}", text(&ran.stderr), log());
    end_cache(&world);
    world.finish();
}
