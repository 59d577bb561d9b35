//! The bucket in which several hosts have the cache of CI jobs together.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::urls::web_url;
use super::{AbsolutePath, SecretFile, patterns};

/// A bucket of S3, which hosts share: what a job saves on one of them, a job on another finds. The server needs the rights to list the
/// bucket, and to read, write and remove its objects. Hosts that share one have the same limits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionsCacheS3Config {
    /// Name of the bucket, which must exist.
    #[schemars(extend("pattern" = patterns::BUCKET), example = &"ci-cache")]
    pub bucket: String,
    /// URL of the server: `https://HOST` or `https://HOST:PORT`. When absent, that of AWS in the region. It must know conditional writes
    /// (`If-None-Match`), as AWS, MinIO, Ceph, Cloudflare R2 and VersityGW do.
    #[serde(default, deserialize_with = "url")]
    #[schemars(with = "Option<String>", extend("format" = "uri"), example = "https://s3.example.com")]
    pub endpoint: Option<Url>,
    /// Region of the bucket.
    #[serde(default = "ActionsCacheS3Config::usual_region")]
    #[schemars(extend("pattern" = patterns::REGION), example = &"eu-central-1")]
    pub region: String,
    /// What the names of all objects begin with, so that the bucket may have others, too: up to 256 of `A-Z a-z 0-9 . _ -`, with `/`
    /// between words.
    #[serde(default)]
    #[schemars(length(max = 256), extend("pattern" = patterns::PREFIX), example = &"ci/cache")]
    pub prefix: String,
    /// The id of the access key.
    #[schemars(extend("pattern" = patterns::ACCESS_KEY), example = &"AKIAIOSFODNN7EXAMPLE")]
    pub access_key_id: String,
    /// File with the key's secret: an absolute path, or `credential:NAME`. It is read when the server starts.
    #[schemars(example = "credential:s3-secret")]
    pub secret_access_key_file: SecretFile,
    /// Certificates (PEM) of authorities to trust in addition to the usual ones.
    #[schemars(example = "/etc/ssl/certs/company.pem")]
    pub ca_file: Option<AbsolutePath>,
    /// Whether the bucket's name is in the path (`https://HOST/BUCKET`). If not, it is a part of the host's name (`https://BUCKET.HOST`).
    #[serde(default = "ActionsCacheS3Config::usual_path_style")]
    pub path_style: bool,
    /// Allows an `endpoint` that begins with `http://`. Anybody on the network path can then read and change what jobs save. Loopback
    /// addresses are always allowed.
    #[serde(default)]
    pub insecure_http: bool,
}

impl ActionsCacheS3Config {
    fn usual_region() -> String {
        "us-east-1".to_owned()
    }

    const fn usual_path_style() -> bool {
        true
    }
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| web_url(&text, "https://HOST, such as https://s3.example.com")).transpose()
}
