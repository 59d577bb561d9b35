//! Squid as the guests' proxy to the web, and to nothing else.

use std::net::IpAddr;
use std::path::Path;

use crate::Cache;

/// What is not the internet's: the engine's list of what guests reach only where their pool allows it (crates/net), and the same of IPv6.
pub const INSIDE: [&str; 24] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
    "::/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2001::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

/// The proxy of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its port at the gateway.
    pub port: u16,
    /// What it opens.
    pub bump: Bump,
    /// Most that it keeps on the disk, in MiB.
    pub max_size_mib: u64,
    /// Memory for small objects, in MiB.
    pub memory_cache_mib: u64,
    /// The guests' networks: the first is the one that they ask from.
    pub guests: Vec<String>,
}

/// Which https connections are opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bump {
    /// None.
    Off,
    /// Those to these servers.
    Selective(Vec<String>),
    /// All.
    All,
}

/// What Squid needs of the host.
#[derive(Debug, Clone, Copy)]
pub struct SquidFiles<'a> {
    /// The authority's certificate.
    pub certificate: &'a Path,
    /// Its key.
    pub key: &'a Path,
    /// The program that makes certificates.
    pub certgen: &'a Path,
    /// The directory in which that keeps them.
    pub made: &'a Path,
    /// The host's own addresses, some of which may be the internet's.
    pub host: &'a [IpAddr],
}

/// Squid's configuration; nothing where there is no proxy.
pub fn squid(cache: &Cache, files: SquidFiles<'_>) -> Option<String> {
    let proxy = cache.proxy.as_ref()?;
    let mut listen = format!("http_port {}:{}", cache.gateway, proxy.port);
    let mut opens = Vec::new();
    if proxy.bump != Bump::Off {
        let (cert, key) = (files.certificate.display(), files.key.display());
        listen = format!(
            "{listen} ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=16MB tls-cert={cert} tls-key={key}"
        );
        opens.push(format!(
            "sslcrtd_program {} -s {} -M 16MB",
            files.certgen.display(),
            files.made.display()
        ));
        opens.push("acl step1 at_step SslBump1".to_owned());
        let what = match &proxy.bump {
            Bump::Selective(domains) => {
                opens.push(format!("acl bumped ssl::server_name {}", domains.join(" ")));
                "bumped"
            }
            Bump::Off | Bump::All => "all",
        };
        opens.push("ssl_bump peek step1".to_owned());
        opens.push(format!("ssl_bump bump {what}"));
        opens.push("ssl_bump splice all".to_owned());
    }
    // Apart from the list: Squid warns of a network in one that has it already.
    let own = proxy.guests.iter().cloned().chain(files.host.iter().map(ToString::to_string));
    let own: Vec<_> = own.collect();
    let lines = [
        vec!["# Made from registry_cache.proxy.".to_owned(), listen],
        opens,
        vec![
            format!("acl guests src {}", proxy.guests.first().map_or("none", String::as_str)),
            "acl web_ports port 80 443".to_owned(),
            "acl tls_ports port 443".to_owned(),
            "http_access deny manager".to_owned(),
            "http_access deny !guests".to_owned(),
            "http_access deny !web_ports".to_owned(),
            "http_access deny CONNECT !tls_ports".to_owned(),
            "# The host, its networks and other guests are nobody's to ask for by this way.".to_owned(),
            format!("acl inside dst {}", INSIDE.join(" ")),
            format!("acl own dst {}", own.join(" ")),
            "http_access deny inside".to_owned(),
            "http_access deny own".to_owned(),
            "http_access allow guests".to_owned(),
            "http_access deny all".to_owned(),
            "# What a name was found to be when it was judged, it is when it is asked.".to_owned(),
            "negative_dns_ttl 1 minute".to_owned(),
            "maximum_object_size 5 GB".to_owned(),
            "maximum_object_size_in_memory 10 MB".to_owned(),
            format!("cache_dir aufs {} {} 16 256", cache.directory("squid").display(), proxy.max_size_mib),
            format!("cache_mem {} MB", proxy.memory_cache_mib),
            "cache_replacement_policy lru".to_owned(),
            "visible_hostname fireactions-cache".to_owned(),
            "forwarded_for delete".to_owned(),
            "httpd_suppress_version_string on".to_owned(),
            "access_log none".to_owned(),
            "cache_log /dev/null".to_owned(),
            "cache_store_log none".to_owned(),
            "pid_filename none".to_owned(),
            "pinger_enable off".to_owned(),
            format!("coredump_dir {}", cache.directory("squid").display()),
            "shutdown_lifetime 3 seconds".to_owned(),
            String::new(),
        ],
    ];
    Some(lines.concat().join("\n"))
}
