//! `fireactions host deploy`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use fireactions_fleet::deploy::{Plan, SSH, Wish, arguments, plan};
use fireactions_fleet::doctor::Severity;
use fireactions_fleet::facts::Facts;
use fireactions_fleet::host::{Address, HostName, user_name};
use fireactions_fleet::installer::{self, Ended as Installed};
use fireactions_fleet::keys;
use fireactions_fleet::prerequisites;
use fireactions_fleet::provider::{Arch, Provider, ProviderChoice};
use fireactions_fleet::registry::{Host, Hosts};
use fireactions_fleet::ssh::Ssh;
use fireactions_model::ExponentialBackoff;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::super::edge::advise;
use super::super::{Ended, show};
use super::register::{is_free, now};
use super::stop::Stop;
use super::wanted_tags::WantedTags;
use super::{Flake, age_key, confirm, words};

/// What is run where no other program is named.
const NIXOS_ANYWHERE: [&str; 6] = [
    "nix",
    "--extra-experimental-features",
    "nix-command flakes",
    "run",
    "github:nix-community/nixos-anywhere",
    "--",
];
/// A server's firmware takes minutes.
const REBOOT: Duration = Duration::from_secs(300);
/// 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// IP address or DNS name of the host
    #[arg(value_name = "ADDRESS")]
    address: Address,
    /// Where it runs: do (/dev/vda), hetzner (/dev/sda), generic (/dev/vda), nvme (/dev/nvme0n1), baremetal (/dev/sda), or
    /// auto: the one that the host looks like
    #[arg(short, long, value_name = "PROVIDER", default_value = "baremetal")]
    provider: ProviderChoice,
    /// Name of the host [default: PROVIDER-LAST_PART_OF_ADDRESS]
    #[arg(short, long, value_name = "NAME")]
    name: Option<HostName>,
    #[command(flatten)]
    tags: WantedTags,
    /// Its architecture: x86_64 or aarch64
    #[arg(short, long, value_name = "ARCH", default_value = "x86_64")]
    arch: Arch,
    /// User who logs in for the installation: root, or one who may run sudo without a password (`nixos` in the installer)
    #[arg(short, long, value_name = "USER", default_value = "root", value_parser = user_name)]
    user: String,
    /// Log in with the password in the environment variable SSHPASS
    #[arg(long)]
    env_password: bool,
    /// The host runs the NixOS installer already: do not start it
    #[arg(long)]
    no_kexec: bool,
    /// File with the public keys that log in to the new host as root [default: those that log in to the host now, else ~/.ssh/*.pub]
    #[arg(long, value_name = "FILE")]
    authorized_keys: Option<PathBuf>,
    /// Do not ask before the host is erased
    #[arg(short, long)]
    yes: bool,
    /// Option for ssh, as after `ssh -o`; can be given several times. `Port=PORT` is where the host listens now
    #[arg(long = "ssh-option", value_name = "KEY=VALUE")]
    ssh_options: Vec<String>,
    /// Where the host listens once the installer has replaced what runs now, and afterwards: another port than 22 behind a forwarded one
    #[arg(long, value_name = "PORT", default_value_t = SSH, value_parser = clap::value_parser!(u16).range(1..))]
    post_kexec_ssh_port: u16,
    /// Program to install with [default: nix run github:nix-community/nixos-anywhere]
    #[arg(long, value_name = "PROGRAM", env = "FIREACTIONS_NIXOS_ANYWHERE", hide_env_values = true)]
    nixos_anywhere: Option<String>,
    /// More arguments for nixos-anywhere
    #[arg(last = true, value_name = "ARGS")]
    more: Vec<String>,
}

