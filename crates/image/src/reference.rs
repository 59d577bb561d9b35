//! Image references, as errors of this crate tell them.

use fireactions_model::{ImageRef, ImageSource};

use crate::ImageError;

pub(crate) fn parse(image: &ImageRef) -> Result<ImageSource, ImageError> {
    ImageSource::of(image)
        .map_err(|why| ImageError::Reference { reference: image.to_string(), why: why.to_string() })
}
