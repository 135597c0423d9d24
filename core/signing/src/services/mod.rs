//! The services behind a keyless signature, one file each, over [`Http`]: few requests, all with limits.

mod fulcio;
mod grpc;
mod http;
mod rekor;
mod timestamp;

pub use http::{Clock, Connection, Deadline, Look, SystemClock};

pub(crate) use fulcio::{configured_issuers, request_certificate};
pub(crate) use grpc::{Call, Endpoint, Failure};
pub(crate) use http::{Answer, Http, address, is_loopback};
pub(crate) use rekor::{LogVersion, log_entry};
pub(crate) use timestamp::{request_timestamp, timestamp_time};
