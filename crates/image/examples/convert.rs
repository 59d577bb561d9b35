//! Converts one image and says how long it took and how much memory: `convert STORE REFERENCE`.

use std::path::Path;
use std::time::Instant;

use fireactions_image::{Images, ImagesConfig};
use fireactions_model::{ImageRef, PullPolicy};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(store), Some(image)) = (args.next(), args.next()) else {
        return Err("usage: convert STORE REFERENCE".into());
    };
    let images = Images::open(Path::new(&store), ImagesConfig::default())?;
    let begin = Instant::now();
    let root = images.ensure(&ImageRef::new(image)?, PullPolicy::Always, None).await?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{:.2} s, {} bytes, {}, {peak}", begin.elapsed().as_secs_f64(), root.size, root.path.display());
    Ok(())
}
