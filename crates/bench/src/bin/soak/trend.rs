//! Memory over machines: flat, or a leak.

/// Resident memory after so many machines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) machines: f64,
    pub(crate) mib: f64,
}

/// KiB per thousand machines, by least squares over the later half: at first a process grows into its buffers, the database's
/// cache and the events that it keeps, which takes a thousand machines. `None` with too few samples, or too few machines, to say
/// anything.
pub(crate) fn slope(samples: &[Sample]) -> Option<f64> {
    let later = &samples[samples.len() / 2..];
    let first = later.first()?;
    let last = later.last()?;
    if later.len() < 10 || first.machines < 1000.0 || last.machines - first.machines < 500.0 {
        return None;
    }
    #[allow(clippy::cast_precision_loss, reason = "some hundred samples")]
    let count = later.len() as f64;
    let mean_x = later.iter().map(|sample| sample.machines).sum::<f64>() / count;
    let mean_y = later.iter().map(|sample| sample.mib).sum::<f64>() / count;
    let above: f64 = later.iter().map(|s| (s.machines - mean_x) * (s.mib - mean_y)).sum();
    let below: f64 = later.iter().map(|s| (s.machines - mean_x).powi(2)).sum();
    Some(above / below * 1000.0 * 1024.0)
}