pub(super) async fn run(flake: &Flake, args: Args) -> Ended {
    if args.env_password && std::env::var_os("SSHPASS").is_none_or(|password| password.is_empty()) {
        return Err(advise(
            "--env-password: there is no SSHPASS in the environment",
            "`SSHPASS=… fireactions host deploy --env-password …`",
        ));
    }
    if let ProviderChoice::Given(provider) = args.provider {
        provider.offers(args.arch)?;
    }
    let tags = args.tags.check(flake)?;
    let reference = flake.reference()?;
    let name = args.name.clone().map_or_else(|| default_name(args.provider, &args.address), Ok)?;
    let registry = flake.registry();
    let hosts = registry.read().map_err(|error| words::registry(&error))?;
    is_free(&hosts, name.as_str(), args.address.as_str())?;
    // One disk is not erased by two at once.
    let lock = format!("deploy-{}", args.address);
    let _lock = registry.lock(&lock, Duration::ZERO).map_err(|error| {
        advise(format!("another deployment to {} runs: {error}", args.address), error.advice())
    })?;
    // A mistake here is told before anybody is asked anything.
    let named = args.authorized_keys.as_deref().map(named_keys).transpose()?;
    let wish = Wish {
        name,
        address: args.address,
        provider: args.provider,
        arch: args.arch,
        user: args.user,
        password: args.env_password,
        kexec: !args.no_kexec,
        ssh_options: args.ssh_options,
        new_port: args.post_kexec_ssh_port,
        more: args.more,
    };

    let ssh = Ssh::new(&wish.user, &wish.address, &wish.ssh_options, wish.password)
        .map_err(|error| words::ssh(&error))?;
    // The host has another key once it is installed.
    let ssh = ssh.forgetful();
    let facts = ssh.facts().await.map_err(|error| words::ssh(&error))?;
    let here = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let plan =
        plan(&wish, &facts, here.trim()).map_err(|refusal| advise(refusal.to_string(), refusal.advice()))?;
    fits(&facts)?;
    let keys = match named {
        Some(keys) => keys,
        None => found_keys(&ssh).await?,
    };
    // A droplet has those that DigitalOcean knows, by cloud-init.
    if keys.is_empty() && plan.provider != Provider::Do {
        return Err(advise(
            format!("nobody could log in to {} afterwards: there is no public key", wish.address),
            "name a file with --authorized-keys FILE, or make a key with `ssh-keygen`",
        ));
    }
    let files = extra_files(&keys).context("the new host's keys cannot be prepared")?;
    show::line(&tell(&wish, &plan, &facts, &keys, hosts.get(wish.name.as_str()), tags.as_deref()))?;
    if !args.yes {
        confirm::ask(&format!("Erase /dev/{} of {} and install NixOS?", plan.disk.name, wish.address))?;
    }

    let mut stop = Stop::listen()?;
    let told = arguments(&wish, &plan, &reference, files.as_ref().map(TempDir::path));
    if let Some(code) = install(args.nixos_anywhere.as_deref(), &told, &wish, &mut stop).await? {
        return Ok(code);
    }
    let put = |hosts: &mut Hosts| {
        is_free(hosts, wish.name.as_str(), wish.address.as_str())?;
        let host = entry(hosts.get(wish.name.as_str()), &wish, &plan, tags);
        hosts.put(wish.name.as_str(), host);
        Ok(())
    };
    registry.update(put).map_err(words::update).with_context(|| {
        format!(
            "NixOS is installed on {}, but the host is not registered (`fireactions host register` does it)",
            wish.address
        )
    })?;
    show::note(&format!("host '{}' is installed and registered; it reboots now", wish.name));
    let key = tokio::select! {
        key = age_key_after_reboot(&wish) => key,
        () = stop.said() => Err(anyhow!("nobody waited for it")),
    };
    show::line(&next_steps(&wish.name, key))?;
    Ok(ExitCode::SUCCESS)
}

/// The keys of a file that somebody named.
fn named_keys(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("--authorized-keys {} cannot be read", file.display()))?;
    let keys = keys::parse(&text);
    if keys.is_empty() {
        return Err(advise(
            format!("--authorized-keys {} has no public key", file.display()),
            "each line is one, as in ~/.ssh/id_ed25519.pub",
        ));
    }
    Ok(keys)
}

