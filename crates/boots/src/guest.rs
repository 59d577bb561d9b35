//! One guest, from its start to its first words.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fireactions_guest_proto::Identity;
use fireactions_guest_proto::host::Link;
use fireactions_vmm::{VmSpec, Vmm};
use tokio::time::timeout;

use crate::evidence;
use crate::world::{World, link};

/// After everything there is to see was kept, a guest may show that it was only slow.
const LATE: Duration = Duration::from_secs(30);

pub(crate) enum BootResult {
    /// Its agent spoke and took its identity.
    Ready(Duration),
    /// The deadline passed.
    Hung {
        /// Which word was missing.
        waiting_for: &'static str,
        /// Where it is described.
        kept: PathBuf,
        /// It spoke after all, so long after its start.
        late: Option<Duration>,
    },
    /// It could not start, or ended.
    Failed(String),
}

impl fmt::Display for BootResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(took) => write!(f, "ready after {took:?}"),
            Self::Hung { waiting_for, kept, late } => {
                write!(f, "hung, no {waiting_for}; {}", kept.display())?;
                match late {
                    Some(late) => write!(f, "; it spoke after {late:?}"),
                    None => Ok(()),
                }
            }
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// Starts guest `number` and sees it off.
pub(crate) async fn one(world: &World, number: u32) -> BootResult {
    let spec = match world.spec() {
        Ok(spec) => spec,
        Err(error) => return BootResult::Failed(format!("{error:#}")),
    };
    let outcome = match live(world, &spec, number).await {
        Ok(outcome) => outcome,
        Err(error) => BootResult::Failed(format!("{error:#}")),
    };
    if let BootResult::Failed(_) = &outcome {
        evidence::console(&world.arguments.keep, &spec, &number.to_string());
    }
    match world.remove(&spec).await {
        Ok(()) => outcome,
        Err(error) => BootResult::Failed(format!("{outcome}; something is left of it: {error:#}")),
    }
}

async fn live(world: &World, spec: &VmSpec, number: u32) -> anyhow::Result<BootResult> {
    let began = Instant::now();
    let vm = world.qemu.spawn(spec).await?;
    let link = link(&vm)?;
    let ended = |reason| Ok(BootResult::Failed(format!("its VMM process ended: {reason}")));
    let waiting_for = tokio::select! {
        reason = vm.exited() => return ended(reason),
        said = meet(world, &link) => match said? {
            None => return Ok(BootResult::Ready(began.elapsed())),
            Some(word) => word,
        },
    };
    let kept = evidence::collect(&world.arguments, spec, &vm, &number.to_string()).await;
    let late = timeout(LATE, link.hello()).await.is_ok_and(|hello| hello.is_ok());
    Ok(BootResult::Hung { waiting_for, kept, late: late.then(|| began.elapsed()) })
}

/// The words that make a machine ready; which of them did not come.
async fn meet(world: &World, link: &Link) -> anyhow::Result<Option<&'static str>> {
    match timeout(world.deadline(), link.hello()).await {
        Ok(hello) => drop(hello?),
        Err(_) => return Ok(Some("hello")),
    }
    match timeout(world.deadline(), link.configure(identity())).await {
        Ok(configured) => drop(configured?),
        Err(_) => return Ok(Some("answer to its identity")),
    }
    Ok(None)
}

fn identity() -> Identity {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Identity {
        hostname: "boots".to_owned(),
        address: [10, 9, 0, 2].into(),
        prefix: 30,
        gateway: [10, 9, 0, 1].into(),
        dns: vec![[10, 9, 0, 1].into()],
        machine_id: format!("{:032x}", rand::random::<u128>()),
        entropy: rand::random::<[u8; 32]>().to_vec(),
        unix_nanos: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        dns_search: Vec::new(),
        dns_options: Vec::new(),
        mtu: None,
        mac: None,
        ipv6: None,
        services: Vec::new(),
        drop_ins: Vec::new(),
        sticky: Vec::new(),
    }
}
