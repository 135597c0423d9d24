//! The services behind a keyless signature, one file each, over [`Http`]: few requests, all with limits.

mod fulcio;
mod http;
mod rekor;
mod timestamp;

pub use http::{Clock, Connection, Deadline, SystemClock};

pub(crate) use fulcio::request_certificate;
pub(crate) use http::{Answer, Http, address, is_loopback, random};
pub(crate) use rekor::{LogVersion, log_entry};
pub(crate) use timestamp::request_timestamp;
