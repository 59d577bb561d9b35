//! The proxy for the web of guests, as NixOS hosts have it: the real Squid with its configuration, redirect and authority, and a client in
//! a guest's place that tries to get through it to where no guest may go.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fireactions_testkit::real_gitea::wait_for;
use fireactions_testkit::skip;
use nix::sched::{CloneFlags, setns};

use crate::namespace::Namespace;
use crate::world::text;

/// Where a server of the internet is, an address of the internet to which no way leads, and the host's own there.
const WEB: &str = "93.184.216.34";
const NOBODY: &str = "93.184.217.99";
const PUBLIC: &str = "93.184.216.1";

/// What servers are in the host's place where no guest may go: its own, its networks', and other guests of both bridges. The
/// metadata address is no way through the proxy either.
const INSIDE: [&str; 10] = [
    "127.0.0.1",
    "10.200.0.1",
    "10.200.0.3",
    "10.201.0.5",
    "192.168.7.1",
    "169.254.169.254",
    "::1",
    "fd00::7",
    "100.64.0.7",
    PUBLIC,
];

/// Names of an attacker's, and what they resolve to: all of it to be had from the same server of names.
fn names() -> BTreeMap<String, Vec<IpAddr>> {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let mut names = BTreeMap::from([
        ("web.test".to_owned(), vec![ip(WEB)]),
        ("page.bump.test".to_owned(), vec![ip(WEB)]),
        ("mapped.test".to_owned(), vec![IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped())]),
    ]);
    // A name that is an address inside, and one that is a server outside, too, which does not answer.
    for (number, inside) in INSIDE.into_iter().enumerate() {
        names.insert(format!("one{number}.test"), vec![ip(inside)]);
        names.insert(format!("two{number}.test"), vec![ip(NOBODY), ip(inside)]);
    }
    names
}

/// The squid that `scripts/setup --test` unpacks, or the host's: the program, the directory of its helpers, and what else it is told.
fn squid() -> Option<(PathBuf, PathBuf, PathBuf)> {
    let cache = std::env::var("FIREACTIONS_CACHE").unwrap_or_else(|_| "/var/cache/fireactions".to_owned());
    let unpacked = Path::new(&cache).join("tools/usr");
    [unpacked, PathBuf::from("/usr")].into_iter().find_map(|top| {
        let helpers = top.join("lib/squid");
        let whole = top.join("sbin/squid").exists() && helpers.join("security_file_certgen").exists();
        whole.then(|| (top.join("sbin/squid"), helpers, top))
    })
}

/// What an expression is, with the files that tests have for modules.
fn evaluated(expression: &str) -> String {
    let expression = format!("with import ./tests/nix/pure.nix; {expression}");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new("nix-instantiate");
    command.args(["--eval", "--strict", "--json", "--expr", &expression]).current_dir(repository);
    let output = command.output().expect("nix-instantiate (make setup installs it)");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

/// Answers for names of [`names`], and for no others.
fn serve_names(socket: UdpSocket) {
    let names = names();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let (mut at, mut labels) = (12, Vec::new());
            while buffer[at] != 0 {
                let end = at + 1 + usize::from(buffer[at]);
                labels.push(String::from_utf8_lossy(&buffer[at + 1..end]).into_owned());
                at = end;
            }
            let question = &buffer[12..at + 5];
            let wanted = u16::from_be_bytes([buffer[at + 1], buffer[at + 2]]);
            assert!(at + 5 <= length);
            let mut records = Vec::new();
            let mut count = 0_u8;
            for address in names.get(&labels.join(".")).into_iter().flatten() {
                let (kind, data) = match address {
                    IpAddr::V4(ip) => (1_u16, ip.octets().to_vec()),
                    IpAddr::V6(ip) => (28, ip.octets().to_vec()),
                };
                if kind != wanted {
                    continue;
                }
                count += 1;
                records.extend([0xc0, 12]);
                records.extend(kind.to_be_bytes());
                // Class, and a time to live of 0: the next answer may be another.
                records.extend([0, 1, 0, 0, 0, 0, 0, u8::try_from(data.len()).unwrap()]);
                records.extend(data);
            }
            let header = [buffer[0], buffer[1], 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0];
            let _ = socket.send_to(&[&header, question, &records].concat(), from);
        }
    });
}