/// Whoever can log in to the host now, else the operator.
async fn found_keys(ssh: &Ssh) -> anyhow::Result<Vec<String>> {
    let there = keys::parse(&ssh.authorized_keys().await.map_err(|error| words::ssh(&error))?);
    if !there.is_empty() {
        return Ok(there);
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    Ok(home.map(|home| keys::own(&home.join(".ssh"))).unwrap_or_default())
}

/// What is copied into the new system. It is removed when it is dropped.
fn extra_files(keys: &[String]) -> std::io::Result<Option<TempDir>> {
    if keys.is_empty() {
        return Ok(None);
    }
    let dir = tempfile::tempdir()?;
    keys::write(dir.path(), keys)?;
    Ok(Some(dir))
}

fn default_name(provider: ProviderChoice, address: &Address) -> anyhow::Result<HostName> {
    let provider = match provider {
        ProviderChoice::Given(provider) => provider.as_str(),
        ProviderChoice::Auto => "host",
    };
    let name = address.short().and_then(|short| format!("{provider}-{short}").to_lowercase().parse().ok());
    name.ok_or_else(|| advise(format!("no name follows from {address}"), "give the host one with --name"))
}

/// Refuses what the doctor calls an error, and mentions what it warns of.
fn fits(facts: &Facts) -> anyhow::Result<()> {
    for finding in prerequisites::judge(facts).findings {
        let advice = finding.advice.unwrap_or_default();
        match finding.severity {
            Severity::Ok => {}
            Severity::Warning => show::note(&format!("{}: {} ({advice})", finding.check, finding.found)),
            Severity::Error => return Err(advise(format!("{}: {}", finding.check, finding.found), advice)),
        }
    }
    Ok(())
}

/// What is there and what will be.
fn tell(
    wish: &Wish,
    plan: &Plan,
    facts: &Facts,
    keys: &[String],
    before: Option<&Host>,
    tags: Option<&[String]>,
) -> String {
    let others: Vec<String> =
        plan.others.iter().map(|disk| format!("/dev/{} ({} GiB)", disk.name, disk.gib)).collect();
    let tags = tags
        .map_or_else(|| before.map(|host| host.tags.join(", ")).unwrap_or_default(), |tags| tags.join(", "));
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let mut rows = vec![
        ("host", format!("{} ({}@{})", wish.name, wish.user, wish.address)),
        (
            "is now",
            format!(
                "'{}', {}, {} MiB of memory",
                facts.get("host"),
                or_none(facts.get("os").to_owned()),
                facts.get("mem_mib")
            ),
        ),
        ("becomes", format!("{}, provider {}", plan.provider.target(wish.arch), plan.provider)),
        ("tags", or_none(tags)),
        ("ERASED", format!("/dev/{} ({} GiB), with everything on it", plan.disk.name, plan.disk.gib)),
        ("left alone", or_none(others.join(", "))),
        (
            "logs in",
            if keys.is_empty() {
                "root, with the keys of the provider".to_owned()
            } else {
                format!("root, with {}", shown(keys))
            },
        ),
    ];
    if let Some(before) = before {
        rows.push((
            "registry",
            format!("'{}' is there already ({}); its entry is changed", wish.name, before.hostname),
        ));
    }
    show::rows(&rows)
}

/// Keys by their comments, which people know them by.
fn shown(keys: &[String]) -> String {
    let names: Vec<String> = keys
        .iter()
        .map(|key| match key.splitn(3, char::is_whitespace).collect::<Vec<_>>()[..] {
            [kind, _, comment] => format!("{comment} ({kind})"),
            [kind, ..] => format!("a key without a comment ({kind})"),
            [] => String::new(),
        })
        .collect();
    names.join(", ")
}

/// Runs the installer. An exit code: it was interrupted.
async fn install(
    program: Option<&str>,
    arguments: &[String],
    wish: &Wish,
    stop: &mut Stop,
) -> anyhow::Result<Option<ExitCode>> {
    let (program, mut all) = match program {
        Some(program) => (program, Vec::new()),
        None => (NIXOS_ANYWHERE[0], NIXOS_ANYWHERE[1..].iter().map(|word| (*word).to_owned()).collect()),
    };
    all.extend(arguments.iter().cloned());
    let ended = installer::run(program, &all, stop.said()).await.map_err(|error| {
        advise(
            format!("{program} cannot be started: {error}; nothing was changed"),
            "install Nix (https://nixos.org/download), or name a program with --nixos-anywhere",
        )
    })?;
    let halfway = "the registry is as it was; the host may be half installed: deploy again, or boot it from its provider's rescue system";
    match ended {
        Installed::Alone(status) if status.success() => Ok(None),
        Installed::Alone(status) => {
            Err(advise(format!("the installation of {} failed ({status})", wish.address), halfway))
        }
        Installed::TooLong => Err(advise(
            format!("the installation of {} took too long and was stopped", wish.address),
            halfway,
        )),
        Installed::Stopped => {
            show::note(&format!("stopped: {halfway}"));
            Ok(Some(ExitCode::from(INTERRUPTED)))
        }
    }
}

/// The host's entry: what is known of it, and what was there before about it.
fn entry(before: Option<&Host>, wish: &Wish, plan: &Plan, tags: Option<Vec<String>>) -> Host {
    Host {
        hostname: wish.address.to_string(),
        provider: plan.provider.to_string(),
        system: wish.arch.system().to_owned(),
        deployed: Some(now()),
        tags: tags.or_else(|| before.map(|host| host.tags.clone())).unwrap_or_default(),
        // The new system has root alone.
        target_user: None,
        build_on_target: before.and_then(|host| host.build_on_target),
        more: before.map(|host| host.more.clone()).unwrap_or_default(),
    }
}

/// Asks until the host is back, or was given up.
async fn age_key_after_reboot(wish: &Wish) -> anyhow::Result<String> {
    let deadline = Instant::now() + REBOOT;
    let mut backoff = ExponentialBackoff::new(Duration::from_secs(2), Duration::from_secs(20));
    let ssh = Ssh::new("root", &wish.address, &wish.later_ssh_options(), false)?.forgetful();
    loop {
        let error = match age_key::ask(&ssh).await {
            Ok(key) => return Ok(key),
            Err(error) => error,
        };
        let wait = backoff.failed(rand::random());
        if Instant::now() + wait > deadline {
            return Err(anyhow!("{error} after {} minutes", REBOOT.as_secs() / 60));
        }
        sleep(wait).await;
    }
}

fn next_steps(name: &HostName, age_key: anyhow::Result<String>) -> String {
    let key = match age_key {
        Ok(key) => format!("its age key is  {key}"),
        Err(error) => format!(
            "it did not show its key yet ({error}):\n     ask later with  fireactions host show {name} --age-key"
        ),
    };
    format!(
        "\nNext:\n\
         \x20 1. Let the host read your secrets: {key}\n\
         \x20    Put it into secrets/.sops.yaml, then  cd secrets && sops updatekeys secrets.yaml\n\
         \x20 2. What only this host has goes into hosts/{name}.nix: for GitHub, services.fireactions.github.organization\n\
         \x20 3. Let git know of new files, or Nix does not:  git add hosts secrets\n\
         \x20 4. Give the host its profiles:     colmena apply --on {name}\n\
         Docs: docs/deployment.md\n"
    )
}
