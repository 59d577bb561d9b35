//! What holds wherever entries are.

mod bad_input;
mod isolation;
mod room;
mod v1;
mod v2;
