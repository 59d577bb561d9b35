//! How long the queue takes for its durable steps, on the disk that is given: `cargo run --release -p
//! fireactions-forge --example queue_latency -- DIR`. Makes and removes a directory below DIR.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fireactions_forge::local::{LocalConfig, LocalForge};
use fireactions_model::{
    Forge, ImageRef, JobSpec, MachineId, Offer, Outcome, PhaseTimes, PoolName, PoolSpec, Program, Report,
    Shape, Step, Usage,
};
use fireactions_store::{NewMachineRow, Store};
use tokio::sync::broadcast;

const COUNT: u64 = 500;

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!("{what:<28} p50 {:>7.3} ms   p99 {:>7.3} ms   max {:>7.3} ms", at(50), at(99), at(100));
}

fn spec() -> JobSpec {
    JobSpec {
        name: None,
        image: None,
        program: Program::Command { argv: vec!["true".to_owned()] },
        env: Vec::new(),
        labels: Vec::new(),
        vcpus: None,
        memory_mib: None,
        disk_mib: None,
        timeout_secs: None,
        user: None,
        workdir: None,
        files: Vec::new(),
        artifacts: Vec::new(),
    }
}

fn pool() -> Result<PoolSpec, Box<dyn Error>> {
    Ok(PoolSpec::new(
        PoolName::new("bench")?,
        Shape { image: ImageRef::new("debian:12")?, vcpus: 1, memory_mib: 256, disk_mib: 1024 },
    ))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let base = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let temp = tempfile::tempdir_in(base)?;
    let store = Store::open(temp.path())?;
    let (events, _heard) = broadcast::channel(16);
    let forge = LocalForge::new(store.clone(), events, LocalConfig::default()).await?;
    let pool = pool()?;
    let done = Report {
        outcome: Outcome::Exited { code: 0 },
        usage: Usage::default(),
        phases: PhaseTimes::new(),
        notes: Vec::new(),
        autopsy: None,
    };
    let [mut submit, mut bind, mut start, mut finish, mut insert, mut step] = [const { Vec::new() }; 6];
    for n in 0..COUNT {
        let machine = MachineId::from_random(n.to_le_bytes());
        let offer = Offer { machine: machine.clone(), pool: pool.clone(), shape: pool.shape.clone() };
        let at = Instant::now();
        let job = forge.submit(spec(), Vec::new()).await?.id;
        submit.push(at.elapsed());
        let at = Instant::now();
        forge.acquire(&offer).await?;
        bind.push(at.elapsed());
        let at = Instant::now();
        forge.started(&job, &machine).await?;
        start.push(at.elapsed());
        let at = Instant::now();
        forge.finished(&job, &machine, &done).await?;
        finish.push(at.elapsed());
        let at = Instant::now();
        let new = NewMachineRow {
            id: machine.clone(),
            spec: pool.clone(),
            shape: pool.shape.clone(),
            max_slots: u32::MAX,
        };
        store.insert_machine(new).await?;
        insert.push(at.elapsed());
        let at = Instant::now();
        store.journal(&machine, Step::Net, serde_json::json!({"tap": "fa0"})).await?;
        step.push(at.elapsed());
        store.remove_machine(&machine).await?;
    }
    show("submit (no files)", submit);
    show("acquire (bind)", bind);
    show("started", start);
    show("finished", finish);
    show("machine row", insert);
    show("journal step", step);

    let at = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let forge = forge.clone();
        writers.spawn(async move {
            for _ in 0..100 {
                if let Err(error) = forge.submit(spec(), Vec::new()).await {
                    eprintln!("submit: {error}");
                }
            }
        });
    }
    writers.join_all().await;
    println!("16 at once: {:.0} submits/s", 1600.0 / at.elapsed().as_secs_f64());
    store.close().await;
    Ok(())
}
