//! Forms of values as regular expressions, for editors. What the server goes by are the types' own checks; a test holds the
//! two against each other, so that an editor marks nothing that the server takes.

/// [`super::AbsolutePath`].
pub(super) const PATH: &str = r"^/(?!([\s\S]*/)?\.\.(/|$))";
/// [`super::CommandName`].
pub(super) const COMMAND: &str = r"^(/(?!([\s\S]*/)?\.\.(/|$))|[^/\s]+$)";
/// [`super::Duration`].
pub(super) const DURATION: &str = r"^(0|\s*([0-9][0-9\s]*(\.[0-9\s]+)?(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y)\s*)+)$";
/// [`super::ListenAddress`].
pub(super) const LISTEN: &str = r"^(|localhost|[0-9.]+|\[[0-9a-fA-F:.]+(%[0-9]+)?\]):[0-9]{1,5}$";
/// [`super::Mode`].
pub(super) const MODE: &str = "^(0o)?0?[0-7]{3}$";
/// A [`super::Mode`] without anything for everybody.
pub(super) const MODE_OF_GROUP: &str = "^(0o)?0?[0-7]{2}0$";
/// [`super::GroupName`].
pub(super) const GROUP: &str = "^[A-Za-z0-9._$][A-Za-z0-9._$-]{0,31}$";
/// [`super::SecretFile`].
pub(super) const SECRET: &str =
    r"^(/(?!([\s\S]*/)?\.\.(/|$))|credential:[A-Za-z0-9_@-][A-Za-z0-9._@-]{0,254}$)";
/// [`super::ApiTokenConfig::name`].
pub(super) const TOKEN_NAME: &str = "^[A-Za-z0-9._-]{1,63}$";
/// A name in [`super::OtlpConfig::resource`].
pub(super) const RESOURCE_KEY: &str = "^[A-Za-z0-9._-]{1,255}$";
/// [`super::BumpDomain`].
pub(super) const BUMP_DOMAIN: &str = r"^(?=.{1,253}$)\.?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*$";
/// [`super::ActionsCacheS3Config::bucket`].
pub(super) const BUCKET: &str = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$";
/// [`super::ActionsCacheS3Config::region`].
pub(super) const REGION: &str = "^[A-Za-z0-9-]{1,63}$";
/// [`super::ActionsCacheS3Config::prefix`].
pub(super) const PREFIX: &str = r"^(?!(.*/)?\.{1,2}(/|$))([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*/?)?$";
/// [`super::ActionsCacheS3Config::access_key_id`].
pub(super) const ACCESS_KEY: &str = "^[!-~]{1,128}$";
/// [`super::AppId`], where it is a text.
pub(super) const APP_ID: &str = "^(?!0$)[A-Za-z0-9.]{1,40}$";
/// [`super::HostPort`].
pub(super) const HOST_PORT: &str = "^(tcp|udp)/0*[1-9][0-9]{0,4}$";
/// [`fireactions_model::Label`].
pub(super) const LABEL: &str = r"^(?!\s)[^,]{1,256}(?<!\s)$";
/// Part of an IPv4 network.
pub(super) const NETWORK: &str = r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/([0-9]|[12][0-9]|3[0-2])$";
/// The machines' network.
pub(super) const SUBNET: &str = r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/([89]|1[0-9]|2[0-9])$";
/// The machines' IPv6 network.
pub(super) const SUBNET6: &str = "^[0-9A-Fa-f:.]{2,45}/(6[4-9]|[7-9][0-9]|10[0-4])$";
/// The bridge.
pub(super) const BRIDGE: &str = "^(?!fam)[A-Za-z][A-Za-z0-9_-]{0,14}$";
/// `vmm.cgroup_parent`.
pub(super) const CGROUP: &str = r"^(?!(.*/)?\.\.?(/|$))[A-Za-z0-9._@:-]+(/[A-Za-z0-9._@:-]+)*$";
/// A registry, `host[:port]`.
pub(super) const REGISTRY: &str = r"^[A-Za-z0-9.:\[\]-]{1,255}$";
/// [`super::RegistryName`].
pub(super) const REGISTRY_NAME: &str = r"^(?=.{1,255}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:0*[1-9][0-9]{0,4})?$";
/// [`super::WebhookConfig::path`].
pub(super) const WEBHOOK_PATH: &str = "^/[A-Za-z0-9/._~-]*$";
/// [`super::GuestDir`].
pub(super) const GUEST_DIR: &str = r"^(?!/(dev|proc|run|sys)(/|$))(?!.*/\.{1,2}(/|$))(/[!-.0-~]+)+$";
/// [`super::StickyKey`].
pub(super) const STICKY_KEY: &str = "^[A-Za-z0-9._-]{1,64}$";
/// The name of a [`super::ServiceConfig`].
pub(super) const SERVICE: &str = "^[A-Za-z0-9_-]{1,64}$";
/// [`super::ModuleName`].
pub(super) const MODULE: &str = "^[A-Za-z0-9_-]{1,55}$";
/// A line of kernel arguments.
pub(super) const KERNEL_ARGS: &str = r"^[^\x00-\x1f\x7f]*$";
/// An organization: at GitHub it is a [`LOGIN`], at Gitea and Forgejo it may have other characters first, and points.
pub(super) const ORGANIZATION: &str = r"^(?!\.+$)[A-Za-z0-9._-]{1,100}$";
/// An enterprise at GitHub.
pub(super) const LOGIN: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$";
/// A repository, with its owner.
pub(super) const REPOSITORY: &str = r"^(?!\.+/)[A-Za-z0-9._-]{1,100}/(?!\.\.?$)[A-Za-z0-9._-]{1,100}$";
/// A domain in `network.dns_search`.
pub(super) const DOMAIN: &str = r"^(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$";
/// A word of `network.dns_options`.
pub(super) const DNS_OPTION: &str = "^(?=.{1,40}$)[a-z][a-z0-9-]*(:[0-9]{1,3})?$";
/// An IPv4 address.
pub(super) const IPV4: &str = r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$";
/// [`super::NatsUrl`].
pub(super) const NATS_URL: &str = r"^\s*([nN][aA][tT][sS]|[tT][lL][sS])://[^/?#@]+/?\s*$";
/// [`super::ClusterHostConfig::zone`].
pub(super) const ZONE: &str = "^[A-Za-z0-9._-]{1,63}$";
