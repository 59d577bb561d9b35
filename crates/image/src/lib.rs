//! Root images: an OCI image from a registry, a layout directory or an archive becomes one read-only squashfs,
//! without root and without unpacking anything to disk. And the writable scratch disk of each machine.

mod error;
pub mod scratch;
mod store;
mod types;

pub use error::ImageError;
pub use store::Images;
pub use types::{
    GcPolicy, GcReport, ImageConfig, ImageInfo, ImagesConfig, Limits, Progress, ProgressFn, RootImage, Timeouts,
};
