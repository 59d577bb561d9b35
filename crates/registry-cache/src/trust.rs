//! What guests are told of the proxy: where it is, and whom to trust for what it opens.

use fireactions_guest_proto::{DropIn, Form, Meets};

use crate::Cache;

/// The authority's name. It is the same everywhere, for OpenSSL finds certificates by a hash of it.
pub const AUTHORITY: &str = "fireactions cache";
/// `openssl x509 -subject_hash` of that name.
const HASHED: &str = "/etc/ssl/certs/0d592cbf.0";
/// The certificate by itself, for programs that are told of a file.
const ALONE: &str = "/etc/ssl/fireactions-cache.pem";
/// With it all that the image trusts, for Java.
const JAVA: &str = "/etc/ssl/fireactions-cache.jks";

/// The environment of jobs: none where there is no proxy.
pub fn environment(cache: &Cache) -> Vec<(String, String)> {
    let Some(proxy) = &cache.proxy else { return Vec::new() };
    let (gateway, port) = (cache.gateway, proxy.port);
    // The proxy leads to none of these, and a pool may be allowed some.
    let direct = format!(
        "localhost,127.0.0.0/8,127.0.0.1,::1,169.254.169.254,{gateway},10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
    );
    let mut all = Vec::new();
    for (name, value) in [
        ("http_proxy", format!("http://{gateway}:{port}")),
        ("https_proxy", format!("http://{gateway}:{port}")),
        ("no_proxy", direct),
    ] {
        all.push((name.to_uppercase(), value.clone()));
        all.push((name.to_owned(), value));
    }
    all
}

/// The authority's certificate (PEM), where programs look for those that they trust, and the variables of those that look where a
/// variable says.
pub fn trusted(certificate: &str) -> Vec<DropIn> {
    let file = |path: &str, meets: Meets, readers: &[&str]| DropIn {
        path: path.to_owned(),
        text: certificate.to_owned(),
        meets,
        readers: readers.iter().map(|reader| (*reader).to_owned()).collect(),
        unless: Vec::new(),
        reload: None,
        form: Form::Text,
        variable: None,
    };
    // Debian's and Alpine's one, and RHEL's.
    let bundles = [
        ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs"),
        ("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/pki/ca-trust/extracted/pem"),
    ];
    // From these, the image's own tools make the bundles anew.
    let sources = [
        ("/usr/local/share/ca-certificates/fireactions-cache.crt", "/usr/local/share/ca-certificates"),
        ("/etc/pki/ca-trust/source/anchors/fireactions-cache.pem", "/etc/pki/ca-trust/source/anchors"),
    ];
    let variable = |name: &str, value: String| Some((name.to_owned(), value));
    let alone = DropIn {
        variable: variable("NODE_EXTRA_CA_CERTS", ALONE.to_owned()),
        ..file(ALONE, Meets::Stays, &["/etc"])
    };
    // Also where there is no Java yet: jobs fetch their own.
    let java = DropIn {
        form: Form::JavaKeyStore { bundles: bundles.map(|(path, _)| path.to_owned()).into() },
        variable: variable("JAVA_TOOL_OPTIONS", format!("-Djavax.net.ssl.trustStore={JAVA}")),
        ..file(JAVA, Meets::Stays, &["/etc"])
    };
    let mut files = vec![alone, file(HASHED, Meets::Stays, &["/etc/ssl/certs"]), java];
    files.extend(sources.map(|(path, directory)| file(path, Meets::Stays, &[directory])));
    files.extend(bundles.map(|(path, directory)| file(path, Meets::Appended, &[directory])));
    files
}
