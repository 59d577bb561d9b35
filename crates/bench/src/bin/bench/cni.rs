//! The same by other means: one interface made and removed by the chain of CNI plugins with which containerd gives a
//! Firecracker machine its network (bridge with host-local, firewall, tc-redirect-tap), and one of ours beside it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use fireactions_net::{NetConfig, Network};
use serde_json::{Value, json};

use crate::{Args, attach};
use fireactions_bench::report::{Goal, Report, median, millis};
use fireactions_bench::usage;

/// Debian's `containernetworking-plugins`.
const PLUGINS: &str = "/usr/lib/cni";

pub(crate) async fn measure(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    if !Path::new(PLUGINS).join("bridge").exists() {
        report
            .note("peer: CNI chain: not measured, the package containernetworking-plugins is not installed");
        return Ok(());
    }
    report.load("cni");
    let chain = Chain::new(args)?;
    let name = "peer: CNI chain, one interface added and removed";
    let (wall, theirs) =
        rounds(args, async || chain.round()).await.with_context(|| format!("the plugins of {PLUGINS}"))?;
    report.row(format!("{name}: wall p50"), median(&wall), "ms");
    report.row(format!("{name}: CPU p50"), median(&theirs), "ms");

    let network = Network::ensure(NetConfig {
        bridge: "fabench5".into(),
        subnet: "172.31.245.0/24".parse()?,
        ..NetConfig::default()
    })
    .await?;
    let port = attach::port(&network, 0)?;
    let measured = rounds(args, async || {
        network.attach(&port).await?;
        Ok(network.detach(&port.machine).await?)
    })
    .await;
    network.remove().await?;
    let (wall, ours) = measured?;
    report.row("  ours beside it: wall p50", median(&wall), "ms");
    report.row("  ours beside it: CPU p50", median(&ours), "ms");
    let times = median(&theirs) / median(&ours);
    report.judged("  CPU of the chain, in times of ours", times, "", Goal::AtLeast(5.0));
    report.note(format!("peer: the chain is {}", chain.plugins.join(", ")));
    Ok(())
}

/// Wall and processor time of each round, in milliseconds.
async fn rounds(
    args: &Args,
    round: impl AsyncFn() -> anyhow::Result<()>,
) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    // The first loads modules and makes what all share.
    for number in 0..=args.times(30, 3) {
        let (began, used) = (Instant::now(), usage::cpu()?);
        round().await?;
        if number > 0 {
            wall.push(millis(began.elapsed()));
            cpu.push(millis(usage::cpu()?.saturating_sub(used)));
        }
    }
    Ok((wall, cpu))
}

/// The plugins, and a network namespace that stands for a machine.
struct Chain {
    plugins: Vec<&'static str>,
    /// Where the last one is, which no distribution has.
    redirect: PathBuf,
    data: tempfile::TempDir,
    machine: Child,
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.machine.kill();
        let _ = self.machine.wait();
    }
}

impl Chain {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let redirect = args.inputs.join("tc-redirect-tap");
        let mut plugins = vec!["bridge", "firewall"];
        plugins.extend(redirect.exists().then_some("tc-redirect-tap"));
        let mut machine = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec sleep 3600"])
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare")?;
        // It is there when it has said so.
        let mut word = [0];
        let mut said = machine.stdout.take().context("no output")?;
        std::io::Read::read_exact(&mut said, &mut word)?;
        Ok(Self { plugins, redirect, data: tempfile::tempdir()?, machine })
    }

    /// One interface, added and removed.
    fn round(&self) -> anyhow::Result<()> {
        let mut result = Value::Null;
        for plugin in &self.plugins {
            result = serde_json::from_slice(&self.call(plugin, "ADD", &result)?)?;
        }
        for plugin in self.plugins.iter().rev() {
            self.call(plugin, "DEL", &result)?;
        }
        Ok(())
    }

    fn call(&self, plugin: &str, command: &str, previous: &Value) -> anyhow::Result<Vec<u8>> {
        let mut config = json!({"cniVersion": "0.4.0", "name": "fabench", "type": plugin});
        if plugin == "bridge" {
            let ipam =
                json!({"type": "host-local", "subnet": "172.31.246.0/24", "dataDir": self.data.path()});
            config["ipam"] = ipam;
            for (key, value) in
                [("bridge", json!("facni0")), ("isGateway", true.into()), ("ipMasq", true.into())]
            {
                config[key] = value;
            }
        }
        if !previous.is_null() {
            config["prevResult"] = previous.clone();
        }
        let plain = Path::new(PLUGINS).join(plugin);
        let program = if plugin == "tc-redirect-tap" { &self.redirect } else { &plain };
        let mut child = Command::new(program)
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", "fabench")
            .env("CNI_NETNS", format!("/proc/{}/ns/net", self.machine.id()))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", PLUGINS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("no input")?;
        input.write_all(config.to_string().as_bytes())?;
        drop(input);
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{plugin} {command}: {said}");
        Ok(output.stdout)
    }
}
