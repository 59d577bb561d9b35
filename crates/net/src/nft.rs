//! The `nft` program: one start per transaction, and the kernel takes or refuses a script as a whole.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::NetError;
use crate::removal::Removals;
use crate::rules::{self, Family};

const DEADLINE: Duration = Duration::from_secs(10);

/// Applies `script`: all of it or nothing.
pub(crate) async fn apply(action: &'static str, script: String) -> Result<(), NetError> {
    run(action, &["-f", "-"], script).await.map(drop)
}

/// As [`apply`], for a caller that has an answer to a refusal: nft's words if it refused.
pub(crate) async fn offer(action: &'static str, script: String) -> Result<Option<String>, NetError> {
    match apply(action, script).await {
        Ok(()) => Ok(None),
        Err(NetError::Nft { message, .. }) => Ok(Some(message)),
        Err(other) => Err(other),
    }
}

/// As [`offer`], for a script that removes `chain` of the `inet` table: answers as soon as the kernel has done so,
/// and leaves the wait for what comes after it (see `removal.rs`) to a task of its own.
pub(crate) async fn retract(
    action: &'static str,
    script: String,
    table: &str,
    chain: &str,
) -> Result<Option<String>, NetError> {
    let removals = Removals::listen();
    let offered = tokio::spawn(offer(action, script));
    let removed = async {
        match &removals {
            Ok(removals) => removals.of(table, chain).await,
            Err(_) => std::future::pending().await,
        }
    };
    let answer = tokio::select! {
        () = removed => Ok(None),
        answer = offered => answer.map_err(|error| NetError::Interrupted(error.to_string()))?,
    };
    // The kernel keeps whoever closes a socket of this kind just as long.
    tokio::task::spawn_blocking(move || drop(removals));
    answer
}

/// What the kernel has of our tables.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Chains and how many rules each has.
    pub(crate) chains: BTreeMap<(Family, String), usize>,
    /// Keys of the map of connection limits, and the chain that each leads to.
    pub(crate) guests: Vec<(Ipv4Addr, String)>,
    /// How many elements the maps by tap have together.
    pub(crate) tap_elements: usize,
}

impl Listing {
    /// The taps that have a chain.
    pub(crate) fn taps(&self) -> impl Iterator<Item = &str> {
        self.chains.keys().filter_map(|(_, chain)| rules::tap_of_chain(chain))
    }

    /// The addresses whose connection limit is `tap`'s.
    pub(crate) fn addresses(&self, tap: &str) -> Vec<Ipv4Addr> {
        self.guests.iter().filter(|(_, chain)| chain == tap).map(|(address, _)| *address).collect()
    }
}

/// Lists our tables; one that is not there counts as empty.
pub(crate) async fn list(table: &str) -> Result<Listing, NetError> {
    let mut listing = Listing::default();
    for family in [Family::Bridge, Family::Inet] {
        let text = match run("list rules", &["-j", "list", "table", family.as_str(), table], String::new())
            .await
        {
            Err(NetError::Nft { message, .. }) if message.contains("No such file or directory") => continue,
            other => other?,
        };
        read(&text, family, &mut listing)?;
    }
    Ok(listing)
}

/// What is read of nft's listing (`libnftables-json(5)`). Rules are only counted: with a thousand machines there are
/// tens of thousands, and what they say would take a hundred times the memory.
#[derive(Deserialize)]
struct Document {
    nftables: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    chain: Option<Named>,
    rule: Option<Ruled>,
    map: Option<Mapped>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Ruled {
    chain: String,
}

#[derive(Deserialize)]
struct Mapped {
    name: String,
    #[serde(default)]
    elem: Vec<Value>,
}

fn read(text: &[u8], family: Family, listing: &mut Listing) -> Result<(), NetError> {
    let document: Document = serde_json::from_slice(text).map_err(|e| NetError::NftListing(e.to_string()))?;
    for Object { chain, rule, map } in document.nftables {
        if let Some(chain) = chain {
            listing.chains.entry((family, chain.name)).or_default();
        } else if let Some(rule) = rule {
            *listing.chains.entry((family, rule.chain)).or_default() += 1;
        } else if let Some(map) = map {
            if family == Family::Bridge {
                listing.tap_elements += map.elem.len();
            }
            if map.name == rules::GUESTS {
                for element in map.elem {
                    let address = element[0].as_str().and_then(|text| text.parse().ok());
                    let chain = element[1]["jump"]["target"].as_str();
                    let (Some(address), Some(chain)) = (address, chain) else {
                        let what = "a map element that is no 'address : jump chain'";
                        return Err(NetError::NftListing(what.into()));
                    };
                    listing.guests.push((address, chain.into()));
                }
            }
        }
    }
    Ok(())
}

async fn run(action: &'static str, arguments: &[&str], input: String) -> Result<Vec<u8>, NetError> {
    let work = async {
        let mut child = Command::new("nft")
            .args(arguments)
            // nft's messages are read (for "No such file"), so they must not be translated.
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A child that ended early says why on its stderr; the broken pipe is no news.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(DEADLINE, work)
        .await
        .map_err(|_| NetError::Timeout { action: "nft", seconds: DEADLINE.as_secs() })?
        .map_err(NetError::NftUnavailable)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(2000).collect();
    Err(NetError::Nft { action, message })
}
