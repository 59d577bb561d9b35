//! What holds wherever entries are, tried in a bucket.

const ON: crate::common::On = crate::common::On::Bucket;

#[path = "../contract/mod.rs"]
mod contract;
