//! The configuration file as types. The doc comment of a field is its reference documentation: the page
//! `docs/reference/config.md` is generated from here.

mod actions_cache;
mod actions_cache_s3;
mod api_oidc;
mod api_token;
mod app_id;
mod cluster;
mod exclusive;
mod firecracker;
mod forge;
mod gitea;
mod github;
mod guest;
mod host;
mod images;
pub(crate) mod kernel_args;
mod local;
mod network;
mod on_failure;
mod patterns;
mod pool;
pub(crate) mod registry_cache;
mod runner_label;
mod scale_set;
mod server;
mod service;
mod start;
mod sticky;
mod telemetry;
mod urls;
mod values;
mod vmm;
pub(crate) mod web_proxy;
mod webhook;

pub use actions_cache::ActionsCacheConfig;
pub use actions_cache_s3::ActionsCacheS3Config;
pub use api_oidc::OidcConfig;
pub use api_token::{ApiRole, ApiTokenConfig};
pub use app_id::AppId;
pub use cluster::{ClusterConfig, ClusterHostConfig, NatsConfig, NatsTlsConfig, NatsUrl};
pub use firecracker::{CpuTemplate, FirecrackerConfig, HugePagesSetting, MachineConfig, MmdsSetting};
pub(crate) use forge::NoForge;
pub use forge::{ForgeConfig, ForgeRef};
pub use gitea::GiteaConfig;
pub use github::{GithubApp, GithubConfig};
pub use guest::{GuestDir, ModuleName};
pub use host::HostConfig;
pub use images::{ImageLimits, ImagesConfig};
pub use local::{LocalConfig, ShutdownConfig, ShutdownMode};
pub use network::NetworkConfig;
pub use on_failure::{HoldConfig, OnFailureSetting};
pub use pool::{
    DeadlinesConfig, HostPort, InitSetting, PoolConfig, PoolNetworkConfig, PullSetting, RunnerConfig,
    ScopeSetting, StartedBySetting,
};
pub use registry_cache::{CacheProgram, RegistryCacheConfig, RegistryName, Upstream, UpstreamConfig};
pub use runner_label::RunnerLabel;
pub use scale_set::ScaleSetSetting;
pub use server::{Config, LogFormat, LogLevel, MetricsConfig};
pub use service::{HttpConfig, ReadySetting, ServiceConfig, ServiceKeys};
pub use start::{DiskLimitsConfig, StartSetting};
pub use sticky::{StickyConfig, StickyDirConfig, StickyKey};
pub use telemetry::{OtlpConfig, OtlpProtocol, TelemetryConfig};
pub use values::{AbsolutePath, CommandName, Duration, GroupName, ListenAddress, Mode, SecretFile};
pub use vmm::{Accel, Driver, KernelConfig, VmmConfig};
pub use web_proxy::{BumpDomain, ProxyConfig, SslBumpConfig, SslBumpMode};
pub use webhook::WebhookConfig;
