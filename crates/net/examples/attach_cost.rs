//! What attach and detach cost, with other machines there: `unshare -n cargo run --release -p fireactions-net
//! --example attach_cost`. It refuses to run in a namespace that has more links than `lo`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use fireactions_model::{MachineId, NetworkPolicy, PortRule, Protocol};
use fireactions_net::{NetConfig, NetError, Network, Port};

const ROUNDS: u32 = 50;

fn main() -> ExitCode {
    // Net namespaces of their own have loopback and nothing more.
    if nix::net::if_::if_nameindex().is_ok_and(|links| links.into_iter().count() > 1) {
        eprintln!("start it in an empty network namespace: unshare -n …");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(measure()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<(), NetError> {
    let network = Network::ensure(NetConfig::default()).await?;
    let mut there = 0;
    println!(
        "{:>9} {:>24} {:>24}   (ms; {ROUNDS} rounds)",
        "machines", "attach p50 / p99", "detach p50 / p99"
    );
    for others in [0, 10, 100] {
        while there < others {
            network.attach(&port(&network, there)).await?;
            there += 1;
        }
        let (mut attach, mut detach, mut repair) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let port = port(&network, others);
            let start = Instant::now();
            network.attach(&port).await?;
            attach.push(start.elapsed());
            let start = Instant::now();
            network.detach(&port.machine).await?;
            detach.push(start.elapsed());
            let start = Instant::now();
            network.repair().await?;
            repair.push(start.elapsed());
        }
        println!(
            "{others:>9} {:>20} {:>20} {:>20}",
            quantiles(&mut attach),
            quantiles(&mut detach),
            quantiles(&mut repair)
        );
    }
    network.remove().await
}

fn port(network: &Network, slot: u32) -> Port {
    let machine = MachineId::from_random((u64::from(slot) + 1).to_le_bytes());
    Port {
        tap: Network::tap_name(&machine),
        machine,
        address: network.address(slot).unwrap_or(network.gateway()),
        mac: Network::mac(slot),
        owner_uid: 1000,
        policy: NetworkPolicy {
            allow: Vec::new(),
            host_ports: vec![PortRule { protocol: Protocol::Tcp, port: 5000 }],
            bandwidth_mbit: Some(100),
            max_connections: 1000,
        },
    }
}

fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    format!("{:.2} / {:.2}", at(50), at(99))
}
