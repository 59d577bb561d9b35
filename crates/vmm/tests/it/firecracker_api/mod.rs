//! The client of Firecracker's API: against its published description, against odd servers, and against a real
//! Firecracker.

mod asked;
mod contract;
mod odd;
mod process;
mod real;
mod recorder;
mod running;
mod samples;
mod words;
