//! The fake GitHub over real HTTP: what it answers, what it does to clients, and its runner.

mod actions;
mod app;
mod client;
mod faults;
mod groups;
mod queue;
mod runner;
mod runners;
mod scaleset;
mod webhooks;
