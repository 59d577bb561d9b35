//! Handles of what was made of a machine so far.

use std::sync::Arc;

use fireactions_guest_proto::host::Link;
use fireactions_image::ImageConfig;
use fireactions_model::Digest;
use fireactions_vmm::Vm;
use fireactions_volumes::{Taken, Writer};

/// What was made is known from the journal; these only save teardown from looking it up again.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) vm: Option<Vm>,
    pub(crate) link: Option<Link>,
    /// How the image wants programs to be run.
    pub(crate) image: Option<Arc<ImageConfig>>,
    /// The template of which a clone failed before the machine booted.
    pub(crate) doubted: Option<Digest>,
    /// What of volumes its disks began as, by their numbers.
    pub(crate) taken: Vec<Option<Taken>>,
    /// In whose name its disks are to be kept when it goes.
    pub(crate) writer: Option<Writer>,
}
