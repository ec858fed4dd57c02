//! What is served: hooks, the API, health.
//!
//! The only module that serves hyper. It reads requests and writes responses; what they mean is `trigger`'s and
//! `admin`'s business.

mod api;
mod auth;
mod error;
mod hooks;
mod proxy;
mod request;
mod server;

pub use auth::AdminToken;
pub use proxy::{Network, TrustedProxies};
pub use server::{App, Server};
