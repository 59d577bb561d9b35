//! Machines of configurations that other programs have published: what `fireactions migrate` makes of a file is what its guests
//! boot with. Their images are not here; a small one takes their place.

use std::collections::BTreeMap;
use std::path::Path;

use fireactions_config::{Host, InitSetting, PoolConfig, parse, translate};
use fireactions_testkit::{busybox, published};
use serde_json::json;

use crate::driver::on_firecracker;
use crate::world::{BOOT, Setup, World, pool_of, text};

/// What of a pool makes its guests what they are: kernel arguments, processors, memory, metadata and user data, as YAML.
fn shape(pool: &PoolConfig) -> String {
    let own = &pool.firecracker;
    let machine = own.machine_config;
    let mut keys = vec![
        format!("kernel_args: {}", json!(own.kernel_args)),
        format!(
            "machine_config: {{vcpu_count: {}, mem_size_mib: {}}}",
            machine.vcpu_count, machine.mem_size_mib
        ),
        format!("metadata: {}", json!(own.metadata)),
    ];
    if on_firecracker() {
        keys.extend(own.user_data.as_ref().map(|data| format!("user_data: {}", json!(data))));
    }
    keys.iter().map(|key| format!("      {key}\n")).collect::<Vec<_>>().concat()
}

/// Each shape, and the files that have it; then the files that have none, with why.
type Shapes = BTreeMap<String, Vec<String>>;

fn shapes(files: Vec<(String, Vec<u8>)>) -> (Shapes, Vec<String>) {
    let (mut shapes, mut without) = (Shapes::new(), Vec::new());
    for (name, bytes) in files {
        let migrated = match translate(Path::new(&name), &bytes) {
            Ok(migrated) => migrated.text,
            Err(why) => {
                without.push(format!("{name}: {}", why.to_string().lines().next().unwrap_or_default()));
                continue;
            }
        };
        let loaded = match parse(Path::new(&name), migrated.as_bytes(), &Host::unknown()) {
            Ok(loaded) => loaded,
            Err(why) => panic!("{name}: what it was migrated to is not valid: {why}\n{migrated}"),
        };
        for pool in &loaded.config.pools {
            assert_eq!(pool.init, InitSetting::Agent, "{name}");
            let files = shapes.entry(shape(pool)).or_default();
            if !files.contains(&name) {
                files.push(name.clone());
            }
        }
    }
    (shapes, without)
}

/// What a guest says of itself.
const WHO: &str =
    "nproc; awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo; hostname; echo $(cat /proc/cmdline)";

#[test]
fn guests_of_published_configurations_boot_and_run_a_job() {
    let Some(files) = published::files("guests_of_published_configurations_boot_and_run_a_job") else {
        return;
    };
    let (shapes, without) = shapes(files);
    let pools: Vec<String> = shapes
        .keys()
        .enumerate()
        .map(|(index, shape)| {
            let usual = "      machine_config: {vcpu_count: 1, mem_size_mib: 256}\n";
            pool_of(&format!("shape-{index}"), 0, 1, &busybox::reference(), "").replace(usual, shape)
        })
        .collect();
    let world = World::start(Setup { pools: pools.concat(), ..Setup::default() });
    for (index, (shape, files)) in shapes.iter().enumerate() {
        let id = world.submit(&["--label", &format!("shape-{index}")], WHO);
        let job = world.wait_job(&id, &["succeeded", "failed", "lost"], BOOT);
        let said = text(&world.cli(&["jobs", "logs", &id]).stdout);
        assert_eq!(job["state"], "succeeded", "{shape}{files:?}\n{job}\n{said}\n{}", world.log());
        let lines: Vec<&str> = said.lines().collect();
        let (cpus, memory): (u32, u32) = (lines[0].parse().unwrap(), lines[1].parse().unwrap());
        let wanted = format!("vcpu_count: {cpus}, mem_size_mib: ");
        assert!(shape.contains(&wanted), "{shape}: {said}");
        let size: u32 = shape.split(&wanted).nth(1).unwrap().split('}').next().unwrap().parse().unwrap();
        // The kernel keeps some for itself.
        assert!((size * 8 / 10..=size).contains(&memory), "{shape}: {said}");
        assert_eq!(lines[2], job["machine"].as_str().unwrap(), "{said}");
        for word in ["noapic", "nomodules", "rw"] {
            assert!(!lines[3].split(' ').any(|found| found == word), "{said}");
        }
        println!("{}\n{shape}  {said}", files.join(" "));
    }
    println!("no machine: {without:#?}");
    world.finish();
}
