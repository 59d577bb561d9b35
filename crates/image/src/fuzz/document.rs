//! Any bytes as each of an image's documents: what is accepted is within its bounds.

use std::path::Path;

use super::{limits, presentable};
use crate::layout::parse_index;
use crate::manifest::{CONFIG_MAX, Document, choose, parse_config, parse_document};

/// The bytes are an index, a manifest, a config and a layout's index.
pub fn document(data: &[u8]) {
    match parse_document(data) {
        Ok(Document::Index(index)) => match choose(&index) {
            Ok(chosen) => assert!(index.contains(chosen)),
            Err(error) => presentable(&error),
        },
        Ok(Document::Manifest(manifest)) => match manifest.check(&limits()) {
            Ok(()) => {
                assert!(manifest.layers.len() <= limits().layers);
                assert!(manifest.total() <= limits().compressed_bytes && manifest.config.size <= CONFIG_MAX);
                for layer in &manifest.layers {
                    assert_eq!(layer.digest.hex().len(), 64);
                    assert!(layer.media_type.contains(".image."));
                }
            }
            Err(error) => presentable(&error),
        },
        Err(error) => presentable(&error),
    }
    match parse_config(data) {
        Ok((config, diff_ids)) => {
            assert!(diff_ids.iter().all(|digest| digest.hex().len() == 64));
            assert!(config.stop_signal.is_none_or(|signal| !signal.is_empty()));
        }
        Err(error) => presentable(&error),
    }
    match parse_index(data, Path::new("/layout")) {
        Ok(index) => drop(index.iter().filter_map(|descriptor| descriptor.tag()).count()),
        Err(error) => presentable(&error),
    }
}