/// Answers with where it is, and notes that somebody was there.
fn serve_web(listener: TcpListener, name: String, reached: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            reached.lock().unwrap().push(name.clone());
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            let body = format!("reached {name}\n");
            let now = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nDate: {now}\r\nContent-Length: {}\r\nCache-Control: max-age=600\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
}

struct Lab {
    dir: tempfile::TempDir,
    namespace: Namespace,
    children: Vec<Child>,
    reached: Arc<Mutex<Vec<String>>>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Lab {
    fn new(program: &Path, helpers: &Path, top: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        // Squid is not root where it works.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["cache/squid", "log", "state", "squid"] {
            fs::create_dir_all(path.join(name)).unwrap();
        }
        symlink(helpers, path.join("squid/libexec")).unwrap();
        let here = path.display();
        let given = format!(
            r#"squid = {{ memoryCache = "16MB"; sslBump = {{ mode = "selective"; domains = [ ".bump.test" ]; }}; }};
               storage = {{ cacheDir = "{here}/cache"; maxSize = "64MB"; }}; dns.upstreamServers = [ "127.0.0.1" ];
               logging = {{ accessLog = "{here}/log/access.log"; cacheLog = "{here}/log/cache.log"; }};"#
        );
        let config = evaluated(&format!(
            r#"cache.squid {{ cfg = cacheCfg {{ {given} }}; networks = cacheNetworks; squid = "{here}/squid"; state = "{here}/state";
               certificate = "{here}/state/ca.pem"; key = "{here}/state/ca.key"; }}"#
        ));
        // Debian's user, and the files that are elsewhere when a package is only unpacked. No rule of access is touched.
        let config = config.replace("cache_effective_user squid", "cache_effective_user proxy");
        let (share, helpers) = (top.join("share").display().to_string(), helpers.display());
        let config = format!(
            "{config}mime_table {share}/squid/mime.conf\nicon_directory {share}/squid/icons\nerror_directory {share}/squid-langpack/en\n\
             unlinkd_program {helpers}/unlinkd\npinger_enable off\nvisible_hostname cache.test\n\
             tls_outgoing_options cafile={here}/web.pem\n"
        );
        fs::write(path.join("squid.conf"), config).unwrap();
        let redirect = evaluated(&format!(
            "cache.redirect {{ cfg = cacheCfg {{ {given} }}; networks = cacheNetworks; }}"
        ));
        fs::write(path.join("redirect.nft"), format!("table ip registry_cache_nat {{\n{redirect}\n}}\n"))
            .unwrap();

        let mut addresses = String::new();
        let there = ["127.0.0.1", "::1", "10.200.0.1", PUBLIC];
        for address in INSIDE.iter().filter(|address| !there.contains(*address)) {
            let bits = if address.contains(':') { 128 } else { 32 };
            let _ = writeln!(addresses, "ip addr add {address}/{bits} dev lo");
        }
        let namespace = Namespace::new(&format!(
            "mount -t tmpfs run /run; mkdir /run/registry-cache
             {addresses}
             for of in fireactions0=10.200.0.1 fireteact0=10.201.0.1; do
               ip link add ${{of%=*}} type bridge; ip addr add ${{of#*=}}/24 dev ${{of%=*}}; ip link set ${{of%=*}} up; done
             ip netns add web; ip link add out type veth peer name eth0 netns web
             ip addr add {PUBLIC}/24 dev out; ip link set out up; ip -n web addr add {WEB}/24 dev eth0; ip -n web link set eth0 up
             ip netns add guest; ip link add host type veth peer name eth0 netns guest
             ip link set host master fireactions0 up
             ip -n guest addr add 10.200.0.2/24 dev eth0; ip -n guest link set lo up; ip -n guest link set eth0 up
             ip -n guest route add default via 10.200.0.1
             echo 1 >/proc/sys/net/ipv4/ip_forward
             nft -f {here}/redirect.nft
             sh {make} {here}/state 30 2>/dev/null
             openssl req -new -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=web -keyout {here}/web.key -out {here}/web.pem \\
               -addext subjectAltName=DNS:page.bump.test,DNS:web.test 2>/dev/null
             LD_LIBRARY_PATH={libraries} {helpers}/security_file_certgen -c -s {here}/state/ssl_db -M 16MB >/dev/null
             chown -R proxy {here}/cache {here}/log {here}/state /run/registry-cache",
            make = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../nix/make-authority.sh").display(),
            libraries = libraries(top),
        ));
        let reached: Arc<Mutex<Vec<String>>> = Arc::default();
        serve_names(namespace.inside(|| UdpSocket::bind("127.0.0.1:53").unwrap()));
        for (address, port) in INSIDE.iter().flat_map(|address| [(address, 80), (address, 443)]) {
            let ip: IpAddr = address.parse().unwrap();
            let listener = namespace.listen(SocketAddr::from((ip, port)));
            serve_web(listener, (*address).to_owned(), Arc::clone(&reached));
        }
        let web = namespace.root().join("run/netns/web");
        let listen = move || {
            setns(File::open(web).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            TcpListener::bind((WEB, 80)).unwrap()
        };
        serve_web(std::thread::spawn(listen).join().unwrap(), WEB.to_owned(), Arc::clone(&reached));
        let mut lab = Self { dir, namespace, children: Vec::new(), reached };
        let at = format!("{WEB}:443");
        let (key, pem) = (format!("{here}/web.key"), format!("{here}/web.pem"));
        let mut server = lab.namespace.command("ip");
        server.args([
            "netns", "exec", "web", "openssl", "s_server", "-www", "-quiet", "-accept", &at, "-key", &key,
            "-cert", &pem,
        ]);
        lab.start(&mut server);
        let conf = format!("{here}/squid.conf");
        let with = |namespace: &Namespace, arguments: &[&str]| {
            let mut command = namespace.command(program.to_str().unwrap());
            command.args(arguments).args(["-f", &conf]).env("LD_LIBRARY_PATH", libraries(top));
            command
        };
        let made = with(&lab.namespace, &["-N", "-z"]).output().unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
        let mut squid = with(&lab.namespace, &["-N"]);
        lab.start(&mut squid);
        wait_for(Duration::from_secs(60), "squid to listen", || {
            lab.namespace.inside(|| TcpStream::connect("127.0.0.1:3127")).ok()
        });
        lab
    }

    fn start(&mut self, command: &mut Command) {
        self.children.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    /// What a guest's curl gets, with the head of the answer.
    fn guest(&self, arguments: &[&str]) -> String {
        let mut command = self.namespace.command("ip");
        command
            .args(["netns", "exec", "guest", "curl", "-s", "-g", "-i", "--max-time", "10"])
            .args(arguments);
        text(&command.output().unwrap().stdout)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log/access.log")).unwrap_or_default()
    }
}

fn libraries(top: &Path) -> String {
    format!("{0}/lib/x86_64-linux-gnu:{0}/lib/aarch64-linux-gnu", top.display())
}

#[test]
fn guests_reach_the_web_by_it_and_nothing_else() {
    let Some((program, helpers, top)) = squid() else {
        let why = "there is no squid with OpenSSL (`scripts/setup --test` fetches Debian's squid-openssl)";
        skip::say(skip::Kind::Squid, "guests_reach_the_web_by_it_and_nothing_else", why);
        return;
    };
    let lab = Lab::new(&program, &helpers, &top);

    // The second answer is the cache's.
    for (hit, said) in ["X-Cache: MISS from cache.test", "X-Cache: HIT from cache.test"]
        .iter()
        .zip([0, 1].map(|_| lab.guest(&["-H", "Host: web.test", &format!("http://{WEB}/")])))
    {
        assert!(said.contains(&format!("reached {WEB}")) && said.contains(hit), "{said}\n{}", lab.log());
    }
    // What is opened has the host's authority's certificate; everything else has the server's own.
    let ca = lab.dir.path().join("state/ca.pem").display().to_string();
    let web = lab.dir.path().join("web.pem").display().to_string();
    let tls = |name: &str, ca: &str| {
        let resolve = format!("{name}:443:{WEB}");
        lab.guest(&["--resolve", &resolve, "--cacert", ca, &format!("https://{name}/")])
    };
    assert!(tls("page.bump.test", &ca).contains("200 "), "{}", lab.log());
    assert!(tls("web.test", &web).contains("200 "), "{}", lab.log());
    assert_eq!((tls("page.bump.test", &web), tls("web.test", &ca)), (String::new(), String::new()));

    // What is not the internet's is not led to the proxy: the metadata service, the gateway, private networks, which a pool may be
    // allowed, and the host itself. The server's own rules say who gets there, and here are none.
    let before = lab.log();
    for address in [
        "169.254.169.254",
        "10.200.0.1",
        "10.200.0.3",
        "10.201.0.1",
        "10.201.0.5",
        "192.168.7.1",
        "100.64.0.7",
        PUBLIC,
    ] {
        let _ = lab.guest(&["-H", "Host: web.test", &format!("http://{address}/")]);
        let _ = lab.guest(&["-k", "--resolve", &format!("web.test:443:{address}"), "https://web.test/"]);
    }
    assert_eq!(lab.log(), before, "by the proxy");
    assert!(lab.reached.lock().unwrap().iter().any(|name| name == "169.254.169.254"));
    lab.reached.lock().unwrap().clear();

    let proxies = ["http://10.200.0.1:3128", "http://10.201.0.1:3128"];
    let mut tried = 0;
    let mut probe = |arguments: &[&str]| {
        let said = lab.guest(arguments);
        let reached = std::mem::take(&mut *lab.reached.lock().unwrap());
        let inside = reached.iter().find(|name| *name != WEB);
        assert!(
            inside.is_none() && !said.contains("reached 1"),
            "{arguments:?} reached {reached:?}: {said}\n{}",
            lab.log()
        );
        tried += 1;
    };
    // By address, in every form that there is.
    let mut hosts: Vec<String> = INSIDE
        .iter()
        .map(|address| if address.contains(':') { format!("[{address}]") } else { (*address).to_owned() })
        .collect();
    let mapped = |ip: [u8; 4]| format!("[{}]", Ipv4Addr::from(ip).to_ipv6_mapped());
    hosts.extend([mapped([127, 0, 0, 1]), mapped([192, 168, 7, 1]), mapped([10, 200, 0, 1])]);
    hosts.extend(
        ["0.0.0.0", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::]", "localhost"]
            .map(str::to_owned),
    );
    hosts.push(format!("[{}]", Ipv6Addr::from([0x64, 0xff9b, 0, 0, 0, 0, 0x7f00, 1])));
    // And by names.
    hosts.extend(names().into_keys().filter(|name| !name.starts_with("web.") && !name.starts_with("page.")));
    for host in &hosts {
        // As a proxy that is told of, with and without a tunnel.
        probe(&["-x", proxies[0], &format!("http://{host}/")]);
        for port in [80, 443] {
            probe(&["-p", "-x", proxies[0], &format!("http://{host}:{port}/")]);
        }
        // As the redirect leads there: to a server of the web by address, whatever is said in the head.
        probe(&["-H", &format!("Host: {host}"), &format!("http://{WEB}/")]);
        probe(&["-H", &format!("Host: {host}"), &format!("http://{NOBODY}/")]);
        // And as if the proxy were a server.
        probe(&["-H", &format!("Host: {host}"), &format!("{}/", proxies[0])]);
    }
    // Also where somebody's own rules lead more to it.
    let more = "table ip more { chain prerouting { type nat hook prerouting priority dstnat - 1; ip daddr 10.200.0.1 accept
                iifname fireactions0 tcp dport 80 redirect to :3128; iifname fireactions0 tcp dport 443 redirect to :3129; }; }";
    assert!(lab.namespace.command("nft").arg(more).status().unwrap().success());
    for address in ["10.200.0.3", "10.201.0.1", "10.201.0.5", "192.168.7.1", "100.64.0.7", "169.254.169.254"]
    {
        probe(&["-H", "Host: web.test", &format!("http://{address}/")]);
        for name in ["web.test", "page.bump.test"] {
            probe(&["-k", "--resolve", &format!("{name}:443:{address}"), &format!("https://{name}/")]);
        }
    }
    probe(&[&format!("{}/squid-internal-mgr/info", proxies[0])]);
    probe(&["-x", proxies[1], "http://127.0.0.1/"]);
    assert!(tried > 200, "{tried}");
}
