//! The fake GitHub over real HTTP: what it answers, what it does to clients, and its runner.

mod app;
mod client;
mod faults;
mod runner;
mod runners;
mod scaleset;
mod webhooks;
