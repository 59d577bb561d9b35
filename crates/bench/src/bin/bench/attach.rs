//! What attaching and detaching a machine costs, and looking after the rules, with other machines there.

use std::time::Instant;

use anyhow::Context;
use fireactions_model::{MachineId, NetworkPolicy, PortRule, Protocol};
use fireactions_net::{NetConfig, Network, Port};

use crate::Args;
use fireactions_bench::report::{Report, median, millis, percentile};

/// As many machines are there beside the one that comes and goes.
const OTHERS: [u32; 3] = [0, 10, 100];

pub(crate) async fn measure(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    report.load("attach");
    let network = Network::ensure(NetConfig {
        bridge: "fabench4".into(),
        subnet: "172.31.244.0/24".parse()?,
        ..NetConfig::default()
    })
    .await?;
    let measured = rounds(args, &network, report).await;
    network.remove().await?;
    measured
}

async fn rounds(args: &Args, network: &Network, report: &mut Report) -> anyhow::Result<()> {
    let mut there = 0;
    for others in OTHERS {
        while there < others {
            network.attach(&port(network, there)?).await?;
            there += 1;
        }
        let (mut attach, mut detach, mut repair) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.times(50, 5) {
            let port = port(network, others)?;
            let began = Instant::now();
            network.attach(&port).await?;
            attach.push(millis(began.elapsed()));
            let began = Instant::now();
            network.detach(&port.machine).await?;
            detach.push(millis(began.elapsed()));
            let began = Instant::now();
            network.repair().await?;
            repair.push(millis(began.elapsed()));
        }
        for (what, times) in [("attach", &attach), ("detach", &detach), ("rules looked after", &repair)] {
            report.row(format!("network with {others} machines: {what} p50"), median(times), "ms");
            report.row("  p99", percentile(times, 99), "ms");
        }
    }
    Ok(())
}

pub(crate) fn port(network: &Network, slot: u32) -> anyhow::Result<Port> {
    let machine = MachineId::from_random((u64::from(slot) + 1).to_le_bytes());
    Ok(Port {
        tap: Network::tap_name(&machine),
        machine,
        address: network.address(slot).context("the subnet has no address")?,
        address6: None,
        mac: Network::mac(slot),
        owner_uid: 1000,
        policy: NetworkPolicy {
            allow: Vec::new(),
            host_ports: vec![PortRule { protocol: Protocol::Tcp, port: 5000 }],
            bandwidth_mbit: Some(100),
            max_connections: 1000,
        },
    })
}
