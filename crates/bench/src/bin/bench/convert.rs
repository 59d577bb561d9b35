//! From an OCI archive to a root that a machine can boot: ours, and the usual three tools.
//!
//! Each way runs in a child of its own, so that its memory can be told from the other's.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use fireactions_image::{Images, ImagesConfig};
use fireactions_model::{ImageRef, PullPolicy};
use serde_json::{Value, json};

use crate::Args;
use fireactions_bench::report::{Goal, Report, median};
use fireactions_bench::usage;

const OURS: &str = "child-convert-ours";
const TOOLS: &str = "child-convert-tools";

/// The child's side: does what it was started for and prints one line of JSON. `None` in the parent.
pub(crate) fn child() -> Option<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some(OURS) => ours(&args[1..]),
        Some(TOOLS) => tools(&args[1..]),
        _ => return None,
    };
    Some(match done {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    })
}

fn ours(args: &[String]) -> anyhow::Result<Value> {
    let [archive, directory] = args else { bail!("{OURS} ARCHIVE DIRECTORY") };
    let runtime = tokio::runtime::Runtime::new()?;
    let began = Instant::now();
    let root = runtime.block_on(async {
        let images = Images::open(Path::new(directory), ImagesConfig::default())?;
        let image = ImageRef::new(format!("oci-archive:{archive}"))?;
        anyhow::Ok(images.ensure(&image, PullPolicy::Always, None).await?)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let (own, child) = usage::peaks()?;
    // tar2sqfs runs beside this process: in the worst case both are at their peak together.
    Ok(json!({"seconds": seconds, "cpu": usage::cpu()?.as_secs_f64(), "peak_mib": own + child,
              "own_mib": own, "child_mib": child, "bytes": root.size}))
}

fn tools(args: &[String]) -> anyhow::Result<Value> {
    let [archive, directory] = args else { bail!("{TOOLS} ARCHIVE DIRECTORY") };
    let at = |name: &str| format!("{directory}/{name}");
    let (layout, bundle, root) = (at("layout:bench"), at("bundle"), at("root.squashfs"));
    let copy =
        ["--insecure-policy", "copy", "--quiet", &format!("oci-archive:{archive}"), &format!("oci:{layout}")];
    let squash = ["-noappend", "-no-progress", "-quiet", "-comp", "zstd", "-Xcompression-level", "3"];
    let began = Instant::now();
    let mut laps = Vec::new();
    let mut run = |program: &str, arguments: &[&str]| {
        let status =
            Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
        let status = status.with_context(|| format!("{program}: run `scripts/setup --bench`"))?;
        ensure!(status.success(), "{program}: {status}");
        laps.push(began.elapsed().as_secs_f64());
        anyhow::Ok(())
    };
    run("skopeo", &copy)?;
    run("umoci", &["unpack", "--image", &layout, &bundle])?;
    run("mksquashfs", &[&[&*format!("{bundle}/rootfs"), &root], &squash[..]].concat())?;
    let (_, largest) = usage::peaks()?;
    Ok(json!({"seconds": laps.last(), "laps": laps, "cpu": usage::cpu()?.as_secs_f64(), "peak_mib": largest,
              "bytes": std::fs::metadata(&root)?.len()}))
}

pub(crate) fn measure(args: &Args, work: &Path, report: &mut Report) -> anyhow::Result<()> {
    report.load("conversion");
    let archive = args.image();
    // Both read the archive from the page cache.
    std::io::copy(&mut std::fs::File::open(&archive)?, &mut std::io::sink())?;
    let mut results: [Vec<Value>; 2] = Default::default();
    for round in 0..args.times(4, 1) {
        // In turn: whoever is first has the disk's and the cache's first word.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            let (way, results) = ([OURS, TOOLS][side], &mut results[side]);
            let directory = work.join(way);
            std::fs::create_dir(&directory)?;
            let output = Command::new(std::env::current_exe()?)
                .arg(way)
                .args([&archive, &directory])
                .stdin(Stdio::null())
                .stderr(Stdio::inherit())
                .output()?;
            ensure!(output.status.success(), "{way}: {}", output.status);
            results.push(serde_json::from_slice(&output.stdout)?);
            std::fs::remove_dir_all(&directory)?;
        }
    }
    let of = |results: &[Value], key: &str| -> f64 {
        median(&results.iter().filter_map(|result| result[key].as_f64()).collect::<Vec<_>>())
    };
    let [ours, tools] = &results;
    let uncompressed = std::fs::read_to_string(args.inputs.join("uncompressed"))?;
    let uncompressed: f64 = uncompressed.trim().parse().context("the image's size")?;
    report.row("image converted: uncompressed size", uncompressed / 1e6, "MB");
    report.row("  fireactions: wall", of(ours, "seconds"), "s");
    report.row("  skopeo + umoci + mksquashfs: wall", of(tools, "seconds"), "s");
    let ratio = of(tools, "seconds") / of(ours, "seconds");
    report.judged("  how much faster", ratio, "×", Goal::AtLeast(2.0));
    report.row("  fireactions: CPU", of(ours, "cpu"), "s");
    report.row("  skopeo + umoci + mksquashfs: CPU", of(tools, "cpu"), "s");
    report.judged(
        "  fireactions: most memory, with its tar2sqfs",
        of(ours, "peak_mib") * 1.048_576,
        "MB",
        Goal::AtMost(256.0),
    );
    report.row("  the largest of the three tools: most memory", of(tools, "peak_mib") * 1.048_576, "MB");
    report.row("  fireactions: squashfs", of(ours, "bytes") / 1e6, "MB");
    report.row("  mksquashfs: squashfs", of(tools, "bytes") / 1e6, "MB");
    let laps = tools.first().map(|result| result["laps"].to_string()).unwrap_or_default();
    report.note(format!(
        "conversion: from one gzip layer in an OCI archive in the page cache, zstd level 3 both; medians of {}, each way first as often as the other; \
         fireactions also checks every digest and syncs; the tools' first run ended its steps after {laps} s; \
         fireactions' memory is the sum of two peaks ({:.0} + {:.0} MiB)",
        ours.len(),
        of(ours, "own_mib"),
        of(ours, "child_mib"),
    ));
    Ok(())
}
