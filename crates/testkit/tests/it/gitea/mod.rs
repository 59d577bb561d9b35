//! The fake Gitea and Forgejo over real HTTP: held to recordings of the real ones, and what tests make of them.

mod forgejo_recordings;
mod gitea_recordings;
mod inbox;
mod likeness;
mod replay;
mod steering;
